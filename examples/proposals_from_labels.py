"""Let labels of another model be the proposals, and a memory bank name them.

    python examples/proposals_from_labels.py

Offline, boxes of the ground truth without their names stand in for a perfect proposer. With
``--model`` a model of FiftyOne's zoo proposes, such as ``rfdetr-base-coco-torch``; its weights are
downloaded, under a licence of their own (docs/candidates.md).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import fiftyone as fo

import ntt_plugin as ntt
from ntt_plugin.demo.dataset import make_dataset


def main() -> None:
    """Segment with the grid, with candidates and with both, and score each."""
    parser = argparse.ArgumentParser("examples/proposals_from_labels.py", description=main.__doc__)
    parser.add_argument("--preset", default="tiny", help="the networks and constants to use")
    parser.add_argument("--model", help="a model of FiftyOne's zoo that proposes")
    parser.add_argument("--pool", type=int, default=20, help="images to take references from")
    parser.add_argument("--images", type=int, default=20, help="images to segment")
    parser.add_argument("--folder", type=Path, default=Path("demo/candidates"), help="for images")
    options = parser.parse_args()

    dataset = make_dataset(options.folder, options.pool, options.images, name="ntt-candidates")
    pool, targets = dataset.match_tags("pool"), dataset.match_tags("target")
    ntt.sample_references(pool, "ground_truth", shots=3)
    ntt.build_memory_bank(pool, "ground_truth", "shapes", tag="reference", preset=options.preset)

    propose(targets, options.model)
    sources: dict[str, Any] = {
        "grid": "grid",
        "candidates": "candidates",
        "both": ["grid", "candidates"],
    }
    for name, proposals in sources.items():
        field = f"by_{name}"
        report = ntt.segment(targets, "shapes", label_field=field, proposals=proposals)
        ntt.evaluate(targets, field, "ground_truth", eval_key=name)
        figures = ntt.coco_figures(dataset, name)
        assert figures.segm is not None
        print(f"{name}: {report.instances} labels, segm AP {figures.segm['AP']:.4f}")


def propose(samples: Any, model: str | None) -> None:
    """Write candidates: of a model, or the ground truth's boxes without names."""
    if model is not None:
        import fiftyone.zoo as foz

        loaded = foz.load_zoo_model(model)
        samples.apply_model(loaded, label_field="candidates", confidence_thresh=0.05)
        return
    for sample in samples.iter_samples(autosave=True):
        boxes = [
            fo.Detection(label="thing", bounding_box=label.bounding_box)
            for label in sample["ground_truth"].detections
        ]
        sample["candidates"] = fo.Detections(detections=boxes)


if __name__ == "__main__":
    main()
