"""A worker tells that it is alive after each part of an image, however many there are."""

import numpy as np
import pytest
from PIL import Image

from ntt_plugin.engine.proposals.tiles import tile_grid
from ntt_plugin.engine.recipe import Recipe
from ntt_plugin.worker import handler as handlers
from ntt_plugin.worker.labels.given_candidates import candidate_entry, candidates_content
from ntt_plugin.worker.labels.label_bytes import Stamp
from ntt_plugin.worker.messages import Item, Result
from ntt_plugin.worker.tasks import image_tasks
from ntt_plugin.worker.tasks.spec import BOXES, HANDLER, PROPOSE, WorkerSpec

SIZE = (60, 200)
RECIPE = Recipe.from_preset("tiny", grid=2, tile=80)
TILES = tile_grid(SIZE, RECIPE.tile, RECIPE.tile_overlap)


@pytest.fixture
def signs(tmp_path, monkeypatch):
    """Counts the signs of life of a worker while it works on one image."""
    monkeypatch.setattr(handlers, "_listener", handlers._listener)
    pixels = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "one.png")

    def count(task: str, content: object = None) -> int:
        stamp = Stamp("run", "writer", {}, {}, False)
        spec = WorkerSpec(task, RECIPE, device="cpu", stamp=stamp)
        told: list[str] = []
        handler = handlers.load_handler(HANDLER, spec.to_bytes(), told.append)
        before = len(told)
        handler.submit(Item("0" * 24, str(tmp_path / "one.png"), content=content).to_bytes())
        assert Result.from_bytes(handler.next()).error is None
        handler.close()
        assert set(told[before:]) == {""}
        return len(told) - before

    return count


def test_each_tile_is_a_sign(signs):
    assert signs(PROPOSE) == 1 + len(TILES) > 3


@pytest.mark.parametrize(("grid", "looks"), [(True, 1 + len(TILES)), (False, 2)])
def test_each_tile_with_candidates_is_a_sign(signs, grid, looks):
    """The two candidates lie in tiles at the ends of the image."""
    ends = [[5, 5, 30, 30], [170, 5, 195, 30]]
    entries = [candidate_entry(f"{n}", box, 1.0) for n, box in enumerate(ends)]
    assert signs(PROPOSE, candidates_content(entries, grid)) == looks


def test_each_batch_of_boxes_is_a_sign(signs, monkeypatch):
    monkeypatch.setattr(image_tasks, "_MASK_BYTES", 2 * SIZE[0] * SIZE[1])
    common = {"label": "a", "confidence": None, "tags": [], "note": ""}
    boxes = [[0.1 * n, 0.1, 0.1, 0.5] for n in range(5)]
    content = [{"id": f"{n}", "bounding_box": box, **common} for n, box in enumerate(boxes)]
    assert signs(BOXES, content) == 3
