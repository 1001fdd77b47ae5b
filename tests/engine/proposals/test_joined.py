from dataclasses import replace

import numpy as np
import torch

from ntt_plugin.engine import Fingerprint, MemoryBank, Proposals, Recipe, match
from ntt_plugin.engine.masks.packed import pack_mask
from ntt_plugin.engine.proposals.joined import join_proposals
from ntt_plugin.engine.proposals.tiles import Tile, whole_image
from tests.engine.masks.packed_masks import some_proposals

ENCODER = Fingerprint("e", "d", 42, 5)
SIZE = (200, 260)
TILE = Tile(70, 33, 210, 123)


def canvas(mask, left=0, top=0):
    """A packed mask on the whole image."""
    full = np.zeros(SIZE, bool)
    x1, y1, x2, y2 = mask.box
    full[top + y1 : top + y2, left + x1 : left + x2] = mask.unpack()
    return full


def test_masks_lie_at_their_tiles_place_and_those_at_its_inner_edges_are_dropped():
    part = some_proposals(3, count=30, image_size=(90, 140))
    joined = join_proposals([(part, TILE)], SIZE, ENCODER)
    expected = []
    for index, mask in enumerate(part.masks):
        full = None if mask is None else canvas(mask, TILE.left, TILE.top)
        if full is None or full[TILE.top : TILE.bottom, [TILE.left, TILE.right - 1]].any():
            continue
        if not full[[TILE.top, TILE.bottom - 1], TILE.left : TILE.right].any():
            expected.append((index, full))
    assert 0 < len(expected) < 28
    assert len(joined) == len(joined.masks) == len(expected)
    for place, (index, full) in enumerate(expected):
        mask = joined.masks[place]
        assert np.array_equal(canvas(mask), full) and mask.area == full.sum()
        ys, xs = np.nonzero(full)
        box = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        assert joined.boxes[place].tolist() == box == list(mask.box)
        assert joined.ious[place] == part.ious[index]
        assert torch.equal(joined.features[place], part.features[index])


def test_parts_keep_their_order():
    first, second = (some_proposals(seed, image_size=SIZE) for seed in (0, 1))
    joined = join_proposals(
        [(first, whole_image(SIZE)), (second, whole_image(SIZE))], SIZE, ENCODER
    )
    filled = [0, 2, 3, 4, 5]
    assert torch.equal(joined.ious, torch.cat([first.ious[filled], second.ious[filled]]))
    assert joined.image_size == SIZE and joined.fingerprint == ENCODER


def test_stability_is_joined_with_the_masks_it_is_of():
    first, second = (
        replace(some_proposals(seed, image_size=SIZE), stability=torch.rand(6)) for seed in (0, 1)
    )
    looks = [(first, whole_image(SIZE)), (second, whole_image(SIZE))]
    filled = [0, 2, 3, 4, 5]
    expected = torch.cat([first.stability[filled], second.stability[filled]])
    assert torch.equal(join_proposals(looks, SIZE, ENCODER).stability, expected)
    fewer = join_proposals(looks, SIZE, ENCODER, 0.5)
    places = [expected.tolist().index(value) for value in fewer.stability.tolist()]
    assert 0 < len(fewer) < 10
    assert torch.equal(fewer.ious, torch.cat([first.ious[filled], second.ious[filled]])[places])
    looks[1] = (replace(second, stability=None), whole_image(SIZE))
    assert join_proposals(looks, SIZE, ENCODER).stability is None


def test_no_part_gives_no_proposals():
    joined = join_proposals([], SIZE, ENCODER)
    assert len(joined) == 0 and joined.features.shape == (0, 5) and joined.boxes.shape == (0, 4)


TILES = [whole_image(SIZE), Tile(0, 0, 160, 200), Tile(100, 0, 260, 200)]


def of_one_object(features, ious=(0.7, 0.9, 0.8), moved=1):
    """One object in the overlap of two tiles, as the image and both tiles show it."""
    parts = []
    for tile, feature, iou, shift in zip(TILES, features, ious, (0, moved, -moved), strict=True):
        full = np.zeros(SIZE, bool)
        full[40 + shift : 80 + shift, 110:150] = True
        mask = pack_mask(full[tile.top : tile.bottom, tile.left : tile.right])
        size = (tile.bottom - tile.top, tile.right - tile.left)
        unit = torch.nn.functional.normalize(torch.tensor([[*feature, 0.0, 0.0, 0.0]]))
        box = torch.tensor([mask.box], dtype=torch.float32)
        parts.append((Proposals(torch.tensor([iou]), unit, box, [mask], size, ENCODER), tile))
    return parts


def two_classes():
    bank = MemoryBank(ENCODER)
    for name, axis in (("cat", 0), ("dog", 1)):
        bank.add(name, torch.eye(5)[axis])
    return bank


def test_what_several_tiles_show_of_one_object_becomes_one_instance():
    joined = join_proposals(of_one_object([(1.0, 0.1), (1.0, 0.2), (1.0, 0.3)]), SIZE, ENCODER)
    found = match(joined, two_classes(), Recipe())
    assert len(joined) == 3
    # Of one class, the mask of the highest predicted IoU stays, as it does within one image.
    assert (found.labels, found.proposal_ious.tolist()) == (["cat"], [np.float32(0.9)])


def test_near_duplicates_of_two_classes_stay_unless_the_recipe_drops_them():
    parts = of_one_object([(1.0, 0.1), (1.0, 0.2), (0.3, 1.0)])
    kept = match(join_proposals(parts, SIZE, ENCODER), two_classes(), Recipe())
    assert sorted(kept.labels) == ["cat", "dog"]
    alone = match(join_proposals(parts, SIZE, ENCODER, 0.9), two_classes(), Recipe())
    assert alone.labels == ["cat"] and alone.full_mask(0)[41:81, 110:150].all()


def test_duplicates_are_dropped_whatever_tile_they_are_of():
    joined = join_proposals(of_one_object([(1.0, 0.0)] * 3), SIZE, ENCODER, 0.9)
    assert joined.ious.tolist() == [np.float32(0.9)] and joined.sources is None
    assert joined.boxes.tolist() == [[110, 41, 150, 81]] == [list(joined.masks[0].box)]
    assert len(joined.masks) == len(joined.features) == 1


def test_masks_that_overlap_less_stay():
    joined = join_proposals(of_one_object([(1.0, 0.0)] * 3, moved=2), SIZE, ENCODER, 0.96)
    assert len(joined) == 3


def test_candidates_stay_and_drop_no_mask_of_the_grid():
    parts = of_one_object([(1.0, 0.0)] * 3, ious=(0.7, 0.8, 1.0))
    (given, tile) = parts[2]
    parts[2] = (replace(given, sources=torch.tensor([4])), tile)
    joined = join_proposals(parts, SIZE, ENCODER, 0.9)
    assert joined.sources.tolist() == [-1, 4]
    assert joined.ious.tolist() == torch.tensor([0.8, 1.0]).tolist()
