import numpy as np
import pytest

from ntt_plugin.engine.proposals.tiles import Tile, tile_grid, whole_image

SIZES = [(1024, 1024), (700, 1300), (2048, 2048), (300, 1500), (257, 256)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("overlap", [0, 0.2, 0.5])
def test_tiles_cover_every_pixel_and_stay_in_the_image(
    size: tuple[int, int], overlap: float
) -> None:
    seen = np.zeros(size, bool)
    for tile in tile_grid(size, 256, overlap):
        assert 0 <= tile.left < tile.right <= size[1] and 0 <= tile.top < tile.bottom <= size[0]
        seen[tile.top : tile.bottom, tile.left : tile.right] = True
    assert seen.all()


@pytest.mark.parametrize("size", SIZES)
def test_whatever_is_smaller_than_the_overlap_lies_in_one_tile(size: tuple[int, int]) -> None:
    tiles, rng = tile_grid(size, 256, 0.2), np.random.default_rng(0)
    side = int(0.2 * 256) - 1
    for _ in range(300):
        x, y = rng.integers(0, size[1] - side), rng.integers(0, size[0] - side)
        assert any(
            t.left <= x and t.top <= y and x + side <= t.right and y + side <= t.bottom
            for t in tiles
        )


def test_tiles_have_the_given_side_where_the_image_is_that_long() -> None:
    assert {(t.right - t.left, t.bottom - t.top) for t in tile_grid((300, 700), 512, 0.2)} == {
        (512, 300)
    }


def test_no_more_tiles_than_the_overlap_needs() -> None:
    # 1,024 = 256 + 4 steps of at most 204 pixels.
    assert len(tile_grid((1024, 1024), 256, 0.2)) == 25


@pytest.mark.parametrize(("size", "side"), [((200, 256), 256), ((999, 999), None)])
def test_an_image_no_larger_than_a_tile_has_none(size: tuple[int, int], side: int | None) -> None:
    assert tile_grid(size, side, 0.2) == []


@pytest.mark.parametrize(
    ("box", "cut"),
    [
        ((11, 11, 29, 29), False),
        ((10, 11, 29, 29), True),
        ((11, 10, 29, 29), True),
        ((11, 11, 30, 29), True),
        ((11, 11, 29, 30), True),
    ],
)
def test_a_mask_at_an_inner_edge_is_cut(box: tuple[int, int, int, int], cut: bool) -> None:
    assert Tile(10, 10, 30, 30).cuts(box, (40, 40)) is cut


def test_an_edge_of_the_image_cuts_nothing() -> None:
    assert not whole_image((40, 50)).cuts((0, 0, 50, 40), (40, 50))
    assert not Tile(0, 10, 20, 40).cuts((0, 11, 5, 40), (40, 50))
