"""The contact sheet: references, ground truth and prediction side by side."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_CELL = 320
_GAP = 12
_HEADER = 40
_CAPTION = 16
_PAPER = (250, 250, 248)
_INK = (40, 40, 40)


@dataclass(frozen=True, eq=False)
class Shape:
    """One mask to draw.

    Attributes:
        label: its class.
        mask: bool (h, w), of the image's size.
        score: confidence, written beside the label; None for ground truth.
    """

    label: str
    mask: np.ndarray
    score: float | None = None


@dataclass(frozen=True, eq=False)
class Row:
    """One line of the sheet.

    Attributes:
        references: crops of the references of each class that the image shows, by label.
        image: RGB uint8 (h, w, 3).
        truth: what the image shows.
        predictions: what was found.
    """

    references: dict[str, list[Image.Image]]
    image: np.ndarray
    truth: Sequence[Shape]
    predictions: Sequence[Shape]


def draw_sheet(rows: Sequence[Row], classes: Sequence[str], titles: Sequence[str]) -> Image.Image:
    """Draw the sheet: a row an image, with one colour a class throughout.

    Args:
        rows: what to show.
        classes: all labels, in the order that gives them their colours.
        titles: what stands over the three columns.
    """
    colours = {label: _colour(index, len(classes)) for index, label in enumerate(classes)}
    width = 3 * _CELL + 4 * _GAP
    height = _HEADER + len(rows) * (_CELL + _GAP)
    sheet = Image.new("RGB", (width, height), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles):
        pen.text((_GAP + column * (_CELL + _GAP), 12), title, _INK, ImageFont.load_default(17))
    for number, row in enumerate(rows):
        top = _HEADER + number * (_CELL + _GAP)
        cells = [
            _reference_cell(row.references, colours),
            _image_cell(row.image, row.truth, colours),
            _image_cell(row.image, row.predictions, colours),
        ]
        for column, cell in enumerate(cells):
            sheet.paste(cell, (_GAP + column * (_CELL + _GAP), top))
    return sheet


def _reference_cell(
    references: dict[str, list[Image.Image]], colours: dict[str, tuple[int, int, int]]
) -> Image.Image:
    cell = Image.new("RGB", (_CELL, _CELL), (255, 255, 255))
    pen = ImageDraw.Draw(cell)
    columns = 1 if len(references) <= 4 else 2
    lines = -(-len(references) // columns)
    shots = max((len(crops) for crops in references.values()), default=1)
    side = min(_CELL // lines - _CAPTION - 4, (_CELL // columns - 8) // shots - 3, 80)
    for index, (label, crops) in enumerate(references.items()):
        left = 4 + (index // lines) * (_CELL // columns)
        top = 2 + (index % lines) * (_CELL // lines)
        pen.text((left, top), label, colours[label], ImageFont.load_default(12))
        for shot, crop in enumerate(crops):
            thumb = crop.resize((side, side), Image.Resampling.LANCZOS)
            cell.paste(thumb, (left + shot * (side + 3), top + _CAPTION))
    return cell


def _image_cell(
    image: np.ndarray, shapes: Sequence[Shape], colours: dict[str, tuple[int, int, int]]
) -> Image.Image:
    grey = image.mean(axis=2, keepdims=True) * 0.5 + image * 0.25 + 50
    canvas = Image.fromarray(grey.clip(0, 255).astype(np.uint8)).resize((_CELL, _CELL))
    tags = []
    for shape in shapes:
        mask = Image.fromarray(shape.mask).resize((_CELL, _CELL), Image.Resampling.NEAREST)
        area = np.asarray(mask)
        paint = np.array(canvas)
        paint[area] = 0.35 * paint[area] + 0.65 * np.array(colours[shape.label])
        rim = area & ~_eroded(area)
        paint[rim] = colours[shape.label]
        canvas = Image.fromarray(paint)
        rows, columns = np.nonzero(area)
        words = shape.label if shape.score is None else f"{shape.label} {shape.score:.2f}"
        tags.append((int(columns.mean()), int(rows.mean()), words))
    pen = ImageDraw.Draw(canvas)
    for x, y, words in tags:
        box = pen.textbbox((x, y), words, ImageFont.load_default(11), anchor="mm")
        shift = max(0, 2 - box[0]) - max(0, box[2] - _CELL + 2)
        pen.text(
            (x + shift, y),
            words,
            (255, 255, 255),
            ImageFont.load_default(11),
            anchor="mm",
            stroke_width=2,
            stroke_fill=(0, 0, 0),
        )
    return canvas


def _eroded(area: np.ndarray) -> np.ndarray:
    padded = np.pad(area, 2)
    inner = area.copy()
    for down, right in ((0, 2), (4, 2), (2, 0), (2, 4)):
        inner &= padded[down : down + area.shape[0], right : right + area.shape[1]]
    return inner


def _colour(index: int, count: int) -> tuple[int, int, int]:
    # Neighbours in the list get hues far apart.
    hue = (index * 0.618) % 1
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.95 if index % 2 else 0.7, 0.85)
    return int(red * 255), int(green * 255), int(blue * 255)
