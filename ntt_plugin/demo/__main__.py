"""Command line: ``python -m ntt_plugin.demo``, the whole path on generated scenes, offline."""

from __future__ import annotations

import argparse
import colorsys
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .. import coco_figures, evaluate, sample_references, segment
from ..dataset.banks.banks import build_memory_bank
from ..dataset.labels.placed_masks import full_mask
from ..engine.bank.memory_bank import MemoryBank
from ..engine.references import crop_box
from ..errors import NttError
from .dataset import (
    BANK,
    DATASET_NAME,
    FIELD,
    GROUND_TRUTH,
    POOL_TAG,
    SHOWN_FROM,
    TARGET_TAG,
    finish,
    make_dataset,
)

_EVALUATION = "ntt_eval"
_SHEET_ROWS = 4
_SHEET_CONTEXT = 0.3


def main() -> None:
    """Make the demo dataset, segment it from a few references a class, and score the result."""
    parser = argparse.ArgumentParser("python -m ntt_plugin.demo", description=main.__doc__)
    add = parser.add_argument
    add("--folder", type=Path, default=Path("demo"), help="for images, report and contact sheet")
    add("--name", default=DATASET_NAME, help="the dataset's name in FiftyOne")
    add("--images", type=int, default=60, help="images to segment")
    add("--shots", type=int, default=3, help="references a class")
    add("--seed", type=int, default=51, help="seed of the choice of references")
    add("--device", help="cpu, cuda or mps (default: the best there is)")
    options = parser.parse_args()
    try:
        run(options)
    except NttError as error:
        sys.exit(f"The demo stopped: {error}")


def run(options: argparse.Namespace) -> None:
    """The demo's steps, each said before it is done."""
    print(f"1/5  Rendering scenes into the dataset {options.name!r}", flush=True)
    dataset = make_dataset(options.folder / "scenes", targets=options.images, name=options.name)
    targets = dataset.match_tags(TARGET_TAG)

    print(f"2/5  Choosing {options.shots} references of each class", flush=True)
    pool = dataset.match_tags(POOL_TAG)
    print("    ", sample_references(pool, GROUND_TRUTH, shots=options.shots, seed=options.seed))

    print("3/5  Building the memory bank", flush=True)
    bank = build_memory_bank(
        pool, GROUND_TRUTH, BANK, tag="reference", preset="tiny", device=options.device
    )
    print("    ", bank)

    print(f"4/5  Segmenting {len(targets)} images", flush=True)
    started = time.perf_counter()
    report = segment(targets, BANK, label_field=FIELD, device=options.device)
    seconds = time.perf_counter() - started
    print("    ", report)

    print("5/5  Scoring against the exact masks", flush=True)
    evaluate(targets, FIELD, GROUND_TRUTH, eval_key=_EVALUATION)
    figures = coco_figures(dataset, _EVALUATION)
    finish(dataset)
    bbox, segm, segm_by_class = figures.bbox, figures.segm or {}, figures.segm_ap or []

    options.folder.mkdir(parents=True, exist_ok=True)
    sheet = options.folder / "contact_sheet.png"
    _sheet(dataset, targets, bank, options.shots).save(sheet)
    summary = {
        "segm_ap": segm["AP"],
        "segm_ap50": segm["AP50"],
        "bbox_ap": bbox["AP"],
        "images": len(targets),
        "shots": options.shots,
        "seconds_segment": round(seconds, 3),
        "segm_ap_by_class": dict(zip(figures.classes, segm_by_class, strict=True)),
    }
    (options.folder / "report.json").write_text(json.dumps(summary, indent=2) + "\n")

    print()
    print(f"{'class':28s}{'mask AP':>9s}{'box AP':>9s}")
    for name, mask_ap, box_ap in zip(figures.classes, segm_by_class, figures.bbox_ap, strict=True):
        print(f"{name:28s}{mask_ap:9.3f}{box_ap:9.3f}")
    print(f"{'all classes':28s}{segm['AP']:9.3f}{bbox['AP']:9.3f}")
    print(f"{'all classes, IoU 0.5':28s}{segm['AP50']:9.3f}{bbox['AP50']:9.3f}")
    print()
    print(f"No class was ever seen in training. Look at {sheet}, or run: make app")


def _sheet(dataset: fo.Dataset, targets: Any, bank: MemoryBank, shots: int) -> Image.Image:
    rows = []
    for sample in targets[:_SHEET_ROWS]:
        with Image.open(sample.filepath) as opened:
            image = np.array(opened.convert("RGB"))
        truth = [_shape(label, image) for label in sample[GROUND_TRUTH].detections]
        found = [
            _shape(label, image, label.confidence)
            for label in sample[FIELD].detections
            if label.confidence >= SHOWN_FROM
        ]
        shown = list(dict.fromkeys(shape.label for shape in truth))
        crops = {label: _reference_crops(dataset, bank, label) for label in shown}
        rows.append(Row(crops, image, truth, found))
    titles = (
        f"{shots} references of each class",
        "ground truth",
        f"prediction (confidence from {SHOWN_FROM})",
    )
    return draw_sheet(rows, bank.classes, titles)


def _shape(label: Any, image: np.ndarray, score: float | None = None) -> Shape:
    return Shape(label.label, full_mask(label, image.shape[:2]), score)


def _reference_crops(dataset: fo.Dataset, bank: MemoryBank, label: str) -> list[Image.Image]:
    crops = []
    for reference in bank.references(label):
        with Image.open(dataset[reference.provenance.sample].filepath) as opened:
            picture = opened.convert("RGB")
        whole = (0.0, 0.0, float(picture.width), float(picture.height))
        box = reference.provenance.box or whole
        # The crop in the picture is tighter than the encoder's: it is there to be looked at.
        crops.append(picture.crop(crop_box(box, (picture.height, picture.width), _SHEET_CONTEXT)))
    return crops


_CELL = 320
_GAP = 12
_HEADER = 40
_CAPTION = 16
_PAPER = (250, 250, 248)
_INK = (40, 40, 40)
Colours = dict[str, tuple[int, int, int]]


@dataclass(frozen=True, eq=False)
class Shape:
    """A mask of the image's size to draw, bool (h, w); ``score`` is None for ground truth."""

    label: str
    mask: np.ndarray
    score: float | None = None


@dataclass(frozen=True, eq=False)
class Row:
    """One line of the sheet: crops of references by class, the image, its truth, what was found."""

    references: dict[str, list[Image.Image]]
    image: np.ndarray
    truth: Sequence[Shape]
    predictions: Sequence[Shape]


def draw_sheet(rows: Sequence[Row], classes: Sequence[str], titles: Sequence[str]) -> Image.Image:
    """Draw the sheet: a row an image, with one colour a class throughout.

    The order of ``classes`` gives them their colours; ``titles`` stand over the three columns.
    """
    colours = {label: _colour(index) for index, label in enumerate(classes)}
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


def _colour(index: int) -> tuple[int, int, int]:
    # Neighbours in the list get hues far apart.
    hue = (index * 0.618) % 1
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.95 if index % 2 else 0.7, 0.85)
    return int(red * 255), int(green * 255), int(blue * 255)


if __name__ == "__main__":
    main()
