"""Does ``ntt.compare_recipes`` without ground truth pick the recipe that is best with it?

    python benchmarks/compare_recipes.py

Each draw takes references from scenes of its own: an even draw from scenes of the demo, an odd one
from large scenes with small objects, where tiles pay. Eight recipes: with tiles or without, two
presets (the bank's own, and one with half as many points a side and less context), rescoring by
decay or by diffusion. A draw counts as right if the recipe that is picked on the reference images
alone is the best on the target scenes by their ground truth, or within 0.01 AP of it. Writes
``benchmarks/results/compare_recipes.json``. Uses a MongoDB of its own, which it ends.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import uuid
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests import fiftyone_database  # noqa: F401  (before anything imports fiftyone)

# isort: split
import fiftyone as fo
from PIL import Image

import ntt_plugin as ntt
from ntt_plugin.demo.classes import NOVEL_CLASSES
from ntt_plugin.demo.large_scenes import make_large_scene
from ntt_plugin.demo.scenes import Scene
from ntt_plugin.demo.streams import reference_scene, scoring_scene
from ntt_plugin.engine.proposals.store import ProposalStore

RESULTS = Path(__file__).parent / "results" / "compare_recipes.json"
NEAR = 0.01
RECIPES = [
    " ".join(["own", *filter(None, settings)])
    for settings in product(
        ["", "tile=192 tile_overlap=0.34"],
        ["", "grid=8 context_ratio=1.0"],
        ["", "rescoring=diffusion"],
    )
]
_STREAM = 6
"""Of the seeds of large scenes: no other has it."""


def main() -> None:
    """Measure each draw and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="number of the first draw")
    parser.add_argument(
        "--pool", type=int, nargs=2, default=[30, 6], help="scenes of a draw: demo's, or large"
    )
    parser.add_argument("--targets", type=int, nargs=2, default=[100, 12], help="demo's, and large")
    parser.add_argument("--cells", type=int, default=5, help="along a side of a large scene")
    parser.add_argument("--shots", type=int, nargs="+", default=[5, 10])
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        kinds = [TargetScenes(kind, options, Path(folder)) for kind in range(2)]
        for draw in range(options.first, options.first + options.draws):
            for row in kinds[draw % 2].measure(draw):
                rows.append(row)
                print(json.dumps(row), flush=True)
            options.output.write_text(json.dumps(summary(rows, options), indent=2) + "\n")
        for kind in kinds:
            kind.dataset.delete()


def summary(rows: list[dict[str, Any]], options: argparse.Namespace) -> dict[str, Any]:
    """What is written: the draws, and of how many the pick was right, by shots."""
    return {
        "machine": platform.machine(),
        "recipes": RECIPES,
        "pool_scenes_demo_large": options.pool,
        "target_scenes_demo_large": options.targets,
        "cells_of_large_scenes": options.cells,
        "right": {
            shots: f"{sum(row['right'] for row in these)} of {len(these)}"
            for shots in options.shots
            if (these := [row for row in rows if row["shots"] == shots])
        },
        "draws": rows,
    }


class TargetScenes:
    """Target scenes of a kind, 0 the demo's or 1 large ones, on which all its draws are scored.

    They are many and the same for all draws, so that chance decides little about which recipe is
    the best by ground truth.
    """

    def __init__(self, kind: int, options: argparse.Namespace, folder: Path) -> None:
        """Make them."""
        self.kind, self.options = kind, options
        self.folder = folder / str(kind)
        self.folder.mkdir()
        self.kept = ProposalStore(self.folder / "kept")
        self.dataset = fo.Dataset(f"ntt-compare-{uuid.uuid4().hex}")
        self._add("target", range(options.targets[kind]))

    def measure(self, draw: int) -> Iterator[dict[str, Any]]:
        """One draw for each number of shots: AP with ground truth, and what is picked without."""
        count = self.options.pool[self.kind]
        self._add("pool", range(draw * count, (draw + 1) * count))
        pool, targets = self.dataset.match_tags("pool"), self.dataset.match_tags("target")
        for shots in self.options.shots:
            tag, bank = f"reference-{shots}", f"bank_{draw}_{shots}"
            ntt.sample_references(pool, "ground_truth", shots=shots, seed=draw, tag=tag)
            ntt.build_memory_bank(pool, "ground_truth", bank, tag=tag, preset="tiny")
            without = ntt.compare_recipes(
                self.dataset, bank, RECIPES, cache=self.kept, progress=False
            )
            truth = ntt.compare_recipes(
                targets, bank, RECIPES, "ground_truth", cache=self.kept, progress=False
            )
            yield {"draw": draw, "scenes": ("demo", "large")[self.kind], "shots": shots} | judged(
                truth, without
            )
        self.dataset.delete_samples(pool)

    def _add(self, tag: str, numbers: range) -> None:
        samples = []
        for number in numbers:
            if self.kind:
                seed = (_STREAM, tag == "target", number)
                scene = make_large_scene(seed, NOVEL_CLASSES, self.options.cells).scene
            else:
                scene = (scoring_scene if tag == "target" else reference_scene)(number)
            samples.append(_sample(scene, self.folder / f"{tag}-{number}.png", tag))
        self.dataset.add_samples(samples, progress=False)


def judged(truth: ntt.RecipeComparison, without: ntt.RecipeComparison) -> dict[str, Any]:
    """Whether the recipe that is picked without ground truth is as good as the best with it."""
    assert not truth.failed and not without.failed
    picked = without.best.name
    by_truth = {one.name: one.figures.ap for one in truth.results if one.figures}
    lost = max(by_truth.values()) - by_truth[picked]
    return {
        "references": max(one.figures.objects for one in without.results if one.figures),
        "best": truth.best.name,
        "picked": picked,
        "lost": round(lost, 4),
        "right": lost <= NEAR,
        "with_truth": {name: round(ap, 4) for name, ap in by_truth.items()},
        "without": {
            one.name: [
                round(figure, 4)
                for figure in (one.figures.ap, one.figures.recall, one.figures.mean_iou)
            ]
            for one in without.results
            if one.figures
        },
        "seconds": {one.name: round(one.seconds, 2) for one in without.results},
    }


def _sample(scene: Scene, path: Path, tag: str) -> fo.Sample:
    Image.fromarray(scene.image).save(path)
    sample = fo.Sample(filepath=str(path), tags=[tag])
    sample["ground_truth"] = fo.Detections(
        detections=[
            fo.Detection.from_mask(scene.mask(index), label=entry.name)
            for index, entry in enumerate(scene.classes)
            if scene.mask(index).any()
        ]
    )
    return sample


if __name__ == "__main__":
    main()
