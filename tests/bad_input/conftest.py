"""A dataset with labels, a memory bank and half of a run: none of it may be lost."""

from __future__ import annotations

import uuid
from types import SimpleNamespace

import fiftyone as fo
import pytest

from ntt_plugin.dataset import banks
from ntt_plugin.dataset.segmentation import segment
from tests.bad_input.expectations import everything_in
from tests.dataset import scenes


@pytest.fixture
def segmenter():
    return scenes.ColourSegmenter()


@pytest.fixture
def dataset(tmp_path, segmenter):
    """Six images; the bank ``blocks``; the field ``before``, written in two of them.

    At its end whatever was there at the beginning, of samples that still exist, must be there.
    """
    name = f"test_{uuid.uuid4().hex}"
    folder = tmp_path / "images"
    folder.mkdir()
    dataset = scenes.make_dataset(name, folder, count=6)
    banks.build_memory_bank(dataset, "ground_truth", "blocks", segmenter=segmenter)
    segment(dataset.limit(2), "blocks", label_field="before", segmenter=segmenter)
    kept = SimpleNamespace(**everything_in(dataset))
    yield dataset
    if not fo.dataset_exists(name):
        return
    dataset = fo.load_dataset(name)
    now = SimpleNamespace(**everything_in(dataset))
    assert now.banks.items() >= kept.banks.items()
    assert all(now.labels[key] == kept.labels[key] for key in kept.labels.keys() & now.labels)
    fo.delete_dataset(name)
