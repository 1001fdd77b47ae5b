"""What thresholds do: chosen on one half of the demo's held-out scenes, F1 on the other half.

    python benchmarks/thresholds.py

For each draw of references both halves are chosen on and scored once. F1 counts masks at an IoU of
0.5: without thresholds; with one for all classes and with one for each class, as
``ntt.best_thresholds`` finds it with ground truth; and as ``ntt.estimate_thresholds`` does without,
on the scenes that the references are from, where only the drawn objects are annotated. Writes
``benchmarks/results/thresholds.json``; needs no FiftyOne.
"""

from __future__ import annotations

import contextlib
import io
import json
import platform
import random
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from demo_ap import (
    CATEGORY,
    draw_bank,
    encode,
    ground_truth,
    protocol_options,
    reference_features,
    true_names,
)
from oracle import SeenScene, proposal_cache
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ntt_plugin.dataset.banks.best_threshold import best_threshold
from ntt_plugin.demo.streams import reference_scene, scoring_scene
from ntt_plugin.engine import MemoryBank, Proposals, Segmenter, match
from ntt_plugin.engine.matching.leave_one_out import Annotated, Estimate, LeaveOneOut

RESULTS = Path(__file__).parent / "results" / "thresholds.json"
VARIANTS = ("none", "one for all classes", "one for each class", "estimated from the references")


class Predictions(NamedTuple):
    """One class's predictions in some scenes: scores, which are right, number of true objects."""

    scores: np.ndarray
    right: np.ndarray
    truths: int


def main() -> None:
    """Measure every draw and write the table."""
    parser = protocol_options(__doc__)
    parser.add_argument("--kept", type=Path, help="folder to keep proposals in between runs")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()

    segmenter = Segmenter.from_preset("tiny")
    scenes = [scoring_scene(index) for index in range(options.scenes)]
    cache = proposal_cache(segmenter, options.kept)
    proposals = [SeenScene(segmenter, scene, cache).proposals for scene in scenes]
    features = reference_features(segmenter, options.references)
    sources = [
        SeenScene(segmenter, reference_scene(index), cache) for index in range(options.references)
    ]
    truth = ground_truth(scenes)
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in VARIANTS}
    for seed in range(options.seeds):
        bank = draw_bank(segmenter, features, options.shots, seed, true_names)
        found = results(proposals, bank, segmenter)
        estimates = estimate(segmenter, sources, bank, options.shots, seed)
        halves = [predictions(truth, found, range(h, len(scenes), 2)) for h in (0, 1)]
        for chosen_on, scored_on in (halves, halves[::-1]):
            for name in VARIANTS[:3]:
                runs[name].append(score(scored_on, choose(name, chosen_on)))
            runs[VARIANTS[3]].append(score_estimates(scored_on, estimates))
    result = {
        "preset": "tiny",
        "scenes": options.scenes,
        "shots": options.shots,
        "reference_seeds": options.seeds,
        "table": {name: summarise(entries) for name, entries in runs.items()},
        "runs_with_a_higher_f1": {
            figure: sum(
                with_[figure] > without[figure]
                for with_, without in zip(runs[VARIANTS[2]], runs[VARIANTS[0]], strict=True)
            )
            for figure in ("micro_f1", "class_f1")
        },
        "runs": 2 * options.seeds,
        "torch": torch.__version__,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
    }
    print(json.dumps(result, indent=1))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n")


def results(
    proposals: list[Proposals], bank: MemoryBank, segmenter: Segmenter
) -> list[dict[str, Any]]:
    """All instances of all scenes in COCO's form."""
    found = []
    for image_id, entry in enumerate(proposals):
        instances = match(entry, bank, segmenter.recipe)
        for index, label in enumerate(instances.labels):
            found.append(
                {
                    "image_id": image_id,
                    "category_id": CATEGORY[label],
                    "score": float(instances.scores[index]),
                    "segmentation": encode(instances.full_mask(index)),
                }
            )
    return found


