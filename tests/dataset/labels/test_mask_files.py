import errno
import os
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

from ntt_plugin.dataset.banks import banks
from ntt_plugin.dataset.labels import mask_files
from ntt_plugin.dataset.labels.mask_files import MaskFiles, MaskFolderError
from ntt_plugin.dataset.segmentation.report import load_segment_report
from ntt_plugin.dataset.segmentation.segment import segment
from ntt_plugin.engine.matching.match import Instances
from ntt_plugin.errors import DatasetError
from ntt_plugin.worker.labels import label_bytes
from ntt_plugin.worker.labels.label_bytes import are_too_large, png_bytes
from ntt_plugin.worker.tasks import image_tasks


@pytest.fixture(autouse=True)
def bank(dataset, segmenter):
    return banks.build_memory_bank(dataset, "ground_truth", "blocks", segmenter=segmenter)


def speckled(count, size=(1000, 1500), seed=0):
    random = np.random.default_rng(seed)
    return [random.random(size) < 0.5 for _ in range(count)]


def pngs(masks):
    return [png_bytes(mask) for mask in masks]


def test_masks_asked_for_as_files_are_the_masks(dataset, segmenter, tmp_path):
    segment(dataset, "blocks", segmenter=segmenter)
    report = segment(dataset, "blocks", "in_files", mask_dir=tmp_path / "m", segmenter=segmenter)

    assert report.instances == 18
    for sample in dataset:
        for inline, filed in zip(sample.ntt.detections, sample.in_files.detections, strict=True):
            assert filed.mask is None and Path(filed.mask_path).is_relative_to(tmp_path / "m")
            assert np.array_equal(filed.get_mask() != 0, inline.mask != 0)
            assert filed.bounding_box == inline.bounding_box


def test_the_files_hold_what_fiftyones_own_would(tmp_path, dataset):
    mask = np.random.default_rng(1).random((30, 40)) < 0.5
    theirs = fo.Detection(label="a", bounding_box=[0, 0, 1, 1], mask=mask)
    (ours,) = MaskFiles(dataset, "ntt", tmp_path).store("1", pngs([mask]))
    theirs.export_mask(str(tmp_path / "theirs.png"))
    written, expected = (Image.open(path) for path in (ours, tmp_path / "theirs.png"))
    assert written.mode == expected.mode == "L"
    assert np.array_equal(np.asarray(written) == 255, np.asarray(expected) != 0)
    assert set(np.unique(np.asarray(written))) == {0, 255}


def test_names_are_made_of_ids_only(tmp_path, dataset, segmenter):
    segment(dataset, "blocks", "name_" * 40, mask_dir=tmp_path / "m", segmenter=segmenter)
    sample = dataset.first()
    path = Path(sample["name_" * 40].detections[0].mask_path)
    owner, folder, of_sample, name = path.relative_to(tmp_path / "m").parts
    assert (owner, of_sample, name) == (str(dataset._doc.id), sample.id, "0.png")
    assert len(folder) == 32 and int(folder, 16)


def test_what_a_larger_run_left_is_removed(tmp_path, dataset):
    files = MaskFiles(dataset, "ntt", tmp_path)
    files.store("1", pngs(speckled(3, (3, 4))))
    files.drop_leftovers("1", files.store("1", pngs(speckled(1, (3, 4)))))
    assert [path.name for path in (files.root / "1").iterdir()] == ["0.png"]
    files.drop_leftovers("1", [None])
    assert not (files.root / "1").exists()


def test_a_file_of_somebody_else_is_left(tmp_path, dataset):
    files = MaskFiles(dataset, "ntt", tmp_path)
    files.store("1", pngs(speckled(1, (3, 4))))
    (files.root / "1" / "notes.txt").write_text("mine")
    files.drop_leftovers("1", [])
    assert [path.name for path in (files.root / "1").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("masks", "too_large"),
    [
        (speckled(3), False),
        (speckled(60), True),
        ([np.ones((3000, 4000), dtype=bool)] * 30, False),
    ],
)
def test_what_is_too_large_is_judged_before_it_is_encoded(masks, too_large):
    assert are_too_large(masks) is too_large


