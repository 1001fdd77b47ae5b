"""What becomes of a run whose workers die, hang, or cannot work where they are."""

from dataclasses import replace
from pathlib import Path

import fiftyone as fo
import pytest
import torch

import ntt_plugin as ntt
from ntt_plugin.dataset.runtime import workers as by_workers
from ntt_plugin.engine import Fingerprint, MemoryBank, Recipe
from ntt_plugin.engine.proposals.store import ProposalStore
from ntt_plugin.worker.tasks.spec import PROPOSE, SEGMENT, WorkerSpec, make_handler
from tests.bad_input.expectations import refused, row
from tests.dataset.conftest import forked_workers  # noqa: F401

ROOT = Path(__file__).parents[2]
SPEC = WorkerSpec(PROPOSE, Recipe.from_preset("tiny", grid=4), device="cpu")


@pytest.fixture
def stubs(monkeypatch):
    """Lets workers be stubs by name."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return lambda name: monkeypatch.setattr(by_workers, "HANDLER", f"tests.worker.stubs:{name}")


@row("killer-image")
def test_an_image_that_kills_its_workers_fails_alone_and_is_named(dataset, stubs):
    stubs("Labelling")
    path = dataset.values("filepath")[3]
    Path(f"{path}.kill").touch()
    report = ntt.segment(dataset, "blocks", "found", workers=2, progress=False)
    ((name, reason),) = [(note.filepath, note.reason) for note in report.failed]
    assert name == path and "ended 2 workers" in reason and "SIGKILL" in reason
    assert report.segmented == 5


@row("worker-hangs")
def test_an_image_at_which_workers_hang_fails_alone_and_is_named(dataset, stubs, monkeypatch):
    stubs("Labelling")
    monkeypatch.setenv("NTT_ITEM_SECONDS", "1")
    path = dataset.values("filepath")[3]
    Path(f"{path}.hang").touch()
    report = ntt.segment(dataset, "blocks", "found", workers=1, progress=False)
    ((name, reason),) = [(note.filepath, note.reason) for note in report.failed]
    assert name == path and "gave no result" in reason and "set NTT_ITEM_SECONDS" in reason
    assert report.segmented == 5


@row("no-worker-starts")
def test_workers_that_never_start_end_the_run_before_anything_is_changed(unchanged, stubs):
    stubs("crash")
    with refused("No worker can start", "libmissing.so", "0 of 6 samples"):
        ntt.segment(unchanged, "blocks", "found", workers=1, progress=False)
    assert not unchanged.has_field("found")


@row("unreadable-there")
def test_a_worker_without_the_images_names_itself_and_the_path():
    with refused("cannot read /nowhere/a.png", "paths="):
        make_handler(replace(SPEC, look_at=["/nowhere/a.png"]).to_bytes())


@row("first-files-missing")
@pytest.mark.parametrize("first", ["/nowhere/{}.png", "/" + 300 * "x" + "{}.png", "/a\0{}.png"])
@pytest.mark.usefixtures("forked_workers")
def test_files_that_are_not_there_fail_alone_with_workers_too(dataset, tmp_path, first):
    """They are all that is looked at before workers start."""
    cannot = [first.format(number) for number in range(by_workers._LOOKED_AT)]
    mixed = fo.Dataset()
    mixed.add_samples([fo.Sample(path) for path in cannot], progress=False)
    mixed.add_samples([fo.Sample(path) for path in dataset.values("filepath")], progress=False)
    kept = ProposalStore(tmp_path / "kept", 10**8)
    report = ntt.propose(mixed, SPEC.recipe, device="cpu", cache=kept, workers=1, progress=False)
    assert sorted(note.filepath for note in report.failed) == sorted(cannot)
    assert report.computed == 6
    mixed.delete()


def test_nodes_of_a_cluster_have_to_read_files_that_are_not_here(dataset):
    paths = dataset.values("filepath")
    assert by_workers._some_files(dataset, elsewhere=True) == paths[:3]
    Path(paths[1]).unlink()
    there = [paths[0], paths[2], paths[3]]
    assert by_workers._some_files(dataset, elsewhere=True) == there
    assert by_workers._some_files(dataset, elsewhere=False) == there
    for path in map(Path, paths):
        path.unlink(missing_ok=True)
    assert by_workers._some_files(dataset, elsewhere=True) == paths[:3]
    assert by_workers._some_files(dataset, elsewhere=False) == []


@row("other-version")
def test_a_worker_of_another_version_names_both():
    with refused("0.0.1", ntt.__version__, "install the same version"):
        make_handler(replace(SPEC, version="0.0.1").to_bytes())


@row("other-encoder-there")
def test_a_worker_with_another_encoder_than_the_banks_names_both():
    other = Fingerprint("someones/encoder", "0" * 64, 112, 8, 0.5)
    bank = MemoryBank(other, SPEC.recipe)
    with refused("someones/encoder", "tiny"):
        make_handler(replace(SPEC, task=SEGMENT, bank=bank.to_bytes()).to_bytes())


@row("no-gpu-here")
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_worker_without_the_device_names_those_that_it_has():
    with refused("cuda", "cpu"):
        make_handler(replace(SPEC, device="cuda").to_bytes())


@row("cloud-images")
def test_images_in_the_cloud_are_refused(unchanged):
    cloud = fo.Dataset()
    cloud.add_sample(fo.Sample(filepath="s3://bucket/a.png"))
    cloud._sample_collection.update_many({}, {"$set": {"filepath": "s3://bucket/a.png"}})
    bank = ntt.load_memory_bank(unchanged, "blocks")
    with refused("in the cloud", "mount"):
        ntt.segment(cloud, bank, "found", workers=1, progress=False)
    cloud.delete()
