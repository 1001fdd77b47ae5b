"""What options do for AP: those of the recipe, and ways to match that are not built.

    python benchmarks/options_ap.py

AP of masks on the demo's held-out scenes with the preset ``tiny``, for the same draws of references
as ``demo_ap.py``. Each option's AP is compared with the recipe's draw by draw: the mean difference
and its standard error. What does not raise AP by more than twice that is not worth its code. Writes
``benchmarks/results/options_ap.json``.
"""

from __future__ import annotations

import json
import platform
import random
import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from demo_ap import CATEGORY, encode, ground_truth, protocol_options, recall
from matching_options import (
    Drawn,
    Similarity,
    Views,
    background_class,
    background_negatives,
    background_removed,
    chosen_by_leave_one_out,
    patches_of_kept_aspect,
    several,
    to_means,
    views_of,
)

from ntt_plugin.dataset.evaluation.coco_metrics import evaluate_coco
from ntt_plugin.demo.scenes import Scene
from ntt_plugin.demo.streams import reference_scene, scoring_scene
from ntt_plugin.engine import MemoryBank, Proposals, Recipe, Segmenter, match
from ntt_plugin.engine.matching import match as matching
from ntt_plugin.engine.proposals.codec import encode_proposals
from ntt_plugin.engine.proposals.feature_pooling import pool_packed
from ntt_plugin.engine.recipe import ENCODINGS

RESULTS = Path(__file__).parent / "results" / "options_ap.json"
Array = np.ndarray[Any, Any]
Make = Callable[[Drawn], Similarity]

RECIPES: dict[str, dict[str, Any]] = {
    "duplicate_iou 0.95": {"duplicate_iou": 0.95},
    "duplicate_iou 0.9": {"duplicate_iou": 0.9},
    "duplicate_iou 0.8": {"duplicate_iou": 0.8},
    "rescoring diffusion": {"rescoring": "diffusion"},
    "no rescoring": {"merge_exponent": 0},
    "iou_exponent 1": {"iou_exponent": 1},
    "stability_exponent 2": {"stability_exponent": 2},
    "as best": {"iou_exponent": 1, "stability_exponent": 2},
    "duplicate_iou 0.9, rescoring diffusion": {"duplicate_iou": 0.9, "rescoring": "diffusion"},
}
SIMILARITIES: dict[str, Make] = {
    "backgrounds as negatives, each": lambda drawn: background_negatives(drawn, True),
    "backgrounds as negatives, each, sigma 0.1": lambda d: background_negatives(d, True, 0.1),
    "backgrounds as negatives, their mean": lambda drawn: background_negatives(drawn, False),
    "backgrounds as a class, each": lambda drawn: background_class(drawn, True),
    "backgrounds as a class, their mean": lambda drawn: background_class(drawn, False),
    "mean background taken out": background_removed,
    "2 prototypes, best of": lambda drawn: several(drawn, 2),
    "3 prototypes, best of": lambda drawn: several(drawn, 3),
    "2 prototypes, log-sum-exp 0.1": lambda drawn: several(drawn, 2, 0.1),
    "each reference, best of": lambda drawn: several(drawn, None),
    "each reference, log-sum-exp 0.1": lambda drawn: several(drawn, None, 0.1),
    "prototypes by leave-one-out": chosen_by_leave_one_out,
    "references flipped, too": lambda drawn: to_means(drawn, "plain", "flipped"),
    "half the context, too": lambda drawn: to_means(drawn, "plain", "near"),
    "1.5 times the context, too": lambda drawn: to_means(drawn, "plain", "far"),
    "1.5 times the context alone": lambda drawn: to_means(drawn, "far"),
    "all views": lambda drawn: to_means(drawn, "plain", "flipped", "near", "far"),
}
FACTORS: dict[str, tuple[float, float]] = {
    "x predicted IoU^0.25": (0.25, 0),
    "x predicted IoU^0.5": (0.5, 0),
    "x predicted IoU": (1, 0),
    "x predicted IoU^2": (2, 0),
    "x stability^0.5": (0, 0.5),
    "x stability": (0, 1),
    "x stability^2": (0, 2),
    "x stability^3": (0, 3),
    "x stability^4": (0, 4),
    "x predicted IoU x stability": (1, 1),
    "x predicted IoU x stability^2": (1, 2),
    "x predicted IoU^2 x stability^2": (2, 2),
}
"""Exponents of the predicted IoU and of the stability score."""
TOGETHER: dict[str, Make] = {
    "each reference, log-sum-exp 0.1": lambda drawn: several(drawn, None, 0.1),
    "1.5 times the context, too": lambda drawn: to_means(drawn, "plain", "far"),
    "1.5 times the context alone": lambda drawn: to_means(drawn, "far"),
}
"""Ways to match that are tried together with ``x stability^2``, too."""
SHAPES = {"2 : 1": 512, "3 : 2": 384, "4 : 3": 341}
"""Widths of oblong images, 256 pixels high."""


