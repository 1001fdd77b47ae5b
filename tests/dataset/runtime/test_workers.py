"""A run by workers gives what a run in this process gives, and says what workers cannot do."""

import os
import sys
import uuid
from functools import partial
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from bson import ObjectId
from PIL import Image

import ntt_plugin as ntt
from ntt_plugin.dataset.database.run_record import read_facts
from ntt_plugin.dataset.runtime import workers as by_workers
from ntt_plugin.dataset.segmentation import changed_images
from ntt_plugin.demo.streams import reference_scene, scoring_scene
from ntt_plugin.engine import Recipe
from ntt_plugin.engine.proposals.store import ProposalStore
from ntt_plugin.errors import DatasetError, StoreError
from ntt_plugin.worker.labels.made_labels import read_made
from ntt_plugin.worker.tasks.spec import WorkerSpec
from tests.dataset import scenes

RECIPE = Recipe.from_preset("tiny", grid=5)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Twelve demo scenes, of which one cannot be read, with labels; and their memory bank."""
    folder = tmp_path_factory.mktemp("scenes")
    samples = []
    for index in range(12):
        path = folder / f"{index}.png"
        Image.fromarray(scoring_scene(index).image).save(path)
        samples.append(fo.Sample(filepath=str(path)))
    (folder / "5.png").write_bytes(b"damaged")
    dataset = fo.Dataset(f"test_{uuid.uuid4().hex}")
    dataset.add_samples(samples, progress=False)
    references = []
    for index in range(6):
        path = folder / f"reference_{index}.png"
        scene = reference_scene(index)
        Image.fromarray(scene.image).save(path)
        sample = fo.Sample(filepath=str(path))
        sample["truth"] = fo.Detections(
            detections=[
                fo.Detection.from_mask(scene.mask(number), label=entry.name)
                for number, entry in enumerate(scene.classes)
            ]
        )
        references.append(sample)
    taught = fo.Dataset(f"test_{uuid.uuid4().hex}")
    taught.add_samples(references, progress=False)
    bank = ntt.build_memory_bank(
        taught, "truth", "bank", preset=RECIPE, device="cpu", progress=False
    )
    yield dataset, bank, taught
    dataset.delete()
    taught.delete()


def stored(dataset, field):
    """All that a run wrote but ids and its token, by path."""
    found = {}
    for sample in dataset._sample_collection.find({}, {"filepath": 1, field: 1}):
        held = sample.get(field)
        if held is not None:
            digests = read_made(held.pop("made"))
            assert ObjectId.is_valid(next(iter(digests), "0" * 24)) and held.pop("writer")
            held["made"] = [digests[str(label.pop("_id"))] for label in held["detections"]]
        found[sample["filepath"]] = held
    return found


@pytest.fixture(scope="module")
def alone(drawn, tmp_path_factory):
    """The report of a run in this process, and all that it wrote."""
    dataset, bank, _ = drawn
    store = ProposalStore(tmp_path_factory.mktemp("other"), 10**8)
    report = ntt.segment(dataset, bank, "alone", cache=store, device="cpu", progress=False)
    return report, stored(dataset, "alone")


def test_labels_are_those_of_one_process_byte_for_byte(drawn, alone, tmp_path):
    """Each worker is a new interpreter, as it is where a person calls."""
    dataset, bank, _ = drawn
    report, written = alone
    store = ProposalStore(tmp_path / "kept", 10**8)
    fresh = ntt.segment(
        dataset, bank, "fresh", cache=store, workers=2, device="cpu", progress=False
    )
    assert stored(dataset, "fresh") == written
    assert report.instances == fresh.instances > 0 and fresh.from_cache == 0
    assert sorted(fresh.segmented_ids) == sorted(report.segmented_ids)
    for one in (report, fresh):
        ((path, reason),) = [(note.filepath, note.reason) for note in one.failed]
        assert (path.endswith("5.png") and "cannot be read" in reason) or reason
    assert [note.reason for note in fresh.failed] == [note.reason for note in report.failed]
    assert (fresh.state, fresh.device) == ("finished", "cpu")


def test_proposals_that_workers_kept_are_found_when_labels_are_replaced(
    forked_workers, drawn, alone, tmp_path
):
    """They kept all of them before they ended."""
    dataset, bank, _ = drawn
    options = {"cache": ProposalStore(tmp_path, 10**8), "device": "cpu", "progress": False}
    ntt.segment(dataset, bank, "replaced", workers=2, **options)
    again = ntt.segment(dataset, bank, "replaced", workers=1, overwrite=True, **options)
    assert again.from_cache == again.segmented == 11
    assert stored(dataset, "replaced") == alone[1]


def test_masks_of_workers_go_to_files(forked_workers, drawn, tmp_path):
    dataset, bank, _ = drawn
    options = {"progress": False, "device": "cpu", "cache": False}
    view = dataset.limit(3)
    ntt.segment(view, bank, "in_files_alone", mask_dir=tmp_path / "a", **options)
    ntt.segment(view, bank, "in_files", mask_dir=tmp_path / "b", workers=1, **options)
    dataset.reload()
    for sample in view:
        pairs = zip(sample.in_files.detections, sample.in_files_alone.detections, strict=True)
        for ours, theirs in pairs:
            with open(ours.mask_path, "rb") as one, open(theirs.mask_path, "rb") as other:
                assert one.read() == other.read()
            assert str(tmp_path / "b") in ours.mask_path


def test_boxes_are_filled_by_workers_too(forked_workers, drawn):
    _, _, taught = drawn
    options = {"preset": RECIPE, "device": "cpu", "progress": False}
    alone = ntt.masks_from_boxes(taught, "truth", "alone", **options)
    report = ntt.masks_from_boxes(taught, "truth", "masks", workers=1, **options)
    assert stored(taught, "masks") == stored(taught, "alone")
    assert report.segmented == alone.segmented == 6 and report.instances == alone.instances


def test_proposals_that_were_not_kept_at_the_very_end_are_told(forked_workers, drawn, tmp_path):
    _, _, taught = drawn
    (tmp_path / "file").write_text("in the way")
    store = ProposalStore(tmp_path / "file", 10**8)
    with pytest.raises(StoreError, match="Cannot write to"):
        ntt.propose(taught.limit(1), RECIPE, device="cpu", progress=False, cache=store, workers=1)


def test_no_encoder_is_loaded_for_boxes(drawn, monkeypatch):
    """Its name is one that no worker could load."""
    _, _, taught = drawn
    recipe = Recipe.from_preset("tiny", encoder="nobody/nothing")
    made = {}

    def noted(workers, images, task, recipe, **options):
        made["recipe"] = recipe
        raise KeyboardInterrupt

    monkeypatch.setattr(
        sys.modules["ntt_plugin.dataset.segmentation.masks_from_boxes"], "work_by", noted
    )
    with pytest.raises(KeyboardInterrupt):
        ntt.masks_from_boxes(taught, "truth", "unwritten", preset=recipe, workers=1)
    assert (made["recipe"].encoder, made["recipe"].segmenter) == ("tiny", recipe.segmenter)


def test_suggestions_use_what_workers_kept(forked_workers, drawn, tmp_path):
    dataset, bank, _ = drawn
    found = {}
    for workers in (None, 1):
        store = ProposalStore(tmp_path / str(workers), 10**8)
        suggested = ntt.suggest_references(
            dataset,
            bank,
            4,
            "suggested",
            device="cpu",
            progress=False,
            cache=store,
            workers=workers,
        )
        made = stored(dataset, "suggested")
        for held in filter(None, made.values()):
            del held["run"]  # each has an id of its own
        found[workers] = list(suggested.reasons.values()), made
        assert store.info().entries == 11
    assert found[None] == found[1] and len(found[1][0]) == 4


def test_workers_find_what_former_versions_kept(forked_workers, drawn, monkeypatch, tmp_path):
    dataset, bank, _ = drawn
    monkeypatch.delenv("NTT_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.setattr(fo.config, "model_zoo_dir", str(tmp_path / "models"))
    view, options = dataset.limit(2), {"device": "cpu", "progress": False}
    ntt.segment(view, bank, "by_former", cache=ProposalStore(), **options)
    assert ntt.segment(view, bank, "later", workers=1, **options).from_cache == 2


@pytest.fixture(scope="module")
def labelled_copies(forked_workers, drawn, tmp_path_factory):
    """Three images of which workers read copies that have other dates; and the run again."""
    folder = tmp_path_factory.mktemp("copied")
    for name in ("here", "there"):
        (folder / name).mkdir()
        for number in range(3):
            path = folder / name / f"{number}.png"
            Image.fromarray(scoring_scene(number).image).save(path)
            os.utime(path, (1, 1) if name == "there" else None)
    dataset = fo.Dataset(f"test_{uuid.uuid4().hex}")
    paths = [str(folder / "here" / f"{number}.png") for number in range(3)]
    dataset.add_samples([fo.Sample(filepath=path) for path in paths], progress=False)
    mapped = {str(folder / "here"): str(folder / "there")}
    options = {"device": "cpu", "progress": False, "cache": False}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(by_workers, "WorkerSpec", partial(WorkerSpec, paths=mapped))
        assert ntt.segment(dataset, drawn[1], "found", workers=1, **options).segmented == 3
    yield dataset, lambda: ntt.segment(dataset, drawn[1], "found", **options)
    dataset.delete()


@pytest.fixture
def copied(labelled_copies):
    """The same; the images are what they were before when a test ends."""
    paths = [Path(path) for path in labelled_copies[0].values("filepath")]
    before = [(path, path.read_bytes(), path.stat().st_mtime_ns) for path in paths]
    yield labelled_copies
    for path, data, date in before:
        path.write_bytes(data)
        os.utime(path, ns=(date, date))


def test_images_that_workers_read_as_copies_have_not_changed(copied):
    _, again = copied
    report = again()
    assert (report.skipped, report.notes) == (3, [])


def test_an_image_that_is_no_more_what_its_copy_was_is_named(copied):
    dataset, again = copied
    first, second = dataset.values("filepath")[:2]
    data = Path(first).read_bytes()
    Path(first).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    Image.fromarray(scoring_scene(7).image).save(second)
    assert [note.filepath for note in again().notes] == [first, second]


def test_images_that_were_not_compared_with_their_copies_are_counted(copied, monkeypatch):
    _, again = copied
    monkeypatch.setattr(changed_images, "_MOST_READ", 1)
    (note,) = again().notes
    assert note.reason.startswith("2 image files were not compared with copies (paths=) of them")


def test_a_worker_that_cannot_read_the_images_says_where(forked_workers, drawn, monkeypatch):
    dataset, bank, _ = drawn
    monkeypatch.setattr(by_workers, "_some_files", lambda images, elsewhere: ["/nowhere/a.png"])
    with pytest.raises(DatasetError, match=r"cannot read /nowhere/a\.png .*paths=.*0 of 12"):
        ntt.segment(dataset, bank, "unread", device="cpu", progress=False, workers=1)


def test_nothing_is_changed_before_a_worker_is_ready(forked_workers, drawn, monkeypatch):
    _, bank, taught = drawn
    options = {"progress": False, "device": "cpu", "cache": False}
    ntt.segment(taught, bank, "former", **options)
    before = taught._sample_collection.find().sort("_id").to_list()
    facts = {**read_facts(taught, "former"), "writer": None}  # whose lock was the last one
    monkeypatch.setattr(by_workers, "_some_files", lambda images, elsewhere: ["/nowhere/a.png"])
    with pytest.raises(DatasetError, match="cannot read /nowhere"):
        ntt.segment(taught, bank, "former", workers=1, overwrite="everything", **options)
    taught.reload()
    assert taught._sample_collection.find().sort("_id").to_list() == before
    assert {**read_facts(taught, "former"), "writer": None} == facts
    assert ntt.load_segment_report(taught, "former").state == "finished"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"workers": 0}, "give 1 or more"),
        ({"workers": "many"}, "neither a number"),
        ({"workers": 2.5}, "neither a number"),
        ({"workers": True}, "neither a number"),
        ({"workers": 2, "device": "cuda:1"}, "device='cuda'"),
        ({"workers": 2, "segmenter": scenes.ColourSegmenter()}, "cannot go to workers"),
    ],
)
@pytest.mark.parametrize("call", ["segment", "propose", "masks_from_boxes", "suggest_references"])
def test_what_workers_cannot_do_is_refused(drawn, call, options, said):
    dataset, bank, _ = drawn
    arguments = {
        "segment": (bank, "refused"),
        "propose": (),
        "masks_from_boxes": ("truth", "refused"),
        "suggest_references": (bank,),
    }
    with pytest.raises(DatasetError, match=said):
        getattr(ntt, call)(dataset, *arguments[call], **options)
    assert not dataset.has_field("refused")


def test_workers_are_refused_on_windows(drawn, monkeypatch):
    monkeypatch.setattr(by_workers.sys, "platform", "win32")
    with pytest.raises(DatasetError, match="do not run on Windows"):
        by_workers.require_usable(2, None, None)


def test_a_cluster_and_whole_numbers_of_numpy_can_be_used():
    by_workers.require_usable(ntt.Ray(workers=2), None, None)
    by_workers.require_usable(np.int64(2), None, None)


def test_images_in_the_cloud_are_refused(drawn):
    _, bank, _ = drawn
    cloud = fo.Dataset(f"test_{uuid.uuid4().hex}")
    cloud.add_sample(fo.Sample(filepath="s3://bucket/a.png"))
    cloud._sample_collection.update_many({}, {"$set": {"filepath": "s3://bucket/a.png"}})
    try:
        with pytest.raises(DatasetError, match="in the cloud"):
            ntt.segment(cloud, bank, "found", workers=1)
    finally:
        cloud.delete()
