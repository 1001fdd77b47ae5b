"""What scenarios find in their datasets."""

import fiftyone as fo

import ntt_plugin as ntt


def add_boxes(dataset: fo.Dataset) -> None:
    """The boxes of ``ground_truth``, without their masks, in ``boxes``."""
    for sample in dataset.iter_samples(autosave=True):
        labels = [
            fo.Detection(label=label.label, bounding_box=label.bounding_box)
            for label in sample["ground_truth"].detections
        ]
        sample["boxes"] = fo.Detections(detections=labels)


def add_work(dataset: fo.Dataset) -> None:
    """A bank ``shapes`` of the pool, predictions in ``ntt`` of the targets, and their scores."""
    ntt.sample_references(dataset.match_tags("pool"), "ground_truth", shots=1)
    ntt.build_memory_bank(dataset, "ground_truth", "shapes", tag="reference", preset="tiny")
    targets = dataset.match_tags("target")
    ntt.segment(targets, "shapes", "ntt")
    ntt.evaluate(targets, "ntt", "ground_truth", "ntt_eval")
