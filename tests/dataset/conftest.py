"""Small images whose answer is known, in a FiftyOne dataset."""

import uuid
from collections.abc import Iterator

import fiftyone as fo
import numpy as np
import pytest

from ntt_plugin.dataset.banks import banks
from ntt_plugin.dataset.segmentation import writer, writing_behind
from ntt_plugin.worker import local_processes
from tests.dataset import coco_scenes, scenes
from tests.processes import ForkedWorker


@pytest.fixture
def dataset(tmp_path):
    """Six images of 64 x 96 with three coloured blocks each, labelled in ``ground_truth``."""
    name = f"test_{uuid.uuid4().hex}"
    yield scenes.make_dataset(name, tmp_path, count=6)
    if fo.dataset_exists(name):
        fo.delete_dataset(name)


@pytest.fixture
def segmenter():
    """An engine that finds the blocks by their colours."""
    return scenes.ColourSegmenter()


@pytest.fixture
def bank(dataset, segmenter):
    """All labels of the dataset, saved as ``blocks``."""
    return banks.build_memory_bank(dataset, "ground_truth", "blocks", segmenter=segmenter)


@pytest.fixture
def two_banks(dataset, bank):
    """The bank ``blocks`` of all classes, and ``others``, which lacks one."""
    bank.remove("red")
    banks.save_memory_bank(dataset, "others", bank)


@pytest.fixture
def make(tmp_path):
    """Makes random scenes of the given kind; returns them and their dataset."""
    made = []

    def build(count=14, seed=0, crowds=False, tied=False, fractional=False, spare_class=False):
        rng = np.random.default_rng(seed)
        scenes = [
            coco_scenes.random_scene(rng, crowds, tied, fractional, spare_class)
            for _ in range(count)
        ]
        if fractional:
            # COCO's importer keeps of a mask what is in its box, and so must the comparison.
            scenes = [
                (size, [coco_scenes.within(row) for row in truth], f) for size, truth, f in scenes
            ]
        made.append(coco_scenes.make_dataset(scenes, tmp_path))
        return scenes, made[-1]

    yield build
    for dataset in made:
        dataset.delete()


@pytest.fixture
def one_by_one(monkeypatch):
    """Runs write each sample by itself, and look at the field before each."""
    monkeypatch.setattr(writing_behind, "MOST_AT_ONCE", 1)
    monkeypatch.setattr(writer, "SEEN_SECONDS", 0.0)


@pytest.fixture(scope="module")
def forked_workers() -> Iterator[None]:
    """Local workers import the networks' code once for all tests, not anew in each process."""

    def spawn(worker: object, descriptor: int, environment: dict[str, str]) -> ForkedWorker:
        return ForkedWorker(descriptor, environment)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local_processes._LocalWorker, "_spawn", spawn)
        yield
