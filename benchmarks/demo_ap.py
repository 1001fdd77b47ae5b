"""How good the tiny networks are: AP on held-out scenes that show novel classes only.

    python benchmarks/demo_ap.py

Writes ``benchmarks/results/demo_ap.json``. Needs neither FiftyOne nor a network connection.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pycocotools import mask as rle

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ntt_plugin.dataset.evaluation.coco_metrics import evaluate_coco
from ntt_plugin.demo.classes import NOVEL_CLASSES
from ntt_plugin.demo.scenes import Scene
from ntt_plugin.demo.streams import reference_scene, scoring_scene
from ntt_plugin.engine import MemoryBank, Proposals, Reference, Segmenter, match

RESULTS = Path(__file__).parent / "results" / "demo_ap.json"
Naming = Callable[[list[str], random.Random], list[str]]
CATEGORY = {entry.name: index + 1 for index, entry in enumerate(NOVEL_CLASSES)}


def main() -> None:
    """Run the whole table and write it."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--scenes", type=int, default=100, help="held-out scenes")
    parser.add_argument(
        "--references", type=int, default=120, help="scenes to draw references from"
    )
    parser.add_argument("--seeds", type=int, default=5, help="reference samples")
    parser.add_argument("--networks", type=Path, help="folder with segmenter/ and encoder/")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()

    overrides = {}
    if options.networks:
        overrides = {name: str(options.networks / name) for name in ("segmenter", "encoder")}
    segmenter = Segmenter.from_preset("tiny", **overrides)
    scenes = [scoring_scene(index) for index in range(options.scenes)]
    started = time.perf_counter()
    proposals = [segmenter.propose(scene.image) for scene in scenes]
    seconds = (time.perf_counter() - started) / len(scenes)
    features = reference_features(segmenter, options.references)

    table: dict[str, Any] = {}
    for name, shots, naming in [
        ("1 shot", 1, true_names),
        ("3 shots", 3, true_names),
        ("10 shots", 10, true_names),
        ("3 shots, class names shuffled", 3, shuffled_names),
        ("3 shots, every class name wrong", 3, wrong_names),
    ]:
        runs = [
            score(scenes, proposals, draw_bank(segmenter, features, shots, seed, naming), segmenter)
            for seed in range(options.seeds)
        ]
        table[name] = summarise(runs)
        print(f"{name:32s}", {key: round(value["mean"], 4) for key, value in table[name].items()})
    result = {
        "preset": "tiny",
        "scenes": len(scenes),
        "novel_classes": len(NOVEL_CLASSES),
        "reference_seeds": options.seeds,
        "table": table,
        "proposal_recall_at_iou_0.75": recall(scenes, proposals, 0.75),
        "proposal_recall_at_iou_0.5": recall(scenes, proposals, 0.5),
        "proposals_an_image": float(np.mean([len(entry) for entry in proposals])),
        "seconds_to_propose_an_image": seconds,
        "torch": torch.__version__,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
    }
    print(json.dumps({key: value for key, value in result.items() if key != "table"}, indent=1))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n")


def protocol_options(about: str | None) -> argparse.ArgumentParser:
    """The options of all that is scored on held-out scenes with drawn references.

    Args:
        about: what is measured, the module's docstring.
    """
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenes", type=int, default=100, help="held-out scenes")
    parser.add_argument("--references", type=int, default=120, help="scenes to draw them from")
    parser.add_argument("--shots", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=5, help="draws of references")
    return parser


def reference_features(segmenter: Segmenter, count: int) -> dict[str, list[torch.Tensor]]:
    """Features of every object in the reference scenes, by class."""
    features = defaultdict(list)
    for index in range(count):
        scene = reference_scene(index)
        for number, entry in enumerate(scene.classes):
            reference = Reference(scene.image, scene.mask(number), entry.name)
            features[entry.name].append(segmenter.reference_feature(reference))
    return features


def draw_bank(
    segmenter: Segmenter,
    features: dict[str, list[torch.Tensor]],
    shots: int,
    seed: int,
    naming: Naming,
) -> MemoryBank:
    """A bank of randomly drawn references under the names that ``naming`` gives them."""
    generator = random.Random(seed)
    drawn = [
        (name, feature) for name in CATEGORY for feature in generator.sample(features[name], shots)
    ]
    names = naming([name for name, _ in drawn], generator)
    bank = MemoryBank(segmenter.fingerprint, segmenter.recipe)
    for name, (_, feature) in zip(names, drawn, strict=True):
        bank.add(name, feature)
    return bank