class SeenScenes:
    """Scenes with their proposals, whose masks are made and encoded once."""

    def __init__(self, scenes: Sequence[Scene], proposals: Sequence[Proposals]) -> None:
        self.scenes = list(scenes)
        self.truth = ground_truth(self.scenes)
        self.stability = [_stability(entry) for entry in proposals]
        # Instances name the proposal they are of.
        self.proposals = [
            replace(entry.with_masks_made(), sources=torch.arange(len(entry)))
            for entry in proposals
        ]
        self._encoded: dict[tuple[int, int], Any] = {}

    def ap(self, bank: MemoryBank, recipe: Recipe, similarity: Any = None) -> float:
        """AP of masks; ``similarity`` takes an image's index and its features."""
        found = []
        for image, entry in enumerate(self.proposals):
            chosen = matching.similarities
            if similarity is not None:
                chosen = lambda features, *_, image=image: similarity(image, features)  # noqa: E731
            with patch.object(matching, "similarities", chosen):
                instances = match(entry, bank, recipe)
            assert instances.sources is not None or not len(instances)
            for index, label in enumerate(instances.labels):
                key = (image, int(instances.sources[index]))
                if key not in self._encoded:
                    self._encoded[key] = encode(instances.full_mask(index))
                found.append(
                    {
                        "image_id": image,
                        "category_id": CATEGORY[label],
                        "score": float(instances.scores[index]),
                        "segmentation": self._encoded[key],
                    }
                )
        return float(evaluate_coco(self.truth, found, "segm")[0]["AP"])


def _stability(proposals: Proposals) -> Array:
    """IoU of each mask cut at logits 1 and -1, as SAM has it."""
    logits = proposals.masks.logits.flatten(1)
    return ((logits > 1).sum(1) / (logits > -1).sum(1).clamp(min=1)).cpu().numpy()


