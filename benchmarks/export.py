"""Masks out and in again: how exactly COCO and YOLO files give 1,000 masks back.

    python benchmarks/export.py
    python benchmarks/export.py --memory 100000

The masks have holes, parts and specks. COCO's file is read by pycocotools. YOLO's polygons are
drawn by three rasterisers that do not know each other: COCO's, OpenCV's as YOLO's trainers call
it (fractions cut off, outlines drawn), and PIL's in the same way. They are written as they are, and
once more without specks of up to two pixels.

``--memory N`` reads the resident memory of a process that exports N images of one label each, all
of them links to one file, in both formats. Both parts write into
``benchmarks/results/export.json``.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cv2
import numpy as np
import psutil
from PIL import Image, ImageDraw
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO
from scipy import ndimage

import ntt_plugin as ntt

RESULTS = Path(__file__).parent / "results" / "export.json"
SIZE = (240, 320)
AN_IMAGE = 10


def main() -> None:
    """Export the masks, read them back and write the figures."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--masks", type=int, default=1000)
    parser.add_argument("--memory", type=int, metavar="N", help="measure memory with N images")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    import tests.fiftyone_database  # noqa: F401  (before fiftyone)

    if options.memory:
        with tempfile.TemporaryDirectory() as folder:
            keep(options.output, {"memory": memory(Path(folder), options.memory)})
    else:
        keep(options.output, exactness(options.masks))


def keep(output: Path, result: dict[str, Any]) -> None:
    """Write figures beside those of the other part."""
    former = json.loads(output.read_text()) if output.exists() else {}
    print(json.dumps(result, indent=1))
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(former | result, indent=1) + "\n")


def exactness(count: int) -> dict[str, Any]:
    """Masks written and read back."""
    with tempfile.TemporaryDirectory() as folder:
        dataset, masks = make_dataset(Path(folder), count)
        try:
            result: dict[str, Any] = {"masks": len(masks), "size": SIZE, **describe(masks)}
            started = time.perf_counter()
            ntt.export_coco(dataset, "labels", Path(folder) / "coco.json", progress=False)
            result["coco_seconds"] = time.perf_counter() - started
            result["coco_equal"] = equal_in_coco(Path(folder) / "coco.json", masks)
            started = time.perf_counter()
            ntt.export_yolo_seg(dataset, "labels", Path(folder) / "yolo", progress=False)
            result["yolo_seconds"] = time.perf_counter() - started
            result["yolo"] = scores_of_yolo(Path(folder) / "yolo" / "labels", masks)
            clean = Path(folder) / "clean"
            ntt.export_yolo_seg(dataset, "labels", clean, clean=ntt.Clean(specks=3), progress=False)
            result["yolo_without_specks"] = scores_of_yolo(clean / "labels", masks)
        finally:
            dataset.delete()
    return result


def memory(folder: Path, count: int) -> dict[str, Any]:
    """Resident memory while many images are exported, in MiB above that of a small export."""
    dataset = make_many(folder, count)
    found: dict[str, Any] = {"images": count}
    try:
        for name, export in (("coco", ntt.export_coco), ("yolo", ntt.export_yolo_seg)):
            export(dataset.limit(100), "labels", folder / f"warm_{name}.json", progress=False)
            gc.collect()
            before, seen = psutil.Process().memory_info().rss, list[int]()

            def look(bar: Any, seen: list[int] = seen) -> None:
                seen.append(psutil.Process().memory_info().rss)

            started = time.perf_counter()
            report = export(dataset, "labels", folder / f"{name}.json", progress=look)
            assert sum(report.instances.values()) == count
            tenth = len(seen) // 10
            found[name] = {
                "seconds": round(time.perf_counter() - started, 1),
                "mib_second_tenth": mib(max(seen[tenth : 2 * tenth]) - before),
                "mib_last_tenth": mib(max(seen[-tenth:]) - before),
                "mib_at_most": mib(max(seen) - before),
            }
    finally:
        dataset.delete()
    return found


def mib(count: int) -> float:
    """Bytes in MiB."""
    return round(count / 2**20, 1)


def make_many(folder: Path, count: int) -> Any:
    """A dataset of many images, all links to one file, with a small label each."""
    import fiftyone as fo

    mask = np.zeros(SIZE, bool)
    mask[20:60, 30:90] = True
    mask[30:40, 50:60] = False
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(folder / "image.png")

    def samples() -> Any:
        for index in range(count):
            path = folder / f"{index // 1000:03}" / f"{index:06}.png"
            path.parent.mkdir(exist_ok=True)
            path.symlink_to(folder / "image.png")
            labels = fo.Detections(detections=[fo.Detection.from_mask(mask, label="thing")])
            yield fo.Sample(filepath=str(path), labels=labels)

    dataset = fo.Dataset(f"export_{uuid.uuid4().hex}")
    dataset.add_samples(samples(), progress=False, num_samples=count)
    return dataset


