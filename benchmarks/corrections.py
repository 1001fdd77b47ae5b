"""What correcting a bank by its own first pass brings: negatives, and promoted predictions.

    python benchmarks/corrections.py

Banks of 3 references a class segment a first set of demo scenes. Out of that pass are chosen, by a
person who is never wrong, predictions to promote to references and predictions to add as negatives;
AP of masks is measured on other scenes, before and after. Writes
``benchmarks/results/corrections.json``. Needs neither FiftyOne nor a network connection.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from demo_ap import draw_bank, reference_features, true_names
from oracle import SeenScene, copy_of, proposal_cache, segm_ap, summary

from ntt_plugin.demo.streams import reference_scene, scoring_scene
from ntt_plugin.engine import MemoryBank, Segmenter, match

RESULTS = Path(__file__).parent / "results" / "corrections.json"

RIGHT, OTHER, NOTHING, DOUBLE = "right", "another object", "no whole object", "double"


@dataclass(frozen=True, eq=False)
class Prediction:
    """One instance of the first pass, and what it is in truth."""

    seen: SeenScene
    label: str
    score: float
    kind: str
    mask: np.ndarray

    def feature(self) -> torch.Tensor | None:
        """What a bank would learn from it."""
        return self.seen.feature(self.mask)


def main() -> None:
    """Measure every kind of correction and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenes", type=int, default=100, help="scenes to score")
    parser.add_argument("--first", type=int, default=100, help="scenes of the first pass")
    parser.add_argument("--references", type=int, default=120, help="scenes to draw them from")
    parser.add_argument("--shots", type=int, default=3)
    parser.add_argument("--most", type=int, default=5, help="corrections a class and kind")
    parser.add_argument("--seeds", type=int, nargs="*", default=range(5), help="of the references")
    parser.add_argument("--kept", type=Path, help="folder to keep proposals in between runs")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()

    segmenter = Segmenter.from_preset("tiny")
    cache = proposal_cache(segmenter, options.kept)
    start = options.references
    first = [
        SeenScene(segmenter, reference_scene(index), cache)
        for index in range(start, start + options.first)
    ]
    scored = [SeenScene(segmenter, scoring_scene(i), cache) for i in range(options.scenes)]
    features = reference_features(segmenter, options.references)
    found: dict[str, list[float]] = {}
    kinds: dict[str, int] = {}
    for seed in options.seeds:
        bank = draw_bank(segmenter, features, options.shots, seed, true_names)
        predictions = first_pass(first, bank, segmenter)
        for prediction in predictions:
            kinds[prediction.kind] = kinds.get(prediction.kind, 0) + 1
        for name, correct in corrections(options.most, seed).items():
            changed = correct(copy_of(bank), predictions)
            found.setdefault(name, []).append(segm_ap(scored, changed, segmenter))
            print(f"seed {seed}  {name:60s} {found[name][-1]:.4f}", flush=True)
    before = found["before"]
    result = {
        "preset": "tiny",
        "shots": options.shots,
        "corrections_a_class": options.most,
        "scenes_of_the_first_pass": options.first,
        "scenes_scored": options.scenes,
        "seeds": list(options.seeds),
        "predictions_a_seed": {k: v / len(before) for k, v in sorted(kinds.items())},
        "segm_ap": {name: summary(values, before) for name, values in found.items()},
    }
    print(json.dumps(result, indent=1))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n")


Correction = Callable[[MemoryBank, list[Prediction]], MemoryBank]


def corrections(most: int, seed: int) -> dict[str, Correction]:
    """What a person could do with a first pass, by its name."""

    def best(kind: str) -> Callable[[list[Prediction]], list[Prediction]]:
        return lambda own: [p for p in own if p.kind == kind][:most]

    def worst_right(own: list[Prediction]) -> list[Prediction]:
        return [p for p in own if p.kind == RIGHT][::-1][:most]

    def any_right(own: list[Prediction]) -> list[Prediction]:
        right = [p for p in own if p.kind == RIGHT]
        return random.Random(seed).sample(right, min(most, len(right)))

    def any_wrong(own: list[Prediction]) -> list[Prediction]:
        return [p for p in own if p.kind in (OTHER, NOTHING)][:most]

    def nothing(own: list[Prediction]) -> list[Prediction]:
        return []

    ways = {
        "before": (nothing, nothing),
        "negatives: another object, highest score": (nothing, best(OTHER)),
        "negatives: no whole object, highest score": (nothing, best(NOTHING)),
        "negatives: anything wrong, highest score": (nothing, any_wrong),
        "promoted: right, highest score": (best(RIGHT), nothing),
        "promoted: right, at random": (any_right, nothing),
        "promoted: right, lowest score": (worst_right, nothing),
        "both: lowest right, highest of another object": (worst_right, best(OTHER)),
    }
    return {name: _correcting(*chosen) for name, chosen in ways.items()}


def first_pass(seen: list[SeenScene], bank: MemoryBank, segmenter: Segmenter) -> list[Prediction]:
    """Everything that a bank finds, by falling score, with what it is in truth."""
    predictions = []
    for entry in seen:
        instances = match(entry.proposals, bank, segmenter.recipe)
        taken: set[int] = set()
        for index, label in enumerate(instances.labels):
            mask = instances.full_mask(index)
            number = entry.shown(mask)
            if number is None:
                kind = NOTHING
            elif entry.name(number) != label:
                kind = OTHER
            else:
                kind = DOUBLE if number in taken else RIGHT
                taken.add(number)
            score = float(instances.scores[index])
            predictions.append(Prediction(entry, label, score, kind, mask))
    return sorted(predictions, key=lambda prediction: -prediction.score)


def _correcting(promoted: Callable[..., Any], negative: Callable[..., Any]) -> Correction:
    def correct(bank: MemoryBank, predictions: list[Prediction]) -> MemoryBank:
        for label in bank.classes:
            own = [prediction for prediction in predictions if prediction.label == label]
            for choose, add in ((promoted, bank.add), (negative, bank.add_negatives)):
                for prediction in choose(own):
                    feature = prediction.feature()
                    if feature is not None:
                        add(label, feature)
        return bank

    return correct


if __name__ == "__main__":
    main()
