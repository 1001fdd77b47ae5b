"""Does ``ntt.compare_recipes`` without ground truth pick the recipe that is best with it?

    python benchmarks/compare_recipes.py

Each draw has scenes of its own and references of its own: of an even draw the demo's scenes, of an
odd one large scenes with small objects, where tiles pay. Eight recipes: with tiles or without, two
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
    parser.add_argument("--scenes", type=int, default=30, help="demo's, of each kind in a draw")
    parser.add_argument("--large", type=int, default=6, help="large ones, of each kind in a draw")
    parser.add_argument("--cells", type=int, default=5, help="along a side of a large scene")
    parser.add_argument("--shots", type=int, default=5)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows = []
    for draw in range(options.first, options.first + options.draws):
        rows.append(measure(draw, options))
        print(json.dumps(rows[-1]), flush=True)
        found = {
            "machine": platform.machine(),
            "recipes": RECIPES,
            "scenes": options.scenes,
            "large": [options.large, options.cells],
            "shots": options.shots,
            "right": sum(row["right"] for row in rows),
            "draws": rows,
        }
        options.output.write_text(json.dumps(found, indent=2) + "\n")


def measure(draw: int, options: argparse.Namespace) -> dict[str, Any]:
    """One draw: AP of each recipe with ground truth, and what is picked without."""
    with tempfile.TemporaryDirectory() as folder:
        dataset = fo.Dataset(f"ntt-compare-{uuid.uuid4().hex}")
        try:
            dataset.add_samples(list(samples(draw, options, Path(folder))), progress=False)
            pool, targets = dataset.match_tags("pool"), dataset.match_tags("target")
            ntt.sample_references(pool, "ground_truth", shots=options.shots, seed=draw)
            ntt.build_memory_bank(pool, "ground_truth", "bank", tag="reference", preset="tiny")
            kept = ProposalStore(Path(folder) / "kept")
            without = ntt.compare_recipes(dataset, "bank", RECIPES, cache=kept, progress=False)
            truth = ntt.compare_recipes(
                targets, "bank", RECIPES, "ground_truth", cache=kept, progress=False
            )
        finally:
            dataset.delete()
    best, picked = truth.best, without.best.name
    by_truth = {one.name: one.figures.ap for one in truth.results if one.figures}
    return {
        "draw": draw,
        "scenes": "large" if draw % 2 else "demo",
        "references": without.results[0].figures.objects if without.results[0].figures else 0,
        "best": best.name,
        "picked": picked,
        "lost": round(max(by_truth.values()) - by_truth[picked], 4),
        "right": max(by_truth.values()) - by_truth[picked] <= NEAR,
        "with_truth": {name: round(ap, 4) for name, ap in by_truth.items()},
        "without": {
            one.name: [round(one.figures.ap, 4), round(one.figures.recall, 4)]
            for one in without.results
            if one.figures
        },
        "seconds": {one.name: round(one.seconds, 2) for one in truth.results},
    }


def samples(draw: int, options: argparse.Namespace, folder: Path) -> Iterator[fo.Sample]:
    """Scenes tagged ``pool`` and ``target``, no two draws with the same."""
    for kind, tag in enumerate(("pool", "target")):
        count = options.large if draw % 2 else options.scenes
        for index in range(count):
            number = draw * count + index
            if draw % 2:
                seed = (_STREAM, kind, number)
                scene = make_large_scene(seed, NOVEL_CLASSES, options.cells).scene
            else:
                scene = (scoring_scene if kind else reference_scene)(number)
            yield _sample(scene, folder / f"{tag}-{index}.png", tag)


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
