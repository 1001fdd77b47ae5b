"""What candidates bring: AP of the point grid, of boxes from elsewhere, and of both together.

    python benchmarks/candidates_ap.py

AP of masks on the demo's held-out scenes with the preset ``tiny``, for the same draws of references
as ``demo_ap.py``. Candidates have neither a class nor a confidence. They are the boxes of the
ground truth, the same ones with each edge moved by up to a tenth of the box's side, those with as
many false ones, the masks of the ground truth (the most that any proposer can reach), and each of
these joined with the grid. Each is compared with the grid alone, draw by draw; ``best_iou`` is the
mean over all objects of the highest IoU of any proposal. Writes
``benchmarks/results/candidates_ap.json``.
"""

from __future__ import annotations

import json
import platform
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from candidate_boxes import best_ious, false_boxes, jittered, tight_boxes
from demo_ap import draw_bank, protocol_options, reference_features, score, summarise, true_names
from tiles import difference

from ntt_plugin.demo.scenes import Scene
from ntt_plugin.demo.streams import scoring_scene
from ntt_plugin.engine import Candidate, Proposals, Segmenter

RESULTS = Path(__file__).parent / "results" / "candidates_ap.json"
JITTER = 0.1
FALSE_IOU = 0.3
GRID = "grid"
Array = np.ndarray[Any, Any]
Propose = Callable[[int, Scene], Proposals]


def main() -> None:
    """Measure every kind of proposals and write the table."""
    parser = protocol_options(__doc__)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()

    segmenter = Segmenter.from_preset("tiny")
    scenes = [scoring_scene(index) for index in range(options.scenes)]
    features = reference_features(segmenter, options.references)
    banks = [
        draw_bank(segmenter, features, options.shots, seed, true_names)
        for seed in range(options.seeds)
    ]
    table: dict[str, Any] = {}
    of_grid: list[dict[str, float]] = []
    for name, propose in kinds(segmenter).items():
        proposals = [propose(index, scene).with_masks_made() for index, scene in enumerate(scenes)]
        runs = [score(scenes, proposals, bank, segmenter) for bank in banks]
        of_grid = of_grid or runs
        table[name] = {
            **summarise(runs),
            "proposals_an_image": statistics.fmean(len(found) for found in proposals),
            "best_iou": statistics.fmean(
                iou
                for scene, found in zip(scenes, proposals, strict=True)
                for iou in best_ious(objects(scene), (found.masks[i] for i in range(len(found))))
            ),
            "segm_ap - grid's": difference(runs, of_grid),
        }
        print(f"{name:36s}", json.dumps(table[name]), flush=True)
    result = {
        "preset": "tiny",
        "scenes": options.scenes,
        "shots": options.shots,
        "reference_seeds": options.seeds,
        "jitter": JITTER,
        "false boxes' highest IoU with a true one": FALSE_IOU,
        "table": table,
        "torch": torch.__version__,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n")


def kinds(segmenter: Segmenter) -> dict[str, Propose]:
    """Ways to propose for a scene and its number, the grid first."""
    candidates: dict[str, Callable[[int, Scene], list[Candidate]]] = {
        "true boxes": lambda index, scene: boxed(true_boxes(index, scene)),
        "jittered boxes": lambda index, scene: boxed(jittered_boxes(index, scene)),
        "jittered boxes, half false": lambda index, scene: boxed(half_false(index, scene)),
        "true masks": lambda _, scene: [Candidate.of_mask(mask) for mask in objects(scene)],
    }
    found: dict[str, Propose] = {GRID: lambda _, scene: segmenter.propose(scene.image)}
    for grid in (False, True):
        for name, make in candidates.items():
            found[f"{GRID} and {name}" if grid else name] = proposing(segmenter, make, grid)
    return found


def proposing(
    segmenter: Segmenter, make: Callable[[int, Scene], list[Candidate]], grid: bool
) -> Propose:
    """A way to propose: candidates, joined with the grid if so."""
    return lambda index, scene: segmenter.propose_candidates(
        scene.image, make(index, scene), grid=grid
    )


def objects(scene: Scene) -> list[Array]:
    """What each object shows of itself, bool (H, W)."""
    return [scene.mask(number) for number in range(len(scene.classes))]


def boxed(boxes: Array) -> list[Candidate]:
    """Candidates of boxes (n, 4)."""
    return [Candidate.of_box(box) for box in boxes.tolist()]


def true_boxes(_: int, scene: Scene) -> Array:
    """The boxes of what each object shows of itself, (n, 4)."""
    return tight_boxes(objects(scene))


def jittered_boxes(index: int, scene: Scene) -> Array:
    """The same, not exact."""
    rng = np.random.default_rng([index, 0])
    return jittered(true_boxes(index, scene), scene.owners.shape, JITTER, rng)


def half_false(index: int, scene: Scene) -> Array:
    """The same, not exact, and as many where no object is, in random order."""
    rng = np.random.default_rng([index, 1])
    wrong = false_boxes(true_boxes(index, scene), scene.owners.shape, FALSE_IOU, rng)
    return np.asarray(rng.permutation(np.concatenate([jittered_boxes(index, scene), wrong])))


if __name__ == "__main__":
    main()