def make_dataset(folder: Path, count: int) -> tuple[Any, list[np.ndarray]]:
    """A dataset of random masks, and the masks in its order."""
    import fiftyone as fo

    rng, masks, samples = np.random.default_rng(0), [], []
    for index in range(-(-count // AN_IMAGE)):
        path = folder / f"{index:05}.png"
        Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(path)
        drawn = [random_mask(rng) for _ in range(min(AN_IMAGE, count - len(masks)))]
        masks += drawn
        labels = [fo.Detection.from_mask(mask, label="thing") for mask in drawn]
        samples.append(fo.Sample(filepath=str(path), labels=fo.Detections(detections=labels)))
    dataset = fo.Dataset(f"export_{uuid.uuid4().hex}")
    dataset.add_samples(samples, progress=False)
    return dataset, masks


def random_mask(rng: np.random.Generator) -> np.ndarray:
    """A smooth object in several parts, with holes and specks."""
    field = ndimage.gaussian_filter(rng.normal(size=SIZE), rng.uniform(4, 12))
    mask = field > np.quantile(field, rng.uniform(0.6, 0.9))
    top, left = rng.integers(0, 100), rng.integers(0, 150)
    window = np.zeros(SIZE, bool)
    window[top : top + rng.integers(60, 140), left : left + rng.integers(80, 170)] = True
    mask &= window
    mask[rng.integers(0, SIZE[0], 3), rng.integers(0, SIZE[1], 3)] ^= True
    return np.asarray(mask)


def describe(masks: list[np.ndarray]) -> dict[str, float]:
    """Mean numbers of parts and holes of a mask."""
    parts = [ndimage.label(mask, np.ones((3, 3)))[1] for mask in masks]
    holes = [ndimage.label(np.pad(~mask, 1, constant_values=True))[1] - 1 for mask in masks]
    return {"mean_parts": float(np.mean(parts)), "mean_holes": float(np.mean(holes))}


def equal_in_coco(path: Path, masks: list[np.ndarray]) -> int:
    """How many masks pycocotools reads as they were."""
    coco = COCO(path)
    annotations = coco.loadAnns(coco.getAnnIds())
    return sum(
        bool((coco.annToMask(annotation) == mask).all())
        for annotation, mask in zip(annotations, masks, strict=True)
    )


def scores_of_yolo(folder: Path, masks: list[np.ndarray]) -> dict[str, dict[str, float]]:
    """Mean and least IoU of the masks as each rasteriser draws them."""
    lines = [line for path in sorted(folder.glob("*.txt")) for line in path.read_text().split("\n")]
    polygons = [
        np.array(line.split()[1:], dtype=float).reshape(-1, 2) * SIZE[::-1]
        for line in lines
        if line
    ]
    found = {}
    drawers = {
        "coco": drawn_by_coco,
        "opencv": drawn_by_opencv,
        "outlines": drawn_with_outlines,
    }
    for name, draw in drawers.items():
        ious = [iou(draw(one), mask) for one, mask in zip(polygons, masks, strict=True)]
        found[name] = {"mean_iou": float(np.mean(ious)), "least_iou": float(np.min(ious))}
    return found


def iou(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two masks."""
    return float((one & other).sum() / (one | other).sum())


def drawn_by_coco(polygon: np.ndarray) -> np.ndarray:
    """A polygon as pycocotools draws it."""
    encoded = mask_utils.frPyObjects([polygon.ravel().tolist()], *SIZE)
    return np.asarray(mask_utils.decode(encoded)[..., 0].astype(bool))


def drawn_by_opencv(polygon: np.ndarray) -> np.ndarray:
    """A polygon as YOLO's trainers draw it."""
    image = np.zeros(SIZE, np.uint8)
    cv2.fillPoly(image, [polygon.astype(np.int32)], 1)
    return image.astype(bool)


def drawn_with_outlines(polygon: np.ndarray) -> np.ndarray:
    """A polygon as PIL draws it with its outline, fractions cut off."""
    image = Image.new("1", SIZE[::-1])
    ImageDraw.Draw(image).polygon([(int(x), int(y)) for x, y in polygon], 1, 1)
    return np.asarray(image)


if __name__ == "__main__":
    main()
