import numpy as np
import torch

from ntt_plugin.engine import Fingerprint
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


def test_no_part_gives_no_proposals():
    joined = join_proposals([], SIZE, ENCODER)
    assert len(joined) == 0 and joined.features.shape == (0, 5) and joined.boxes.shape == (0, 4)
