"""Turned photographs the whole way: files, references, segmentation, evaluation."""

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

from ntt_plugin.dataset.banks.banks import build_memory_bank, load_memory_bank, save_memory_bank
from ntt_plugin.dataset.banks.quality import check_references, reference_quality
from ntt_plugin.dataset.evaluation.compare import compare_segmentations
from ntt_plugin.dataset.evaluation.evaluate import coco_figures, evaluate
from ntt_plugin.dataset.evaluation.exclusions import LeftOut
from ntt_plugin.dataset.inspect.thumbnails import reference_thumbnails
from ntt_plugin.dataset.labels import orientation as module
from ntt_plugin.dataset.labels.orientation import stored_pixels_problem, turned_references
from ntt_plugin.dataset.segmentation.masks_from_boxes import masks_from_boxes
from ntt_plugin.dataset.segmentation.propose import propose
from ntt_plugin.dataset.segmentation.segment import segment
from ntt_plugin.engine.bank.memory_bank import MemoryBank
from ntt_plugin.engine.images.load import read_image, shown_size
from ntt_plugin.engine.proposals.store import ProposalStore
from ntt_plugin.errors import DatasetError, ReferenceRefusedError
from tests.dataset import scenes
from tests.engine.images.image_files import FORMATS, save_turned, stored


def turned_dataset(folder, orientations, suffix="png", square=False, where="exif"):
    """Scenes of blocks whose files have to be turned, with masks of the picture as it is shown."""
    dataset = fo.Dataset()
    for index, orientation in enumerate(orientations):
        shown = scenes.draw(index)
        if square:
            shown = np.pad(shown, ((0, shown.shape[1] - shown.shape[0]), (0, 0), (0, 0)))
        # FiftyOne takes a file for an image by its name.
        path = folder / f"{index}.{'jpg' if suffix == 'mpo' else suffix}"
        save_turned(path, shown, orientation, suffix, where)
        sample = fo.Sample(filepath=str(path))
        detections = []
        for label, (x1, y1, x2, y2) in scenes.blocks(index).items():
            mask = np.zeros(shown.shape[:2], dtype=bool)
            mask[y1:y2, x1:x2] = True
            detections.append(fo.Detection.from_mask(mask, label=label))
        sample["ground_truth"] = fo.Detections(detections=detections)
        dataset.add_sample(sample)
    return dataset


@pytest.fixture
def colours():
    return scenes.ColourSegmenter()


def ap(dataset):
    evaluate(dataset, "ntt", "ground_truth", "scores", progress=False)
    return coco_figures(dataset, "scores").segm["AP"]


@pytest.fixture(scope="module")
def plain_ap(tmp_path_factory):
    """What upright PNG files of the same scenes score, not square and square."""
    found = {}
    for square in (False, True):
        dataset = turned_dataset(tmp_path_factory.mktemp("plain"), [1] * 8, square=square)
        colours = scenes.ColourSegmenter()
        build_memory_bank(dataset, "ground_truth", "b", segmenter=colours, progress=False)
        segment(dataset, "b", segmenter=colours, progress=False)
        found[square] = ap(dataset)
    return found


# Pairwise: every format with all orientations, half of them square.
@pytest.mark.parametrize(
    ("suffix", "square"), [(suffix, place % 2 == 1) for place, suffix in enumerate(FORMATS)]
)
def test_turned_photographs_score_as_upright_ones_the_whole_way(
    tmp_path, colours, plain_ap, suffix, square
):
    photographs = turned_dataset(tmp_path, range(1, 9), suffix, square)

    bank = build_memory_bank(photographs, "ground_truth", "own", segmenter=colours, progress=False)
    report = segment(photographs, "own", segmenter=colours, progress=False)

    assert (len(bank), bank.refused, report.failed) == (24, [], [])
    assert plain_ap[square] > 0.9
    assert ap(photographs) == pytest.approx(plain_ap[square], abs=0.02)
    for sample in photographs:
        assert shown_size(sample.filepath) == read_image(sample.filepath).size[::-1]


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_boxes_of_turned_photographs_are_filled_as_shown(tmp_path, colours, suffix):
    dataset = turned_dataset(tmp_path, range(1, 9), suffix)
    report = masks_from_boxes(dataset, "ground_truth", "filled", segmenter=colours, progress=False)
    assert (report.segmented, report.failed, report.notes) == (8, [], [])
    for sample in dataset:
        for label, truth in zip(
            sample.filled.detections, sample.ground_truth.detections, strict=True
        ):
            assert np.allclose(label.bounding_box, truth.bounding_box, atol=0.03)