@pytest.mark.parametrize("judged", [True, False])
def test_a_sample_too_large_for_the_database_goes_to_files_by_itself(
    dataset, segmenter, bank, tmp_path, monkeypatch, judged
):
    """Also where the judgement was wrong, and MongoDB refuses the document."""
    victim = dataset.skip(2).first()
    speckles = speckled(4, size=(600, 800))
    found = Instances(
        masks=speckles,
        boxes=np.array([[0, 0, 800, 600]] * 4),
        scores=np.full(4, 0.5, np.float32),
        labels=["red"] * 4,
        margins=np.zeros(4, np.float32),
        proposal_ious=np.ones(4, np.float32),
        references=["r"] * 4,
        image_size=(600, 800),
    )
    calls = []

    def match(proposals, bank, recipe):
        calls.append(1)
        return found if len(calls) == 3 else Instances.empty((64, 96))

    monkeypatch.setattr(image_tasks, "match", match)
    monkeypatch.setattr(fo.config, "default_dataset_dir", str(tmp_path / "fiftyone"))
    if judged:
        monkeypatch.setattr(label_bytes, "MOST_INLINE", 100_000)
    else:
        # Another field takes almost all of the 16 MB.
        victim["filler"] = "." * (16 * 2**20 - 60_000)
        victim.save()

    report = segment(dataset, bank, segmenter=segmenter)

    assert (report.segmented, report.failed) == (6, [])
    (note,) = report.notes
    assert note.sample == victim.id and "files below" in note.reason
    victim.reload()
    assert all(
        np.array_equal(label.get_mask() != 0, mask)
        for label, mask in zip(victim.ntt.detections, speckles, strict=True)
    )
    assert Path(victim.ntt.detections[0].mask_path).is_relative_to(tmp_path / "fiftyone")


def test_a_folder_that_cannot_be_written_is_said_before_anything_is_done(
    dataset, segmenter, tmp_path
):
    (tmp_path / "file").write_text("")
    with pytest.raises(MaskFolderError, match=r"file.*mask_dir"):
        segment(dataset, "blocks", mask_dir=tmp_path / "file", segmenter=segmenter)
    assert segmenter.proposed == 0 and not dataset.has_field("ntt")


@pytest.mark.parametrize("folder", ["~nosuchuser/masks", "masks\0", "/" + "long" * 1000])
def test_a_folder_that_can_not_be_is_said(dataset, segmenter, folder):
    with pytest.raises(MaskFolderError, match=r"cannot be written to .*mask_dir") as said:
        segment(dataset, "blocks", mask_dir=folder, segmenter=segmenter)
    assert len(str(said.value)) < 1000 and segmenter.proposed == 0


def test_no_file_is_left_of_a_sample_that_somebody_labelled_meanwhile(
    dataset, bank, segmenter, tmp_path, monkeypatch
):
    """Between its masks' files and its labels."""
    first, store = dataset.first(), MaskFiles.store
    made = {"_cls": "Detections", "detections": [], "run": "other"}

    def then_label(files, sample_id, masks):
        paths = store(files, sample_id, masks)
        if sample_id == first.id:
            wanted, labels = {"_id": first._id}, {"$set": {"ntt": made}}
            dataset._sample_collection.update_one(wanted, labels)
        return paths

    monkeypatch.setattr(MaskFiles, "store", then_label)
    report = segment(dataset, bank, mask_dir=tmp_path / "m", segmenter=segmenter)
    assert (report.segmented, report.notes[0].sample) == (5, first.id)
    assert len(list((tmp_path / "m").rglob("*.png"))) == 15
    assert not list((tmp_path / "m").rglob(first.id))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_full_or_read_only_disk_stops_the_run(dataset, segmenter, tmp_path, monkeypatch, code):
    written = []

    def write(path, mask):
        written.append(path)
        if len(written) > 7:
            raise OSError(code, os.strerror(code))
        real(path, mask)

    real = mask_files._write
    monkeypatch.setattr(mask_files, "_write", write)
    with pytest.raises(DatasetError, match=rf"{os.strerror(code)}.*2 of 6 samples.*second call"):
        segment(dataset, "blocks", mask_dir=tmp_path, segmenter=segmenter)
    assert load_segment_report(dataset, "ntt").state == "stopped"

    monkeypatch.setattr(mask_files, "_write", real)
    report = segment(dataset, "blocks", mask_dir=tmp_path, segmenter=segmenter)
    assert (report.skipped, report.segmented) == (2, 4)
