"""Where labels are encoded: with the work on cached proposals if that is little, else later."""

from types import SimpleNamespace

import bson
import numpy as np
import pytest
import torch
from PIL import Image

from ntt_plugin.engine.recipe import Recipe
from ntt_plugin.worker.labels.label_bytes import NewLabel, Stamp
from ntt_plugin.worker.messages import Item
from ntt_plugin.worker.tasks.image_tasks import Made
from ntt_plugin.worker.tasks.task_handler import TaskHandler

SMALL, LARGE = (20, 30), (600, 600)
SEGMENTER = SimpleNamespace(
    recipe=Recipe.from_preset("tiny"),
    device=torch.device("cpu"),
    upstream="networks",
    point_batch=1,
)


class Cached:
    """Has the proposals of every image."""

    def recall(self, read):
        read.proposals, read.header_notes, read.size = object(), [], (10, 20)

    def troubles(self):
        return {}

    def close(self):
        pass


@pytest.fixture
def path(tmp_path):
    Image.new("RGB", (20, 10)).save(tmp_path / "one.png")
    return str(tmp_path / "one.png")


def made(path, shape, cached, in_files=False):
    """The result of an image with one label whose mask has a shape."""
    mask = np.arange(shape[0] * shape[1]).reshape(shape) % 7 == 0

    def task(read):
        return Made([NewLabel("apple", [0.1, 0.2, 0.3, 0.4], mask, 0.5)])

    stamp = Stamp("run", "writer", {}, {}, in_files)
    handler = TaskHandler(task, SEGMENTER, Cached() if cached else None, stamp)
    try:
        handler.submit_item(Item("0" * 24, path))
        return handler.next_result()
    finally:
        handler.close()


def stored(result):
    """What is written, without the label's id and what depends on it; and the mask's files."""
    assert result.error is None
    result.finish()
    whole = bson.decode(result.document)
    labels = [{**label, "_id": None} for label in whole["detections"]]
    return labels, whole["run"], whole["writer"], result.pngs, result.count


def test_little_is_encoded_at_once_where_proposals_were_cached(path):
    result = made(path, SMALL, cached=True)
    assert result.unfinished is None and result.document and result.mask_bytes == 0


@pytest.mark.parametrize(("shape", "cached"), [(LARGE, True), (SMALL, False)])
def test_much_and_what_the_networks_made_is_left_for_the_writer(path, shape, cached):
    result = made(path, shape, cached)
    assert result.unfinished is not None and result.document is None
    assert result.mask_bytes == shape[0] * shape[1]


@pytest.mark.parametrize("in_files", [False, True])
def test_both_ways_write_the_same(path, in_files):
    at_once, later = (made(path, SMALL, cached, in_files) for cached in (True, False))
    assert stored(at_once) == stored(later)
    assert (at_once.pngs is not None) is in_files