def predictions(
    truth: dict[str, Any], found: list[dict[str, Any]], images: range
) -> dict[int, Predictions]:
    """What pycocotools matches at an IoU of 0.5 in some scenes, by category."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        # Copies: loadRes() writes into what it is given.
        evaluation = COCOeval(coco, coco.loadRes([dict(entry) for entry in found]), "segm")
        evaluation.params.imgIds = list(images)
        evaluation.params.iouThrs = np.array([0.5])
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.params.maxDets = [100]
        evaluation.evaluate()
    by_category: dict[int, list[dict[str, Any]]] = {number: [] for number in CATEGORY.values()}
    for image in filter(None, evaluation.evalImgs):
        by_category[image["category_id"]].append(image)
    return {
        number: Predictions(
            scores=np.concatenate([[], *(image["dtScores"] for image in entries)]),
            right=np.concatenate([[], *(image["dtMatches"][0] > 0 for image in entries)]) > 0,
            truths=sum(len(image["gtIds"]) for image in entries),
        )
        for number, entries in by_category.items()
    }


def choose(name: str, chosen_on: dict[int, Predictions]) -> dict[int, float]:
    """The thresholds of a variant by category; 0, which keeps all, where there is none."""
    if name == "none":
        return dict.fromkeys(chosen_on, 0.0)
    if name == "one for all classes":
        scores, right, truths = zip(*chosen_on.values(), strict=True)
        best = best_threshold(np.concatenate(scores), np.concatenate(right), sum(truths))
        return dict.fromkeys(chosen_on, best.value if best else 0.0)
    found = {number: best_threshold(*entry) for number, entry in chosen_on.items()}
    return {number: best.value if best else 0.0 for number, best in found.items()}


def score(scored_on: dict[int, Predictions], thresholds: dict[int, float]) -> dict[str, float]:
    """Micro F1 with its precision and recall, and the mean F1 of the classes that occur."""
    hits, kept, truths, by_class = 0, 0, 0, []
    for number, entry in scored_on.items():
        above = entry.scores >= thresholds[number]
        class_hits, class_kept = int(entry.right[above].sum()), int(above.sum())
        hits, kept, truths = hits + class_hits, kept + class_kept, truths + entry.truths
        if entry.truths:
            by_class.append(2 * class_hits / (class_kept + entry.truths))
    return {
        "micro_f1": 2 * hits / (kept + truths),
        "class_f1": float(np.mean(by_class)),
        "precision": hits / max(kept, 1),
        "recall": hits / truths,
        "kept": kept,
    }


def estimate(
    segmenter: Segmenter, sources: list[SeenScene], bank: MemoryBank, shots: int, seed: int
) -> dict[str, Estimate]:
    """Thresholds from the scenes that the references were drawn from, by class."""
    # As ``draw_bank`` draws: the same generator over lists of the same lengths.
    places: dict[str, list[tuple[int, int]]] = {name: [] for name in CATEGORY}
    for index, source in enumerate(sources):
        for number in range(len(source.scene.classes)):
            places[source.name(number)].append((index, number))
    generator = random.Random(seed)
    drawn = {name: generator.sample(places[name], shots) for name in CATEGORY}
    observed = LeaveOneOut()
    for index in sorted({index for chosen in drawn.values() for index, _ in chosen}):
        rest = MemoryBank(segmenter.fingerprint, segmenter.recipe)
        annotated = []
        for name, chosen in drawn.items():
            stored = zip(chosen, bank.references(name), strict=True)
            for (scene, number), reference in stored:
                if scene == index:
                    annotated.append(Annotated(name, sources[index].scene.mask(number)))
                else:
                    rest.add(name, reference.feature)
        instances = match(sources[index].proposals, rest, segmenter.recipe)
        observed.add(instances, annotated, rest.classes)
    return observed.estimate(CATEGORY)


def score_estimates(
    scored_on: dict[int, Predictions], estimates: dict[str, Estimate]
) -> dict[str, float]:
    """As ``score``, with the recall that was expected, and how far it is off."""
    by_number = {CATEGORY[name]: found for name, found in estimates.items()}
    scored = score(
        scored_on,
        {number: by_number[number].value if by_number else 0.0 for number in scored_on},
    )
    truths = sum(entry.truths for entry in scored_on.values())
    expected = sum(
        by_number[number].recall * entry.truths for number, entry in scored_on.items() if by_number
    )
    off = abs(expected / truths - scored["recall"])
    return {**scored, "expected_recall": expected / truths, "recall_off": off}


def summarise(entries: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Mean and spread of each figure over draws and halves."""
    return {
        key: {
            "mean": float(np.mean([entry[key] for entry in entries])),
            "std": float(np.std([entry[key] for entry in entries])),
        }
        for key in entries[0]
    }


if __name__ == "__main__":
    main()
