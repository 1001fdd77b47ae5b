"""The table sees what it is there to see: planted faults make a cell wrong."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.journeys import way
from tests.journeys.files import stored_for, upright
from tests.journeys.formats import FILE_KINDS
from tests.journeys.imports import IMPORTED
from tests.journeys.judge import Answers, judge
from tests.journeys.labels import DRAWN, LabelKind
from tests.journeys.outlines import one_ring, rings
from tests.journeys.table import Cell, cells

PLAIN = Cell(FILE_KINDS[0], 3, "square", "plain", DRAWN[0], "fiftyone", False, False)


class TurnsTwice:
    """A segmenter whose pictures are turned once more than they should be."""

    def __init__(self, segmenter: Any) -> None:
        self._segmenter = segmenter

    def __getattr__(self, name: str) -> Any:
        return getattr(self._segmenter, name)

    def propose(self, image: Any, progress: Any = None) -> Any:
        return self._segmenter.propose(upright(np.asarray(image), 3))

    def reference_feature(self, reference: Any) -> Any:
        image = upright(np.asarray(reference.image), 3)
        return self._segmenter.reference_feature(replace(reference, image=image))


def test_pictures_that_are_turned_twice_are_wrong(
    segmenter: Any, answers: Answers, folder: Path
) -> None:
    with pytest.raises(way.Wrong, match="right:"):
        judge(PLAIN, TurnsTwice(segmenter), answers, folder)


def test_a_file_that_is_turned_the_wrong_way_is_wrong(
    segmenter: Any, answers: Answers, folder: Path
) -> None:
    def save(stored: Any, path: Path, orientation: int) -> None:
        FILE_KINDS[0].save(stored, path, 4)

    with pytest.raises(way.Wrong, match="levels off"):
        judge(replace(PLAIN, file=replace(FILE_KINDS[0], save=save)), segmenter, answers, folder)


def test_masks_a_pixel_aside_are_wrong(segmenter: Any, answers: Answers, folder: Path) -> None:
    def load(photos: Any, below: Path) -> Any:
        moved = [
            replace(photo, objects=[(name, np.roll(mask, 1, 1)) for name, mask in photo.objects])
            for photo in photos
        ]
        return DRAWN[0].load(moved, below)

    with pytest.raises(way.Wrong, match="right:"):
        judge(
            replace(PLAIN, orientation=1, labels=LabelKind("moved", load)),
            segmenter,
            answers,
            folder,
        )


def test_a_refusal_of_ordinary_data_is_wrong(
    segmenter: Any, answers: Answers, folder: Path
) -> None:
    nothing = LabelKind("nothing", lambda photos, below: DRAWN[-2].load(photos, below))
    with pytest.raises(way.Wrong, match="ordinary data is refused"):
        judge(replace(PLAIN, orientation=1, labels=nothing), segmenter, answers, folder)


def test_a_refusal_without_a_name_is_wrong() -> None:
    with pytest.raises(way.Wrong, match="names nothing"):
        way.require_named(
            "Something about these labels was not as it should be, sadly.", ["pool.png"]
        )


def test_each_kind_and_each_orientation_is_in_the_table() -> None:
    table = cells()
    assert {cell.file for cell in table} == set(FILE_KINDS)
    assert {cell.labels for cell in table} == {*DRAWN, *IMPORTED}
    for family in ("png", "jpeg", "tiff", "webp", "avif"):
        turns = {cell.orientation for cell in table if cell.family == family}
        assert turns == set(range(1, 9)), family


@pytest.mark.parametrize("orientation", range(1, 9))
def test_stored_pixels_are_shown_as_they_were(orientation: int) -> None:
    picture = np.arange(5 * 3 * 3, dtype=np.uint8).reshape(5, 3, 3)
    stored = stored_for(picture, orientation)
    assert stored.shape[:2] == ((3, 5) if orientation >= 5 else (5, 3))
    assert np.array_equal(upright(stored, orientation), picture)


def test_outlines_give_back_their_mask() -> None:
    from pycocotools import mask as mask_utils

    rng = np.random.default_rng(0)
    for _ in range(20):
        mask = rng.random((11, 14)) < 0.6
        outline = np.array(one_ring(mask), float).ravel().tolist()
        (encoded,) = mask_utils.frPyObjects([outline], *mask.shape)
        assert np.array_equal(mask_utils.decode(encoded), mask)
        assert all(len(ring) >= 4 for ring in rings(mask))
