"""Small images whose answer is known, in a FiftyOne dataset."""

from __future__ import annotations

import uuid

import fiftyone as fo
import pytest

from tests.dataset import scenes


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