def test_thumbnails_show_the_object_of_a_turned_photograph(tmp_path, colours):
    dataset = turned_dataset(tmp_path, range(1, 9))
    bank = build_memory_bank(dataset, "ground_truth", "b", segmenter=colours, progress=False)
    for label, colour in scenes.COLOURS.items():
        for path in reference_thumbnails([entry.provenance for entry in bank.references(label)]):
            middle = np.asarray(Image.open(path).convert("RGB")).astype(int)[44:52, 44:52]
            assert np.abs(middle.mean(axis=(0, 1)) - colour).max() < 30


def test_an_orientation_that_the_app_does_not_follow_is_noted(tmp_path, colours):
    dataset = turned_dataset(tmp_path, [6, 1], "webp")
    build_memory_bank(dataset, "ground_truth", "b", segmenter=colours, progress=False)
    report = segment(dataset, "b", segmenter=colours, progress=False)
    (note,) = report.notes
    assert note.filepath == dataset.first().filepath
    assert "the App shows it unturned" in note.reason and "exif_transpose" in note.reason


def sideways(tmp_path, colours, damage, suffix="jpg"):
    """Two upright images and a turned one, whose labels are made unusable by ``damage``."""
    dataset = turned_dataset(tmp_path, [1, 1, 6], suffix)
    sample = dataset.last()
    damage(sample)
    sample.save()
    return dataset, sample


def metadata_of_a_tool(sample):
    sample.metadata = fo.ImageMetadata(width=scenes.SIZE[0], height=scenes.SIZE[1])


def masks_of_a_tool(sample):
    for label in sample.ground_truth.detections:
        label.mask = np.ones(scenes.SIZE[::-1], dtype=bool)


def mask_files_of_a_tool(sample):
    for label in sample.ground_truth.detections:
        label.mask_path = f"{sample.filepath}.{label.label}.png"
        label.mask = None
        Image.new("L", scenes.SIZE, 255).save(label.mask_path)


@pytest.mark.parametrize("damage", [metadata_of_a_tool, masks_of_a_tool, mask_files_of_a_tool])
def test_labels_made_on_unturned_pixels_are_refused_by_name(tmp_path, colours, damage):
    dataset, sample = sideways(tmp_path, colours, damage)

    bank = build_memory_bank(dataset, "ground_truth", "b", segmenter=colours, progress=False)
    found = segment(dataset, "b", segmenter=colours, progress=False)
    filled = masks_from_boxes(dataset, "ground_truth", "filled", segmenter=colours, progress=False)
    results = evaluate(dataset, "ntt", "ground_truth", "scores", progress=False)

    assert (len(bank), len(bank.refused)) == (6, 3)
    (failure,) = filled.failed
    left_out = results.config.left_out["samples"]
    assert [entry["sample"] for entry in left_out] == [failure.sample] == [sample.id]
    for reason in (bank.refused[0].reason, failure.reason, left_out[0]["reason"]):
        assert sample.filepath in reason and "EXIF orientation 6" in reason
        assert "exif_transpose" in reason
    assert left_out[0]["kind"] == "unturned"
    assert "before they were turned upright" in str(LeftOut.from_dict(results.config.left_out))
    compared = compare_segmentations(dataset, "ntt", "filled", "ground_truth", include_missing=True)
    assert [entry.sample for entry in compared.left_out.of_kinds("unturned")] == [sample.id]
    # Nothing of a label is needed to segment.
    assert (found.segmented, found.failed) == (3, [])


def test_a_dataset_of_sideways_labels_alone_gives_no_bank_and_no_score(tmp_path, colours):
    dataset = turned_dataset(tmp_path, [6, 8], "jpg")
    for sample in dataset.iter_samples(autosave=True):
        metadata_of_a_tool(sample)
        sample["found"] = sample.ground_truth.copy()
        for label in sample["found"].detections:
            label.confidence = 0.5
    with pytest.raises(DatasetError, match=r"None of the 2 images can be scored.*exif_transpose"):
        evaluate(dataset, "found", "ground_truth", "scores", progress=False)
    with pytest.raises(ReferenceRefusedError, match="exif_transpose"):
        build_memory_bank(dataset, "ground_truth", "b", segmenter=colours, progress=False)


