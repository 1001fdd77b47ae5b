import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ntt_plugin.engine.masks import containers
from ntt_plugin.engine.masks.containers import CompressedMasks, UnpackedMasks
from ntt_plugin.engine.masks.packed import PackedMask, pack_mask


def some_masks(count: int) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    y, x = np.mgrid[:60, :200]
    masks = []
    for _ in range(count):
        cx, cy, radius = generator.random(3) * [200, 60, 40] + [0, 0, 3]
        masks.append(np.hypot(x - cx, y - cy) < radius)
    return masks


def compressed(masks: list[PackedMask], budget: int) -> CompressedMasks:
    kept = CompressedMasks(budget)
    for mask in masks:
        kept.append(mask)
    return kept


@pytest.mark.parametrize("budget", [0, 3000, 10**9])
def test_what_is_put_on_it_comes_back_in_any_order(budget: int) -> None:
    masks = [packed for mask in some_masks(50) if (packed := pack_mask(mask))]
    kept = compressed(masks, budget)
    assert len(kept) == len(masks) == 50
    for place in [*range(50), *reversed(range(50)), -1, -50]:
        assert (kept[place].box, kept[place].area) == (masks[place].box, masks[place].area)
        assert np.array_equal(kept[place].words, masks[place].words)
    assert [mask.area for mask in kept[3:9]] == [mask.area for mask in masks[3:9]]
    with pytest.raises(IndexError):
        kept[50]


def test_masks_beyond_the_budget_are_not_kept_as_they_are() -> None:
    masks = [packed for mask in some_masks(5) if (packed := pack_mask(mask))]
    budget = masks[0].words.nbytes + masks[1].words.nbytes
    kept = compressed(masks, budget)
    assert [kept[place] is mask for place, mask in enumerate(masks)] == [True, True] + [False] * 3


class Slow(OrderedDict[int, PackedMask]):
    """Leaves other threads time after an entry was put in."""

    def __setitem__(self, place: int, mask: PackedMask) -> None:
        super().__setitem__(place, mask)
        time.sleep(1e-3)


def test_threads_share_compressed_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "OrderedDict", Slow)
    monkeypatch.setattr(containers, "_INFLATED", 1)
    masks = [packed for mask in some_masks(50) if (packed := pack_mask(mask))]
    kept = compressed(masks, 0)
    with ThreadPoolExecutor(4) as threads:
        areas = list(threads.map(lambda place: kept[place % 50].area, range(200)))
    assert areas == 4 * [mask.area for mask in masks]


def test_unpacked_masks_are_the_crops() -> None:
    masks = some_masks(4)
    packed = [mask for each in masks if (mask := pack_mask(each))]
    unpacked = UnpackedMasks(packed)
    assert len(unpacked) == 4
    for crop, mask, whole in zip(unpacked, packed, masks, strict=True):
        x1, y1, x2, y2 = mask.box
        assert crop.dtype == bool
        assert np.array_equal(crop, whole[y1:y2, x1:x2])
    assert [crop.sum() for crop in unpacked[1:3]] == [mask.area for mask in packed[1:3]]