def main() -> None:
    """Measure every option and write the tables."""
    parser = protocol_options(__doc__)
    parser.add_argument("--all-shots", type=int, nargs="+", default=[3, 10, 30])
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--only", choices=["recipes", "matching", "encoding"])
    parser.add_argument("--first-scene", type=int, default=0, help="number of the first scene")
    parser.add_argument("--first-seed", type=int, default=0, help="of the first draw")
    parser.add_argument("--rows", nargs="+", help="names of rows; all if left out")
    options = parser.parse_args()

    segmenter = Segmenter.from_preset("tiny")
    first = options.first_scene
    scenes = [scoring_scene(index) for index in range(first, first + options.scenes)]
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    views = reference_views(segmenter, options.references)
    banks = {
        shots: [draw(segmenter, views, shots, seed) for seed in seeds]
        for shots in sorted({options.shots, *options.all_shots})
    }
    few = banks[options.shots]
    result: dict[str, Any] = {
        "preset": "tiny",
        "scenes": options.scenes,
        "shots": options.shots,
        "reference_seeds": options.seeds,
        "first": {"scene": first, "reference_seed": options.first_seed},
    }
    seen = SeenScenes(scenes, [segmenter.propose(scene.image) for scene in scenes])
    if options.only in (None, "matching"):
        for shots in options.all_shots:
            result[f"matching, {shots} shots"] = matching_table(
                seen, segmenter, banks[shots], options.rows
            )
    if options.only in (None, "recipes"):
        result["recipes"] = recipe_table(segmenter, scenes, seen, few, options.rows)
    if options.only in (None, "encoding"):
        for shape, width in SHAPES.items():
            result[f"encoding images of {shape}"] = encoding_table(segmenter, scenes, few, width)
    result |= {
        "torch": torch.__version__,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n")


def reference_views(segmenter: Segmenter, count: int) -> dict[str, list[Views]]:
    """All views of every object in the reference scenes, by class."""
    found = defaultdict(list)
    for index in range(count):
        scene = reference_scene(index)
        for number, entry in enumerate(scene.classes):
            found[entry.name].append(views_of(segmenter, scene, number))
    return found


def draw(
    segmenter: Segmenter, views: dict[str, list[Views]], shots: int, seed: int
) -> tuple[MemoryBank, Drawn]:
    """The references that ``demo_ap.draw_bank`` draws, as a bank and with all their views."""
    generator = random.Random(seed)
    bank, drawn = MemoryBank(segmenter.fingerprint, segmenter.recipe), []
    for name in CATEGORY:
        drawn.append(generator.sample(views[name], min(shots, len(views[name]))))
        for reference in drawn[-1]:
            bank.add(name, torch.from_numpy(reference.plain))
    return bank, drawn


def compared(values: list[float], plain: list[float]) -> dict[str, Any]:
    """Mean AP, and its paired difference to the recipe's."""
    gains = [value - other for value, other in zip(values, plain, strict=True)]
    error = statistics.stdev(gains) / len(gains) ** 0.5 if len(gains) > 1 else float("nan")
    gain = statistics.fmean(gains)
    return {
        "segm_ap": round(statistics.fmean(values), 4),
        "difference": round(gain, 4),
        "standard_error": round(error, 4),
        "worth_it": bool(gain > 2 * error),
        "of_each_draw": [round(value, 4) for value in values],
    }


def matching_table(
    seen: SeenScenes,
    segmenter: Segmenter,
    banks: list[tuple[MemoryBank, Drawn]],
    rows: Sequence[str] | None = None,
) -> dict[str, Any]:
    """The ways to match of these names, for references of one number of shots."""
    recipe = segmenter.recipe
    plain = [seen.ap(bank, recipe) for bank, _ in banks]
    table: dict[str, Any] = {"recipe": compared(plain, plain)}
    for name, (make, exponents, changes) in ways_to_match().items():
        if rows is not None and name not in rows:
            continue
        changed = replace(recipe, **changes)
        made = [(bank, factored(seen, make(drawn), *exponents)) for bank, drawn in banks]
        table[name] = compared([seen.ap(bank, changed, way) for bank, way in made], plain)
        print(f"{name:50s}", json.dumps(table[name]), flush=True)
    return table


def ways_to_match() -> dict[str, tuple[Make, tuple[float, float], dict[str, Any]]]:
    """By name: similarity, exponents of predicted IoU and stability, changes of the recipe."""
    found: dict[str, tuple[Make, tuple[float, float], dict[str, Any]]] = {
        name: (make, (0, 0), {}) for name, make in SIMILARITIES.items()
    }
    found |= {name: (to_means, exponents, {}) for name, exponents in FACTORS.items()}
    found |= {
        f"{name}, x stability^2": (make, FACTORS["x stability^2"], {})
        for name, make in TOGETHER.items()
    }
    diffusion = {"rescoring": "diffusion"}
    found |= {
        f"diffusion {name}".strip(): (to_means, exponents, diffusion)
        for name, exponents in {"": (0, 0), **FACTORS}.items()
        if name in ("", "x predicted IoU", "x stability^2")
    }
    return found


def factored(seen: SeenScenes, similarity: Similarity, of_iou: float, of_stability: float) -> Any:
    """Similarities times powers of the predicted IoU and of the stability score."""

    def with_factor(image: int, features: Array) -> Array:
        ious = seen.proposals[image].ious.numpy().clip(min=0)
        factor = ious**of_iou * seen.stability[image] ** of_stability
        return np.asarray(similarity(features) * factor[:, None].astype(np.float32))

    return with_factor


def recipe_table(
    segmenter: Segmenter,
    scenes: list[Scene],
    plain: SeenScenes,
    banks: list[tuple[MemoryBank, Drawn]],
    rows: Sequence[str] | None = None,
) -> dict[str, Any]:
    """The recipe's own options of these names; those after the proposals use them again."""
    seen_by = {segmenter.upstream: plain}
    base = [plain.ap(bank, segmenter.recipe) for bank, _ in banks]
    table: dict[str, Any] = {}
    for name, changes in {"preset": {}, **RECIPES}.items():
        if rows is not None and name not in ("preset", *rows):
            continue
        changed = segmenter.with_recipe(replace(segmenter.recipe, **changes))
        if changed.upstream not in seen_by:
            found = [changed.propose(scene.image) for scene in scenes]
            seen_by[changed.upstream] = SeenScenes(scenes, found)
        seen = seen_by[changed.upstream]
        without = [replace(entry, sources=None) for entry in seen.proposals]
        table[name] = {
            **compared([seen.ap(bank, changed.recipe) for bank, _ in banks], base),
            "proposals_an_image": statistics.fmean(len(entry) for entry in seen.proposals),
            "record_bytes": statistics.fmean(len(encode_proposals(entry)) for entry in without),
        }
        print(f"{name:50s}", json.dumps(table[name]), flush=True)
    return table


def encoding_table(
    segmenter: Segmenter, scenes: list[Scene], banks: list[tuple[MemoryBank, Drawn]], width: int
) -> dict[str, Any]:
    """How oblong images are encoded: two scenes side by side, cut to a width, the same masks."""
    pairs = [_side_by_side(*pair, width) for pair in zip(scenes[::2], scenes[1::2], strict=False)]
    table: dict[str, Any] = {}
    base: list[float] = []
    weighing = {"iou_exponent": 1, "stability_exponent": 2}
    for encoding in ENCODINGS:
        changed = segmenter.with_recipe(replace(segmenter.recipe, encoding=encoding, **weighing))
        found = [changed.propose(scene.image) for scene in pairs]
        seen = SeenScenes(pairs, found)
        for name, recipe in (
            (encoding, segmenter.recipe),
            (f"{encoding}, iou_exponent 1, stability_exponent 2", changed.recipe),
        ):
            values = [seen.ap(bank, recipe) for bank, _ in banks]
            base = base or values
            table[name] = compared(values, base)
    for index, scene in enumerate(pairs):
        entry = seen.proposals[index]
        patches = patches_of_kept_aspect(segmenter, scene.image)
        kept = [place for place in range(len(entry)) if entry.masks[place] is not None]
        features = entry.features.clone()
        masks = [entry.masks[place] for place in kept]
        features[kept] = pool_packed(patches, masks, scene.owners.shape)
        seen.proposals[index] = replace(entry, features=features)
    values = [seen.ap(bank, segmenter.recipe) for bank, _ in banks]
    table["aspect kept"] = compared(values, base)
    for name, row in table.items():
        print(f"{width} {name:50s}", json.dumps(row), flush=True)
    table["recall_at_iou_0.75"] = recall(pairs, found, 0.75)
    return table


def _side_by_side(left: Scene, right: Scene, width: int) -> Scene:
    """Two scenes as one of a width, without the objects that are cut away."""
    shifted = np.where(right.owners > 0, right.owners + len(left.classes), 0).astype(np.uint8)
    image = np.concatenate([left.image, right.image], axis=1)[:, :width]
    owners = np.concatenate([left.owners, shifted], axis=1)[:, :width]
    classes = left.classes + right.classes
    seen = [number for number in range(1, len(classes) + 1) if (owners == number).any()]
    renumbered = np.zeros_like(owners)
    for place, number in enumerate(seen, 1):
        renumbered[owners == number] = place
    return Scene(
        np.ascontiguousarray(image), renumbered, tuple(classes[number - 1] for number in seen)
    )


if __name__ == "__main__":
    main()
