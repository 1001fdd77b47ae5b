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
from ntt_plugin.engine.proposals.joined import join_proposals
from ntt_plugin.engine.proposals.tiles import whole_image

RESULTS = Path(__file__).parent / "results" / "candidates_ap.json"
JITTER = 0.1
FALSE_IOU = 0.3
Array = np.ndarray[Any, Any]


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
    of_grid = [segmenter.propose(scene.image).with_masks_made() for scene in scenes]
    grid_runs = [score(scenes, of_grid, bank, segmenter) for bank in banks]

    def add(name: str, proposals: list[Proposals]) -> None:
        runs = [score(scenes, proposals, bank, segmenter) for bank in banks]
        found = zip(scenes, proposals, strict=True)
        ious = [iou for pair in found for iou in best_ious(objects(pair[0]), pair[1].masks)]
        table[name] = {
            **summarise(runs),
            "proposals_an_image": statistics.fmean(len(entry) for entry in proposals),
            "best_iou": statistics.fmean(ious),
            "segm_ap - grid's": difference(runs, grid_runs),
        }
        print(f"{name:36s}", json.dumps(table[name]), flush=True)

    add("grid", of_grid)
    for name, make in KINDS.items():
        given = [
            segmenter.propose_candidates(scene.image, make(index, scene))
            for index, scene in enumerate(scenes)
        ]
        add(name, given)
        add(f"grid and {name}", [join(*pair) for pair in zip(of_grid, given, strict=True)])
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


def join(grid: Proposals, given: Proposals) -> Proposals:
    """What ``propose_candidates`` with ``grid=True`` gives, of what is there already."""
    whole = whole_image(grid.image_size)
    assert grid.fingerprint is not None
    return join_proposals([(grid, whole), (given, whole)], grid.image_size, grid.fingerprint)


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


KINDS: dict[str, Callable[[int, Scene], list[Candidate]]] = {
    "true boxes": lambda index, scene: boxed(true_boxes(index, scene)),
    "jittered boxes": lambda index, scene: boxed(jittered_boxes(index, scene)),
    "jittered boxes, half false": lambda index, scene: boxed(half_false(index, scene)),
    "true masks": lambda _, scene: [Candidate.of_mask(mask) for mask in objects(scene)],
}


if __name__ == "__main__":
    main()
