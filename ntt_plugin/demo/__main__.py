"""Command line: ``python -m ntt_plugin.demo``, the whole path on generated scenes, offline."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
from PIL import Image

from .. import coco_figures, evaluate, sample_references, segment
from ..dataset.banks.banks import build_memory_bank
from ..dataset.labels.placed_masks import full_mask
from ..engine.bank.memory_bank import MemoryBank
from ..engine.references import crop_box
from ..errors import NttError
from .dataset import (
    DATASET_NAME,
    FIELD,
    GROUND_TRUTH,
    POOL_TAG,
    SHOWN_FROM,
    TARGET_TAG,
    make_dataset,
)
from .sheet import Row, Shape, draw_sheet

_BANK = "demo_bank"
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
        pool, GROUND_TRUTH, _BANK, tag="reference", preset="tiny", device=options.device
    )
    print("    ", bank)

    print(f"4/5  Segmenting {len(targets)} images", flush=True)
    started = time.perf_counter()
    report = segment(targets, _BANK, label_field=FIELD, device=options.device)
    seconds = time.perf_counter() - started
    print("    ", report)

    print("5/5  Scoring against the exact masks", flush=True)
    evaluate(targets, FIELD, GROUND_TRUTH, eval_key=_EVALUATION)
    figures = coco_figures(dataset, _EVALUATION)
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
    """The first target images; predictions from a confidence of 0.6."""
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


if __name__ == "__main__":
    main()
