"""Squares over an oblong image, against patches that are put together one by one."""

import pytest
import torch

from ntt_plugin.engine.images.squares import square_parts

GRID = 4


@pytest.mark.parametrize(
    ("size", "patches", "starts"),
    [
        ((80, 80), 4, [0]),
        ((80, 88), 4, [0]),
        ((60, 80), 5, [0, 1]),
        ((80, 60), 5, [0, 1]),
        ((40, 80), 8, [0, 4]),
        ((80, 200), 10, [0, 3, 6]),
        ((200, 8000), 32, [0, 4, 8, 12, 16, 20, 24, 28]),
        ((1, 3), 12, [0, 4, 8]),
    ],
)
def test_squares_are_few_and_cover_the_image(
    size: tuple[int, int], patches: int, starts: list[int]
) -> None:
    parts = square_parts(size, GRID)
    assert (parts.patches, parts.starts) == (patches, starts)


@pytest.mark.parametrize("size", [(60, 80), (80, 60), (37, 100), (480, 640), (3024, 4032)])
def test_boxes_lie_in_the_image_and_reach_both_ends(size: tuple[int, int]) -> None:
    height, width = size
    boxes = square_parts(size, 37).boxes
    assert (*boxes[0][:2], *boxes[-1][2:]) == (0, 0, width, height)
    for left, top, right, bottom in boxes:
        assert 0 <= left < right <= width and 0 <= top < bottom <= height
        # Square but for what whole patches ask for.
        assert (right - left) / (bottom - top) == pytest.approx(1, abs=0.5 / 37)


@pytest.mark.parametrize("size", [(60, 140), (140, 60)])
def test_patches_of_an_overlap_are_the_mean_of_the_squares(size: tuple[int, int]) -> None:
    parts = square_parts(size, GRID)
    made = torch.Generator().manual_seed(0)
    features = [torch.rand((3, GRID, GRID), generator=made) for _ in parts.starts]
    joined = parts.join(features)
    wide = size[1] > size[0]
    assert joined.shape == ((3, GRID, parts.patches) if wide else (3, parts.patches, GRID))
    for place in range(parts.patches):
        seen = [
            part[:, :, place - start] if wide else part[:, place - start]
            for start, part in zip(parts.starts, features, strict=True)
            if start <= place < start + GRID
        ]
        found = joined[:, :, place] if wide else joined[:, place]
        assert torch.allclose(found, torch.stack(seen).mean(dim=0))
