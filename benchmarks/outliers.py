"""How many planted bad references are found among good ones, and how many good ones are flagged.

    python benchmarks/outliers.py

Banks of 50 references of the demo's novel classes, five of which are made bad: given another
class's name, or the mask of background, of the object's place half an object away, or of two
objects. Flagged by ``ntt_plugin.engine.bank.quality`` from features alone, and with each reference
cut again from its own box. Needs neither FiftyOne nor a network connection. Writes
``benchmarks/results/outliers.json``.

The thresholds of the rule were chosen on other scenes (1000 to 1119) and other draws (seeds 5000
to 5199) than those reported here.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ntt_plugin.demo.scenes import Scene
from ntt_plugin.demo.streams import reference_scene
from ntt_plugin.engine import MemoryBank, Reference, Segmenter
from ntt_plugin.engine.bank.quality import (
    find_badly_cut,
    find_duplicates,
    find_outliers,
    reference_quality,
)
from ntt_plugin.engine.references import tight_box

RESULTS = Path(__file__).parent / "results" / "outliers.json"
Array = np.ndarray[Any, Any]

GOOD, WRONG_NAME = "good", "wrong class name"
BACKGROUND, SHIFTED, TWO_OBJECTS = "background", "shifted mask", "two objects"
BAD = (WRONG_NAME, BACKGROUND, SHIFTED, TWO_OBJECTS)
BANKS = {"10 classes x 5 references": (10, 5), "5 classes x 10 references": (5, 10)}
PLANTED = 5
_TRIES = 60


@dataclass(frozen=True, eq=False)
class Specimen:
    """A reference, good or bad, and how well it is cut again.

    Attributes:
        label: the class of the object that it is of, or is meant to be of.
        feature: float (C,).
        iou: of its mask and what the segmenter cuts out of its box.
    """

    label: str
    feature: torch.Tensor
    iou: float


Pool = dict[str, dict[str, list[Specimen]]]
"""Specimens by kind and class."""


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--first", type=int, default=0, help="first scene to take references from")
    parser.add_argument("--scenes", type=int, default=120, help="scenes to take references from")
    parser.add_argument("--seeds", type=int, default=5, help="draws of references")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()

    segmenter = Segmenter.from_preset("tiny", device="cpu")
    pool = make_pool(segmenter, range(options.first, options.first + options.scenes))
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    table: dict[str, Any] = {}
    for name, (classes, shots) in BANKS.items():
        planted = [plant(pool, seed, classes, shots) for seed in seeds]
        table[name] = {
            "features alone": score(segmenter, planted, recut=False),
            "cut again too": score(segmenter, planted, recut=True),
            "features alone, nothing planted": flagged_of_good(segmenter, pool, seeds, name, False),
            "cut again too, nothing planted": flagged_of_good(segmenter, pool, seeds, name, True),
        }
        print(name, json.dumps(table[name], indent=1))
    result = {
        "preset": "tiny",
        "scenes": options.scenes,
        "first_scene": options.first,
        "seeds": list(seeds),
        "planted": PLANTED,
        "tuned_on": "scenes 1000 to 1119, seeds 5000 to 5199: none of those reported here",
        "table": table,
        "torch": torch.__version__,
        "machine": platform.machine(),
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n")


def make_pool(segmenter: Segmenter, scenes: range) -> Pool:
    """Every object of some scenes as a good reference, and as each kind of bad one it allows."""
    pool: Pool = defaultdict(lambda: defaultdict(list))
    for index in scenes:
        scene = reference_scene(index)
        masks = list(_masks(scene, np.random.default_rng((9, index))))
        boxes = [tight_box(mask) for _, _, mask in masks]
        cuts = segmenter.masks_from_boxes(scene.image, boxes)
        for (kind, label, mask), cut in zip(masks, cuts, strict=True):
            feature = segmenter.reference_feature(Reference(scene.image, mask, label))
            iou = float((mask & cut).sum() / (mask | cut).sum())
            pool[kind][label].append(Specimen(label, feature, iou))
    return pool


def plant(pool: Pool, seed: int, classes: int, shots: int) -> list[tuple[str, str, Specimen]]:
    """References as a person might have chosen them: of each its class's name, kind, specimen.

    Every kind of bad one is planted once, and one of them twice.
    """
    generator = random.Random(seed)
    labels = generator.sample(sorted(pool[GOOD]), classes)
    chosen = [
        (label, GOOD, specimen)
        for label in labels
        for specimen in generator.sample(pool[GOOD][label], shots)
    ]
    kinds = [*BAD, generator.choice(BAD)]
    for place, kind in zip(generator.sample(range(len(chosen)), PLANTED), kinds, strict=True):
        label = chosen[place][0]
        if kind == WRONG_NAME:
            of = generator.choice([other for other in labels if other != label])
            # The same object twice would be found as such.
            used = {id(specimen) for _, _, specimen in chosen}
            others = [specimen for specimen in pool[GOOD][of] if id(specimen) not in used]
            chosen[place] = (label, kind, generator.choice(others))
        else:
            chosen[place] = (label, kind, generator.choice(pool[kind][label]))
    return chosen


def score(
    segmenter: Segmenter, planted: list[list[tuple[str, str, Specimen]]], recut: bool
) -> dict[str, Any]:
    """Precision and recall over all draws, and which kinds of bad ones were found."""
    found, there = Counter[str](), Counter[str]()
    for chosen in planted:
        for flagged, (_, kind, _) in zip(_flagged(segmenter, chosen, recut), chosen, strict=True):
            found[kind] += flagged
            there[kind] += 1
    right = sum(found[kind] for kind in BAD)
    return {
        "precision": right / max(1, found.total()),
        "recall": right / sum(there[kind] for kind in BAD),
        "flagged": found.total(),
        "false_alarms": found[GOOD],
        "found_by_kind": {kind: f"{found[kind]} of {there[kind]}" for kind in BAD},
    }


def flagged_of_good(
    segmenter: Segmenter, pool: Pool, seeds: range, name: str, recut: bool
) -> dict[str, Any]:
    """How many references are flagged where all are good."""
    classes, shots = BANKS[name]
    flagged = total = 0
    for seed in seeds:
        generator = random.Random(seed)
        chosen = [
            (label, GOOD, specimen)
            for label in generator.sample(sorted(pool[GOOD]), classes)
            for specimen in generator.sample(pool[GOOD][label], shots)
        ]
        flagged += sum(_flagged(segmenter, chosen, recut))
        total += len(chosen)
    return {"false_alarms": flagged, "references": total}


def _flagged(
    segmenter: Segmenter, chosen: list[tuple[str, str, Specimen]], recut: bool
) -> list[bool]:
    bank = MemoryBank(segmenter.fingerprint, segmenter.recipe)
    ids = [bank.add(label, specimen.feature)[0] for label, _, specimen in chosen]
    qualities = reference_quality(bank)
    flags = {**find_outliers(qualities), **find_duplicates(bank)}
    if recut:
        ious = {identity: entry.iou for identity, (_, _, entry) in zip(ids, chosen, strict=True)}
        flags |= find_badly_cut(qualities, ious)
    return [identity in flags for identity in ids]


def _masks(scene: Scene, rng: np.random.Generator) -> Iterator[tuple[str, str, Array]]:
    """Masks of a scene: of each its kind, the class that it is said to be of, bool (H, W)."""
    masks = [scene.mask(index) for index in range(len(scene.classes))]
    for index, (entry, mask) in enumerate(zip(scene.classes, masks, strict=True)):
        yield GOOD, entry.name, mask
        away = _on_background(scene, mask, rng)
        if away is not None:
            yield BACKGROUND, entry.name, away
        yield SHIFTED, entry.name, _half_away(mask, rng)
        others = masks[:index] + masks[index + 1 :]
        if others:
            yield TWO_OBJECTS, entry.name, mask | others[int(rng.integers(len(others)))]


def _on_background(scene: Scene, mask: Array, rng: np.random.Generator) -> Array | None:
    """The mask where no object is, but for a twentieth of it; None if there is no room."""
    x1, y1, x2, y2 = map(int, tight_box(mask))
    height, width = mask.shape
    for _ in range(_TRIES):
        moved = _move(
            mask, int(rng.integers(-y1, height + 1 - y2)), int(rng.integers(-x1, width + 1 - x2))
        )
        if (scene.owners[moved] > 0).mean() <= 0.05:
            return moved
    return None


def _half_away(mask: Array, rng: np.random.Generator) -> Array:
    """The mask half its height and width away, most of it inside the image if there is a way."""
    x1, y1, x2, y2 = tight_box(mask)
    ways = [(down, right) for down in (-0.5, 0.5) for right in (-0.5, 0.5)]
    moved = mask
    for way in rng.permutation(len(ways)):
        down, right = ways[way]
        moved = _move(mask, int(down * (y2 - y1)), int(right * (x2 - x1)))
        if moved.sum() > 0.6 * mask.sum():
            break
    return moved


def _move(mask: Array, down: int, right: int) -> Array:
    moved = np.zeros_like(mask)
    rows, columns = np.nonzero(mask)
    rows, columns = rows + down, columns + right
    inside = (rows >= 0) & (rows < mask.shape[0]) & (columns >= 0) & (columns < mask.shape[1])
    moved[rows[inside], columns[inside]] = True
    return moved


if __name__ == "__main__":
    main()
