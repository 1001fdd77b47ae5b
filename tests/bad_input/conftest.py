"""A dataset with labels, a memory bank and half of a run: none of it may be lost."""

import uuid

import fiftyone as fo
import pytest

from ntt_plugin.dataset.banks import banks
from ntt_plugin.dataset.segmentation.segment import segment
from tests.bad_input.expectations import everything_in
from tests.dataset import scenes


@pytest.fixture
def segmenter():
    return scenes.ColourSegmenter()


@pytest.fixture
def dataset(tmp_path):
    """Six images; the bank ``blocks``; the field ``before``, written in two of them.

    At its end whatever was there at the beginning, of samples that still exist, must be there.
    """
    dataset = _make_dataset(tmp_path / "images")
    kept, name = everything_in(dataset), dataset.name
    yield dataset
    if not fo.dataset_exists(name):
        return
    now = everything_in(fo.load_dataset(name))
    assert now["banks"].items() >= kept["banks"].items()
    remaining = kept["labels"].keys() & now["labels"].keys()
    assert all(now["labels"][key] == kept["labels"][key] for key in remaining)
    fo.delete_dataset(name)


@pytest.fixture(scope="module")
def _shared_dataset(tmp_path_factory):
    dataset = _make_dataset(tmp_path_factory.mktemp("shared") / "images")
    yield dataset
    fo.delete_dataset(dataset.name)


@pytest.fixture
def unchanged(_shared_dataset):
    """Such a dataset too, for tests after which it must be exactly as it was."""
    before = everything_in(_shared_dataset)
    yield _shared_dataset
    _shared_dataset.reload()
    assert everything_in(_shared_dataset) == before


def _make_dataset(folder):
    folder.mkdir()
    dataset = scenes.make_dataset(f"test_{uuid.uuid4().hex}", folder, count=6)
    segmenter = scenes.ColourSegmenter()
    banks.build_memory_bank(dataset, "ground_truth", "blocks", segmenter=segmenter)
    segment(dataset.limit(2), "blocks", label_field="before", segmenter=segmenter)
    return dataset
