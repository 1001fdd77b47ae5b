"""One cell of the table from its files to its outcome: equal, refused by name, or wrong."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
from PIL import Image

import ntt_plugin as ntt
from ntt_plugin.engine.images.load import read_image
from tests.journeys import way
from tests.journeys.compare import differences
from tests.journeys.files import Photo, upright, write_photos
from tests.journeys.formats import FileKind, pillow
from tests.journeys.labels import add_plain_masks
from tests.journeys.table import LABEL_KINDS, Cell

EQUAL, REFUSED = "equal", "refused by name"

_BY_NAME = {kind.name: kind for kind in LABEL_KINDS}


@dataclass
class Answers:
    """The right answers, by the picture that a format can hold, its size, and masks or boxes."""

    segmenter: Any
    folder: Path

    def __post_init__(self) -> None:
        self._known: dict[tuple[str, str, bool], way.Record] = {}

    def of(self, picture: str, size: str, boxes: bool = False) -> way.Record:
        """The way of a picture as a plain upright PNG with masks, or with masks made of boxes."""
        key = (picture, size, boxes)
        if key not in self._known:
            folder = self.folder / "-".join(map(str, key)).replace(" ", "_")
            plain = FileKind("plain", ".png", pillow(), picture)
            photos = write_photos(plain, 1, size, "plain", folder)
            self._known[key] = self._of_photos(photos, boxes, folder)
        return self._known[key]

    def of_pixels(self, photos: list[Photo], boxes: bool, folder: Path) -> way.Record:
        """The way of the pixels that files hold, decoded and turned here, as plain PNG files."""
        plain = []
        for photo in photos:
            with Image.open(photo.path) as opened:
                pixels = np.asarray(opened.convert("RGB"))
                # Of all formats, Pillow turns TIFF by itself.
                if opened.format != "TIFF":
                    pixels = upright(pixels, photo.orientation)
            path = folder / f"{photo.role}.png"
            Image.fromarray(pixels).save(path)
            plain.append(replace(photo, path=path))
        return self._of_photos(plain, boxes, folder)

    def _of_photos(self, photos: list[Photo], boxes: bool, folder: Path) -> way.Record:
        labels = _BY_NAME["boxes" if boxes else "mask"]
        dataset = labels.load(photos, folder)
        try:
            add_plain_masks(dataset, photos)
            size = photos[1].shown.shape[:2]
            return way.go(dataset, labels, self.segmenter, size, folder)
        finally:
            dataset.delete()


def judge(cell: Cell, segmenter: Any, answers: Answers, folder: Path) -> tuple[str, str]:
    """How a cell ends, ``EQUAL`` or ``REFUSED``, and what the product said of it.

    Raises:
        Wrong: it ends as neither, or as the one where only the other is right.
    """
    photos = write_photos(cell.file, cell.orientation, cell.size, cell.place, folder)
    placed = [photo.as_stored() for photo in photos] if cell.labels.stored else photos
    dataset = cell.labels.load(placed, folder)
    try:
        add_plain_masks(dataset, photos)
        if cell.metadata and not cell.labels.stored:
            dataset.compute_metadata(progress=False)
        return _judge(cell, dataset, photos, segmenter, answers, folder)
    finally:
        dataset.delete()


def _judge(
    cell: Cell,
    dataset: fo.Dataset,
    photos: list[Photo],
    segmenter: Any,
    answers: Answers,
    folder: Path,
) -> tuple[str, str]:
    must = cell.labels.refused or cell.labels.stored
    may = must or cell.labels.unsure or cell.file.unsure or _is_contradicted(dataset, cell, photos)
    lossy = cell.file.loss > 0
    if lossy and cell.labels.boxes:
        # Masks made of boxes differ by far more than the pixels do, so these must be the same.
        right = answers.of_pixels(photos, True, folder)
        lossy = False
    else:
        right = answers.of(cell.file.picture, cell.size, cell.labels.boxes)
    size = photos[1].shown.shape[:2]
    try:
        got = way.go(dataset, cell.labels, segmenter, size, folder, [cell.export], cell.kept)
    except way.RefusedByName as error:
        if not may:
            raise way.Wrong(f"ordinary data is refused: {error}") from error
        _others_refuse_too(cell, dataset, segmenter, right, size)
        return REFUSED, str(error)
    if got.refused and not may:
        raise way.Wrong(f"ordinary data is refused after an export: {got.refused}")
    if must:
        raise way.Wrong("it was learnt, where it must be refused by name")
    found = differences(got, right, lossy, cell.labels.rounded)
    found += _misread(cell, photos) + _untold(cell, dataset)
    if found and cell.file.unsure and (told := _doubts(photos[1], dataset)):
        return REFUSED, told
    if found:
        raise way.Wrong("\n".join(found))
    return (REFUSED, got.refused) if got.refused else (EQUAL, "")


def _is_contradicted(dataset: fo.Dataset, cell: Cell, photos: list[Photo]) -> bool:
    """Whether FiftyOne tells another size of the files than a viewer shows, of itself.

    It turns the size of JPEG only. Labels on the shown picture are then like labels on the
    stored one, and so they may be refused; always in an export to COCO, which needs sizes.
    """
    if not cell.metadata and cell.export != "coco":
        return False
    for photo in photos:
        found = fo.ImageMetadata.build_for(str(photo.path))
        if (found.height, found.width) != photo.shown.shape[:2]:
            return True
    return False


def _others_refuse_too(
    cell: Cell, dataset: fo.Dataset, segmenter: Any, right: way.Record, size: tuple[int, int]
) -> None:
    """What cannot be learnt cannot be segmented or scored either, or it is done right."""
    target = dataset.match_tags("target")
    if cell.file.unsure:
        try:
            found = way.segment(target, right.bank, segmenter, size)
        except way.RefusedByName:
            return
        if [entry.label for entry in found] != [entry.label for entry in right.found]:
            raise way.Wrong("refused as a reference, and segmented wrongly without a word")
    if not cell.labels.scored:
        return
    try:
        scores = way.scored_copy(target)
    except way.RefusedByName:
        return
    if scores["segm AP"] < 0.9999:
        raise way.Wrong(
            f"refused as references, and scored without a word: the right masks have segm AP "
            f"{scores['segm AP']:.3f} and not 1"
        )


def _misread(cell: Cell, photos: list[Photo]) -> list[str]:
    """What the engine sees is what a viewer shows."""
    found = []
    for photo in photos:
        seen = np.asarray(read_image(photo.path)).astype(int)
        if seen.shape != photo.shown.shape:
            found.append(f"{photo.role}: read as {seen.shape}, shown as {photo.shown.shape}")
        elif np.abs(seen - photo.shown).mean() > cell.file.loss:
            away = np.abs(seen - photo.shown).mean()
            found.append(f"{photo.role}: {away:.2f} levels off, {cell.file.loss} are right")
    return found


def _untold(cell: Cell, dataset: fo.Dataset) -> list[str]:
    """A file of several pictures is named in the run's report."""
    notes = ntt.load_segment_report(dataset, way.FOUND).notes
    if not cell.file.note or any(cell.file.note in note.reason for note in notes if note.filepath):
        return []
    return [f"the report does not tell of the file's {cell.file.note}s: {notes}"]


def _doubts(photo: Photo, dataset: fo.Dataset) -> str:
    """What a run's report says of how a file of unknown scale was read."""
    notes = ntt.load_segment_report(dataset, way.FOUND).notes
    told = [note.reason for note in notes if Path(note.filepath).name == photo.path.name]
    return "; ".join(reason for reason in told if "level" in reason or "band" in reason)
