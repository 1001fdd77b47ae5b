import uuid
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ntt_plugin.dataset import networks
from ntt_plugin.dataset.banks.banks import build_memory_bank
from ntt_plugin.dataset.inspect import estimates
from ntt_plugin.dataset.inspect.estimates import kept_share
from ntt_plugin.dataset.segmentation.propose import propose
from ntt_plugin.dataset.segmentation.segment import segment
from ntt_plugin.engine import Recipe
from ntt_plugin.worker.tasks import cached_proposals
from tests.dataset import scenes

RECIPE = Recipe.from_preset("tiny", grid=3)


@pytest.fixture(autouse=True)
def own_store(monkeypatch, tmp_path):
    monkeypatch.setenv("NTT_CACHE_DIR", str(tmp_path / "cache"))
    networks._kept.clear()
    yield
    networks._kept.clear()


@pytest.fixture(scope="module")
def cached_run(tmp_path_factory):
    """Six images that were segmented by the bundled networks, and the cache of that time."""
    folder = tmp_path_factory.mktemp("cached_run")
    dataset = scenes.make_dataset(f"test_{uuid.uuid4().hex}", folder, count=6)
    options = {"device": "cpu", "progress": False}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NTT_CACHE_DIR", str(folder / "cache"))
        build_memory_bank(dataset, "ground_truth", "real", preset=RECIPE, **options)
        segment(dataset, "real", "real", **options)
    yield dataset, folder / "cache"
    dataset.delete()


@pytest.fixture
def segmented(cached_run, own_store, monkeypatch):
    """The dataset, its networks in memory; afterwards its images are what they were."""
    dataset, cache = cached_run
    monkeypatch.setenv("NTT_CACHE_DIR", str(cache))
    networks.get_segmenter(RECIPE, "cpu")
    files = {path: Path(path).read_bytes() for path in dataset.values("filepath")}
    yield dataset
    for path, content in files.items():
        Path(path).write_bytes(content)
    dataset.set_values("filepath", list(files))


def test_of_networks_that_nobody_used_nothing_is_known(dataset):
    assert kept_share(dataset, RECIPE, "cpu") == (0.0, False)


def test_what_a_run_kept_is_known_from_its_record(segmented):
    networks._kept.clear()
    assert kept_share(segmented, RECIPE, "cpu") == (1.0, False)


def test_proposals_computed_ahead_are_known_while_the_networks_are_in_memory(dataset):
    propose(dataset.limit(1), RECIPE, device="cpu", progress=False)
    assert kept_share(dataset, RECIPE, "cpu").share == pytest.approx(1 / len(dataset))


def test_another_bank_or_threshold_changes_nothing_and_another_grid_all(segmented):
    networks._kept.clear()
    other = Recipe.from_preset("tiny", grid=3, nms_iou=0.9)
    assert kept_share(segmented, other, "cpu").share == 1
    assert kept_share(segmented, Recipe.from_preset("tiny", grid=4), "cpu").share == 0


def test_an_image_that_changed_or_is_gone_is_not_kept(segmented, tmp_path):
    paths = segmented.values("filepath")
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(paths[0])
    gone = segmented.last()
    gone.filepath = str(tmp_path / "gone.png")
    gone.save()
    left = len(segmented) - 2
    assert kept_share(segmented, RECIPE, "cpu").share == pytest.approx(left / len(segmented))


def test_an_image_is_read_again_only_when_it_was_changed(segmented, monkeypatch):
    read, digest = [], estimates.image_digest
    monkeypatch.setattr(
        estimates, "image_digest", lambda path: (read.append(path), digest(path))[1]
    )
    paths = segmented.values("filepath")
    for _ in range(2):
        assert kept_share(segmented, RECIPE, "cpu").share == 1
    assert sorted(read) == sorted(paths)
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(paths[0])
    kept_share(segmented, RECIPE, "cpu")
    assert sorted(read) == sorted([*paths, paths[0]])


@pytest.mark.parametrize(
    "changed",
    [
        lambda patch: patch.setattr(cached_proposals, "resolve_dtype", lambda *_: torch.float16),
        lambda patch: patch.setattr(cached_proposals, "PIPELINE_VERSION", 99),
        lambda patch: patch.setattr(cached_proposals, "CODEC_VERSION", 99),
    ],
    ids=["dtype", "pipeline", "codec"],
)
def test_a_run_under_other_conditions_tells_nothing(segmented, monkeypatch, changed):
    networks._kept.clear()
    changed(monkeypatch)
    assert kept_share(segmented, RECIPE, "cpu") == (0.0, False)


def test_a_cache_folder_that_can_not_be_keeps_nothing(segmented, monkeypatch):
    monkeypatch.setenv("NTT_CACHE_DIR", "~nosuchuser/x")
    assert kept_share(segmented, RECIPE, "cpu") == (0.0, False)


def test_of_many_images_a_few_are_read(segmented, monkeypatch):
    read = []
    whole = estimates.image_digest
    monkeypatch.setattr(estimates, "image_digest", lambda path: read.append(path) or whole(path))
    monkeypatch.setattr(estimates, "_MOST_READ", 2)
    assert kept_share(segmented, RECIPE, "cpu") == (1.0, True)
    assert len(read) == 2