def true_names(names: list[str], _: random.Random) -> list[str]:
    """Every reference under its own name."""
    return names


def shuffled_names(names: list[str], generator: random.Random) -> list[str]:
    """Names dealt out at random: by chance, one reference in 16 keeps its own."""
    return generator.sample(names, len(names))


def wrong_names(names: list[str], generator: random.Random) -> list[str]:
    """Names dealt out at random until no reference has its own."""
    while True:
        dealt = shuffled_names(names, generator)
        if all(name != own for name, own in zip(dealt, names, strict=True)):
            return dealt


def score(
    scenes: list[Scene], proposals: list[Proposals], bank: MemoryBank, segmenter: Segmenter
) -> dict[str, float]:
    """AP of masks and boxes over all scenes."""
    truth, segm, bbox = ground_truth(scenes), [], []
    for image_id, entry in enumerate(proposals):
        instances = match(entry, bank, segmenter.recipe)
        for index, label in enumerate(instances.labels):
            x1, y1, x2, y2 = (int(edge) for edge in instances.boxes[index])
            common = {
                "image_id": image_id,
                "category_id": CATEGORY[label],
                "score": float(instances.scores[index]),
            }
            segm.append({**common, "segmentation": encode(instances.full_mask(index))})
            bbox.append({**common, "bbox": [x1, y1, x2 - x1, y2 - y1]})
    masks, _ = evaluate_coco(truth, segm, "segm")
    boxes, _ = evaluate_coco(truth, bbox, "bbox")
    return {
        "segm_ap": masks["AP"],
        "segm_ap50": masks["AP50"],
        "segm_ap75": masks["AP75"],
        "bbox_ap": boxes["AP"],
    }


def ground_truth(scenes: list[Scene]) -> dict[str, Any]:
    """The scenes' annotations in COCO's form."""
    annotations: list[dict[str, Any]] = []
    for image_id, scene in enumerate(scenes):
        for index, entry in enumerate(scene.classes):
            mask = scene.mask(index)
            rows, columns = np.nonzero(mask)
            x, y = int(columns.min()), int(rows.min())
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": CATEGORY[entry.name],
                    "segmentation": encode(mask),
                    "bbox": [x, y, int(columns.max()) + 1 - x, int(rows.max()) + 1 - y],
                    "area": int(mask.sum()),
                    "iscrowd": 0,
                }
            )
    height, width = scenes[0].owners.shape
    return {
        "images": [{"id": i, "height": height, "width": width} for i in range(len(scenes))],
        "categories": [{"id": number, "name": name} for name, number in CATEGORY.items()],
        "annotations": annotations,
    }


def recall(scenes: list[Scene], proposals: list[Proposals], threshold: float) -> float:
    """Share of objects that some proposal covers with at least this IoU, at full resolution."""
    found, total = 0, 0
    for scene, entry in zip(scenes, proposals, strict=True):
        logits = torch.nn.functional.interpolate(
            entry.masks.logits[None].cpu(), scene.owners.shape, mode="bilinear", antialias=True
        )
        masks = (logits[0] > 0).flatten(1).float()
        truth = np.stack([scene.mask(index) for index in range(len(scene.classes))])
        objects = torch.from_numpy(truth).flatten(1).float()
        shared = masks @ objects.T
        union = masks.sum(1)[:, None] + objects.sum(1) - shared
        if len(masks):
            found += int(((shared / union).amax(0) >= threshold).sum())
        total += len(objects)
    return found / total


def summarise(runs: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Mean and spread of each figure over the reference seeds."""
    return {
        key: {
            "mean": float(np.mean([run[key] for run in runs])),
            "std": float(np.std([run[key] for run in runs])),
        }
        for key in runs[0]
    }


def encode(mask: np.ndarray) -> dict[str, Any]:
    """A mask, bool (H, W), as a compressed RLE."""
    encoded: dict[str, Any] = rle.encode(np.asfortranarray(mask.astype(np.uint8)))
    return encoded


if __name__ == "__main__":
    main()
