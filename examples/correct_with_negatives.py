"""Correct a memory bank from the mistakes of its first pass.

    python examples/correct_with_negatives.py

You look at some of the predictions, and show the bank those whose class is wrong: it learns them as
negatives of the class that they were taken for. Relabelling takes moments, for what the networks
found in the images is kept. Here the ground truth stands in for your eyes, on one half of the
images; the other half tells whether it helped.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from fiftyone.utils.iou import compute_ious

import ntt_plugin as ntt
from ntt_plugin.demo.dataset import make_dataset


def main() -> None:
    """Segment, show the bank its mistakes, relabel, and score before and after."""
    parser = argparse.ArgumentParser("examples/correct_with_negatives.py", description=main.__doc__)
    parser.add_argument("--preset", default="tiny", help="the networks and constants to use")
    parser.add_argument("--pool", type=int, default=40, help="images to take references from")
    parser.add_argument("--images", type=int, default=80, help="images to segment")
    parser.add_argument("--most", type=int, default=5, help="negatives a class, at most")
    parser.add_argument("--folder", type=Path, default=Path("demo/negatives"), help="for images")
    options = parser.parse_args()

    dataset = make_dataset(options.folder, options.pool, options.images, name="ntt-negatives")
    targets = dataset.match_tags("target")
    half = len(targets) // 2
    looked_at, others = targets[:half], targets[half:]

    pool = dataset.match_tags("pool")
    ntt.sample_references(pool, "ground_truth", shots=3)
    ntt.build_memory_bank(pool, "ground_truth", "shapes", tag="reference", preset=options.preset)
    print(ntt.segment(targets, "shapes", label_field="ntt"))
    before = score(dataset, others, "before")

    wrong = mistaken_labels(looked_at, options.most)
    if not wrong:
        raise SystemExit("There is no mistake to learn from. Look at more images: --images.")
    # Predictions would be gone with the next run: add_negatives copies them first.
    added = ntt.add_negatives(looked_at.select_labels(ids=wrong, fields="ntt"), "ntt", "shapes")
    print(f"negatives learnt: {added.added}")

    report = ntt.segment(targets, "shapes", label_field="ntt", overwrite=True)
    print(report)
    after = score(dataset, others, "after")
    print(f"segm AP on images that nobody looked at: {before:.4f} before, {after:.4f} after")


def mistaken_labels(samples: Any, most: int) -> list[str]:
    """Ids of predictions that lie on an object of another class, the most confident of each class.

    A mask that is cut badly is no negative: the thing in it is right.
    """
    found: dict[str, list[tuple[float, str]]] = {}
    for sample in samples.iter_samples():
        labels, truth = sample["ntt"].detections, sample["ground_truth"].detections
        if not labels or not truth:
            continue
        ious = compute_ious(labels, truth, classwise=False, use_masks=True)
        for label, row in zip(labels, np.asarray(ious), strict=True):
            under = truth[int(row.argmax())]
            if row.max() >= 0.5 and under.label != label.label:
                found.setdefault(label.label, []).append((label.confidence, label.id))
    return [label for ranked in found.values() for _, label in sorted(ranked)[::-1][:most]]


def score(dataset: Any, samples: Any, name: str) -> float:
    """Segm AP of the predictions in some samples, kept as an evaluation of that name."""
    ntt.evaluate(samples, "ntt", "ground_truth", eval_key=name)
    return float(ntt.coco_figures(dataset, name).segm["AP"])


if __name__ == "__main__":
    main()