@pytest.mark.parametrize("where", ["exif", "xmp"])
@pytest.mark.parametrize("suffix", FORMATS)
def test_metadata_that_fiftyone_computes_are_never_refused(tmp_path, suffix, where):
    dataset = turned_dataset(tmp_path, range(1, 9), suffix, where=where)
    dataset.compute_metadata(progress=False)
    for sample in dataset:
        assert stored_pixels_problem(sample, sample.ground_truth.detections) == ""


def former(bank: MemoryBank) -> MemoryBank:
    """A bank as a former version wrote it: nothing says how its images were read."""
    data = bank.to_bytes()
    length = int.from_bytes(data[:8], "little")
    header = (
        data[8 : 8 + length].replace(b', \\"reading\\": 3', b"").replace(b',\\"reading\\":3', b"")
    )
    assert b"reading" not in header
    header += b" " * (-len(header) % 8)
    return MemoryBank.from_bytes(len(header).to_bytes(8, "little") + header + data[8 + length :])


@pytest.mark.parametrize(("suffix", "turned"), [("jpg", 3), ("png", 3), ("tif", 0)])
def test_references_that_a_former_version_turned_twice_are_said(tmp_path, colours, suffix, turned):
    dataset = turned_dataset(tmp_path, [1, 3], suffix)
    bank = build_memory_bank(dataset, "ground_truth", "new", segmenter=colours, progress=False)
    save_memory_bank(dataset, "old", former(bank))
    old = load_memory_bank(dataset, "old")

    assert turned_references(load_memory_bank(dataset, "new"), dataset) == {}
    assert len(turned_references(old, dataset)) == turned
    for checks in (
        reference_quality(dataset, "old"),
        check_references(dataset, "old", segmenter=colours, progress=False),
    ):
        flagged = [check for check in checks if any("turned it twice" in f for f in check.flags)]
        assert len(flagged) == turned
    report = segment(dataset, "old", segmenter=colours, progress=False)
    assert len(report.notes) == bool(turned)
    assert all("build the bank again" in note.reason for note in report.notes)


def test_a_reference_that_becomes_a_negative_stays_one_of_a_former_version(tmp_path, colours):
    from ntt_plugin.dataset.banks.add_references import add_negatives

    dataset = turned_dataset(tmp_path, [1, 3], "png")
    bank = build_memory_bank(dataset, "ground_truth", "new", segmenter=colours, progress=False)
    save_memory_bank(dataset, "old", former(bank))
    label = dataset.last().ground_truth.detections[0]
    add_negatives(
        dataset.select_labels(ids=[label.id]), "ground_truth", "old", segmenter=colours,
        progress=False, from_references=True,
    )  # fmt: skip
    changed = load_memory_bank(dataset, "old")
    (negative,) = changed.negative_references(label.label)
    assert negative.id in turned_references(changed, dataset)


def test_a_file_that_was_turned_upright_since_is_read_again(tmp_path, colours):
    dataset = turned_dataset(tmp_path, [1, 3], "png")
    bank = build_memory_bank(dataset, "ground_truth", "b", segmenter=colours, progress=False)
    assert len(turned_references(former(bank), dataset)) == 3
    path = dataset.last().filepath
    Image.fromarray(np.ascontiguousarray(stored(scenes.draw(1), 1))).save(path)
    assert turned_references(former(bank), dataset) == {}
    assert module._MOST_HEADERS >= 1000


def test_proposals_of_photographs_that_were_turned_twice_are_not_used_again(tmp_path, colours):
    """They were kept under a digest of the file's bytes alone."""
    import hashlib

    from ntt_plugin.engine.proposals.cache import ProposalCache

    dataset = turned_dataset(tmp_path, [1, 3], "png")
    colours.upstream = "colours"
    store = ProposalStore(tmp_path / "store")
    cache = ProposalCache(store, colours.upstream, colours.fingerprint)
    for sample in dataset:
        with open(sample.filepath, "rb") as file:
            digest = hashlib.blake2b(b"file" + file.read(), digest_size=32).hexdigest()
        cache.save(digest, colours.propose(np.zeros((*scenes.SIZE, 3), np.uint8)))
    report = propose(dataset, segmenter=colours, cache=store, progress=False)
    assert (report.from_cache, report.computed) == (1, 1)
