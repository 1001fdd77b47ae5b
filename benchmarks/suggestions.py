"""What suggestions are worth: AP against the number of labels, suggested ones beside random ones.

    python benchmarks/suggestions.py

A bank begins with one reference a class. In rounds it asks for labels of proposals out of a pool of
demo scenes: those that it suggests, or as many drawn at random from the same candidates. A person
who is never wrong names each by the object that it shows (mask IoU of at least 0.5), which makes
it a reference; one that shows no object costs a label all the same and becomes a negative of the
class that it was taken for. AP of masks is measured on other scenes. Writes
``results/suggestions.json`` and a plot. Needs neither FiftyOne nor a network connection.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from demo_ap import draw_bank, reference_features, true_names
from oracle import SeenScene, copy_of, proposal_cache, segm_ap

from ntt_plugin.demo.streams import reference_scene, scoring_scene
from ntt_plugin.engine import MemoryBank, Segmenter
from ntt_plugin.engine.active_learning import Suggestion, SuggestionPool
from ntt_plugin.engine.references import Box, tight_box

RESULTS = Path(__file__).parent / "results" / "suggestions.json"
LABELS = (0, 8, 16, 32, 64)
SUGGESTED, RANDOM = "suggested", "random"

Choice = Callable[[SuggestionPool, int], list[Suggestion]]


def main() -> None:
    """Measure both curves, write the figures and the plot."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenes", type=int, default=100, help="scenes to score")
    parser.add_argument("--pool", type=int, default=100, help="scenes to choose from")
    parser.add_argument("--references", type=int, default=120, help="scenes of first references")
    parser.add_argument("--seeds", type=int, nargs="*", default=range(20), help="of those")
    parser.add_argument("--draws", type=int, default=2, help="random curves a seed")
    parser.add_argument("--kept", type=Path, help="folder to keep proposals in between runs")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()

    segmenter = Segmenter.from_preset("tiny")
    cache = proposal_cache(segmenter, options.kept)
    start = options.references
    pool = [
        SeenScene(segmenter, reference_scene(index), cache)
        for index in range(start, start + options.pool)
    ]
    scored = [SeenScene(segmenter, scoring_scene(i), cache) for i in range(options.scenes)]
    features = reference_features(segmenter, options.references)
    curves: dict[str, list[dict[str, Any]]] = {SUGGESTED: [], RANDOM: []}
    for seed in options.seeds:
        bank = draw_bank(segmenter, features, 1, seed, true_names)
        before = segm_ap(scored, bank, segmenter)
        choices: list[tuple[str, Choice]] = [(SUGGESTED, SuggestionPool.choose)]
        choices += [(RANDOM, by_lot(1000 * seed + draw)) for draw in range(options.draws)]
        for name, choose in choices:
            curve = learn(copy_of(bank), pool, scored, segmenter, choose)
            curve["segm_ap"].insert(0, before)
            curves[name].append({"seed": seed, **curve})
            print(f"seed {seed}  {name:10s}", [round(v, 4) for v in curve["segm_ap"]], flush=True)
    result = {
        "preset": "tiny",
        "labels": list(LABELS),
        "scenes_of_the_pool": options.pool,
        "scenes_scored": options.scenes,
        "seeds": list(options.seeds),
        "random_draws_a_seed": options.draws,
        **compared(curves),
        "curves": curves,
    }
    print(json.dumps({key: value for key, value in result.items() if key != "curves"}, indent=1))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n")
    plot(result, options.output.with_suffix(".png"))


def by_lot(seed: int) -> Choice:
    """A choice at random from all that could be suggested."""
    generator = random.Random(seed)

    def choose(pool: SuggestionPool, count: int) -> list[Suggestion]:
        candidates = pool.candidates()
        return generator.sample(candidates, min(count, len(candidates)))

    return choose


def learn(
    bank: MemoryBank,
    pool: Sequence[SeenScene],
    scored: list[SeenScene],
    segmenter: Segmenter,
    choose: Choice,
) -> dict[str, Any]:
    """AP after each number of labels, and what the labels turned out to be."""
    taught: dict[int, list[Box]] = {}
    values, counts = [], {"objects": 0, "corrected": 0, "no_object": 0}
    for done, wanted in pairwise(LABELS):
        candidates = SuggestionPool(bank, segmenter.recipe)
        for image, entry in enumerate(pool):
            candidates.add(image, entry.proposals, taught.get(image, ()))
        for suggestion in choose(candidates, wanted - done):
            entry = pool[suggestion.image]
            mask = entry.mask_of(suggestion.proposal)
            taught.setdefault(suggestion.image, []).append(tight_box(mask))
            feature, number = entry.feature(mask), entry.shown(mask)
            name = None if number is None else entry.name(number)
            counts["no_object" if name is None else "objects"] += 1
            counts["corrected"] += name not in (None, suggestion.label)
            if feature is None:
                continue
            if name is None:
                bank.add_negatives(suggestion.label, feature)
            else:
                bank.add(name, feature)
        values.append(segm_ap(scored, bank, segmenter))
    return {"segm_ap": values, **counts}


def compared(curves: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Means of both curves, and by how much suggestions are ahead, seed by seed."""
    found: dict[str, Any] = {}
    by_seed: dict[str, np.ndarray] = {}
    for name, runs in curves.items():
        seeds = sorted({run["seed"] for run in runs})
        of_seed = [[run["segm_ap"] for run in runs if run["seed"] == seed] for seed in seeds]
        by_seed[name] = np.array([np.mean(values, axis=0) for values in of_seed])
        found[name] = {
            "segm_ap": by_seed[name].mean(axis=0).round(4).tolist(),
            **{
                what: float(np.mean([run[what] for run in runs]))
                for what in ("objects", "corrected", "no_object")
            },
        }
    ahead = by_seed[SUGGESTED] - by_seed[RANDOM]
    found["ahead"] = ahead.mean(axis=0).round(4).tolist()
    found["seeds_ahead"] = (ahead > 0).sum(axis=0).tolist()
    found["ahead_over_the_curve_of_each_seed"] = ahead[:, 1:].mean(axis=1).round(4).tolist()
    return found


def plot(result: dict[str, Any], path: Path) -> None:
    """Both curves, each run as a thin line."""
    try:
        import matplotlib
    except ImportError:
        print("matplotlib is not installed: there is no plot")
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panel = pyplot.subplots(figsize=(5, 3.5))
    for name, colour in ((RANDOM, "0.5"), (SUGGESTED, "tab:orange")):
        for run in result["curves"][name]:
            panel.plot(result["labels"], run["segm_ap"], c=colour, lw=0.5, alpha=0.4)
        mean = result[name]["segm_ap"]
        panel.plot(result["labels"], mean, "o-", c=colour, label=f"{name}, mean")
    panel.set(xlabel="labels added to 1 reference a class", ylabel="AP of masks, other scenes")
    panel.set_xticks(result["labels"])
    panel.grid(alpha=0.3)
    panel.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
