"""A dataset whose names are Markdown that a stranger wrote."""

from pathlib import Path

import fiftyone as fo

import ntt_plugin as ntt

PORT = "127.0.0.1:9"
NAMES = (
    f"![x](http://{PORT}/x.png)",
    f"[a](http://{PORT}/a)",
    f"<img src=http://{PORT}/i.png>",
    f"http://{PORT}/auto",
    "www.example.com `code` **bold** a@b.example.com",
    f"two\nlines ![y](//{PORT}/y.png) &lt;b&gt; | cell",
    f"- [ ] item \\![z](http://{PORT}/z.png)",
    f'<a href="http://{PORT}/link">link</a>',
)


def make_hostile(dataset: fo.Dataset) -> None:
    """Give a dataset's labels, tags, bank, predictions and scores such names.

    Args:
        dataset: one with masks in ``ground_truth``.
    """
    number = 0
    for sample in dataset.iter_samples(autosave=True):
        for label in sample["ground_truth"].detections:
            label.label = NAMES[number % len(NAMES)]
            label.tags = ["reference", NAMES[0]]
            number += 1
        sample.tags = [*sample.tags, NAMES[1]]
    for bank in ("hostile", "second"):
        ntt.build_memory_bank(dataset, "ground_truth", bank, preset="tiny", progress=False)
    ntt.segment(dataset, "hostile", "found", progress=False)
    ntt.evaluate(dataset, "found", "ground_truth", "found_eval", progress=False)
    thresholds = dict.fromkeys(ntt.load_memory_bank(dataset, "hostile").classes, 0.5)
    ntt.save_thresholds(dataset, "hostile", thresholds=thresholds)


def export_hostile(dataset: fo.Dataset, folder: Path) -> Path:
    """Its bank as a file; a file's name has no slash."""
    return ntt.export_memory_bank(dataset, "hostile", folder / "[a](b) `c`.safetensors")
