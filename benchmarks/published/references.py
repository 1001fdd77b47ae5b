"""Chosen annotations as the engine learns them, and the memory bank of a task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
from pycocotools import mask as mask_utils

import ntt_plugin as ntt
from ntt_plugin.engine import MemoryBank, Provenance, Recipe, Reference, Segmenter

from .protocol import Annotation, Task


def build_bank(
    dataset: Any,
    name: str,
    task: Task,
    chosen: Sequence[Annotation],
    recipe: Recipe,
    device: str | None,
    segmenter: Segmenter | None = None,
) -> tuple[MemoryBank, bool]:
    """The bank of chosen annotations, kept with the dataset of the images, and whether it is new.

    One of the same annotations and recipe is taken as it is, so that a stopped run goes on with it.
    """
    if name in ntt.list_memory_banks(dataset):
        kept = ntt.load_memory_bank(dataset, name)
        if kept.recipe == recipe and _annotation_ids(kept) == Counter(str(a["id"]) for a in chosen):
            return kept, False
    zoo = Path(fo.config.model_zoo_dir)
    engine = segmenter or Segmenter.from_preset(recipe, device, [zoo])
    bank = engine.build_bank(as_references(task, chosen, engine))
    ntt.save_memory_bank(dataset, name, bank, overwrite=True)
    return bank, True


def as_references(
    task: Task, chosen: Sequence[Annotation], segmenter: Segmenter
) -> Iterator[Reference]:
    """Images with masks: the annotations' own, or the segmenter's where there are only boxes."""
    images = {image["id"]: image for image in task.train["images"]}
    names = task.class_names()
    for annotation in chosen:
        image = images[annotation["image_id"]]
        path = task.train_images / image["file_name"]
        x, y, w, h = annotation["bbox"]
        box = (float(x), float(y), float(x + w), float(y + h))
        if annotation.get("segmentation"):
            mask = decode_mask(annotation["segmentation"], image["height"], image["width"])
        else:
            [mask] = segmenter.masks_from_boxes(path, [box])
        source = Provenance(label=str(annotation["id"]), box=box)
        yield Reference(path, mask, names[annotation["category_id"]], box, source)


def decode_mask(segmentation: Any, height: int, width: int) -> np.ndarray:
    """A mask, bool (H, W), from polygons or run lengths as annotation files hold them."""
    if isinstance(segmentation, list):
        rle = mask_utils.merge(mask_utils.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):
        rle = mask_utils.frPyObjects(segmentation, height, width)
    else:
        rle = segmentation
    mask: np.ndarray = mask_utils.decode(rle).astype(bool)
    return mask


def _annotation_ids(bank: MemoryBank) -> Counter[str | None]:
    learnt = [r.provenance.label for label in bank.classes for r in bank.references(label)]
    return Counter([*learnt, *(refused.provenance.label for refused in bank.refused)])
