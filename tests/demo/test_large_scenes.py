import numpy as np
import pytest

from ntt_plugin.demo.classes import NOVEL_CLASSES
from ntt_plugin.demo.large_scenes import LargeScene, make_large_scene


@pytest.fixture(scope="module")
def large() -> LargeScene:
    return make_large_scene(5, NOVEL_CLASSES, 7)


def test_seven_cells_a_side_are_1024_pixels(large: LargeScene) -> None:
    assert large.scene.image.shape == (1024, 1024, 3) and large.scene.owners.shape == (1024, 1024)
    assert len(large.cells) == 49 and large.cells[0].image.shape == (256, 256, 3)


def test_the_cells_show_the_scenes_objects_larger(large: LargeScene) -> None:
    number = 0
    for cell in large.cells:
        for index, entry in enumerate(cell.classes):
            assert large.scene.classes[number] == entry
            # 256 pixels of a cell become 1,024 / 7 of the scene.
            ratio = cell.mask(index).sum() / large.scene.mask(number).sum()
            assert ratio == pytest.approx(1.75**2, rel=0.15)
            number += 1
    assert number == len(large.scene.classes) > 20


def test_objects_have_24_to_64_pixels(large: LargeScene) -> None:
    sides = []
    for index in range(len(large.scene.classes)):
        rows, columns = np.nonzero(large.scene.mask(index))
        sides.append(1 + max(np.ptp(rows), np.ptp(columns)))
    # A shape does not fill its circle, and one may cover a part of another.
    assert 15 <= min(sides) and 50 <= max(sides) <= 76


def test_the_same_seed_gives_the_same_scene(large: LargeScene) -> None:
    again = make_large_scene(5, NOVEL_CLASSES, 7)
    assert np.array_equal(again.scene.image, large.scene.image)
