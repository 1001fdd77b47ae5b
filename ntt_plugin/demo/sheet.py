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
Colours = dict[str, tuple[int, int, int]]


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
            _outlined_cell(row.image, row.truth, colours),
            _filled_cell(row.image, row.predictions, colours),
        ]
        for column, cell in enumerate(cells):
            sheet.paste(cell, (_GAP + column * (_CELL + _GAP), top))
    return sheet


def _reference_cell(references: dict[str, list[Image.Image]], colours: Colours) -> Image.Image:
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


def _outlined_cell(image: np.ndarray, shapes: Sequence[Shape], colours: Colours) -> Image.Image:
    """The image as it is, with each mask's rim in the class's colour on white."""
    paint = np.array(Image.fromarray(image).resize((_CELL, _CELL)))
    for shape in shapes:
        area = _area(shape)
        inner = _eroded(area, 1)
        paint[area & ~_eroded(inner, 2)] = (255, 255, 255)
        paint[area & ~inner] = colours[shape.label]
    return _tagged(Image.fromarray(paint), shapes)


def _filled_cell(image: np.ndarray, shapes: Sequence[Shape], colours: Colours) -> Image.Image:
    """The image in pale grey, with each mask filled in the class's colour."""
    grey = image.mean(axis=2, keepdims=True) * 0.5 + image * 0.25 + 50
    pale = Image.fromarray(grey.clip(0, 255).astype(np.uint8))
    paint = np.array(pale.resize((_CELL, _CELL)))
    # The best last: where masks overlap, it is the one to see.
    for shape in sorted(shapes, key=lambda shape: shape.score or 0):
        area = _area(shape)
        paint[area] = 0.35 * paint[area] + 0.65 * np.array(colours[shape.label])
        paint[area & ~_eroded(area, 2)] = colours[shape.label]
    return _tagged(Image.fromarray(paint), shapes)


def _tagged(canvas: Image.Image, shapes: Sequence[Shape]) -> Image.Image:
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(11)
    for shape in shapes:
        rows, columns = np.nonzero(_area(shape))
        if not len(rows):
            continue
        x, y = int(columns.mean()), int(rows.mean())
        words = shape.label if shape.score is None else f"{shape.label} {shape.score:.2f}"
        box = pen.textbbox((x, y), words, font, anchor="mm")
        x += int(max(0, 2 - box[0]) - max(0, box[2] - _CELL + 2))
        pen.text((x, y), words, "white", font, "mm", stroke_width=2, stroke_fill="black")
    return canvas


def _area(shape: Shape) -> np.ndarray:
    return np.asarray(Image.fromarray(shape.mask).resize((_CELL, _CELL), Image.Resampling.NEAREST))


def _eroded(area: np.ndarray, width: int) -> np.ndarray:
    padded = np.pad(area, width)
    inner = area.copy()
    height, length = area.shape
    for down, right in ((0, width), (2 * width, width), (width, 0), (width, 2 * width)):
        inner &= padded[down : down + height, right : right + length]
    return inner


def _colour(index: int, count: int) -> tuple[int, int, int]:
    # Neighbours in the list get hues far apart.
    hue = (index * 0.618) % 1
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.95 if index % 2 else 0.7, 0.85)
    return int(red * 255), int(green * 255), int(blue * 255)
