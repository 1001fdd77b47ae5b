"""The paper's few-shot sampling from a COCO annotation file (recipe section 7)."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ..labels.crowds import is_crowd

MIN_SIDE = 32
"""Least width and height of a reference's box, in pixels."""

MIN_BORDER = 10
"""Least distance of a reference's box from each border of its image, in pixels."""

NOVEL_COCO_CLASSES = (
    "airplane",
    "bicycle",
    "boat",
    "bus",
    "car",
    "motorcycle",
    "train",
    "bottle",
    "chair",
    "dining table",
    "potted plant",
    "bird",
    "cat",
    "cow",
    "dog",
    "horse",
    "sheep",
    "person",
    "couch",
    "tv",
)
"""COCO's twenty novel classes in the published few-shot table."""

Pair = tuple[Mapping[str, Any], Mapping[str, Any]]


def sample_few_shot(
    coco: Mapping[str, Any],
    shots: int,
    seed: int,
    category_ids: Collection[int] | None = None,
    lvis: bool = False,
) -> list[dict[str, Any]]:
    """Choose references from a COCO annotation file as the published table did.

    The random generator is seeded once. Classes come in the order in which the
    annotations first mention them; each class's (image, annotation) pairs are
    shuffled and walked, a valid pair is taken if its image has not served this
    class yet, until there are ``shots``. A class with too few is left short.

    Args:
        coco: an annotation file's content: ``images`` and ``annotations``.
        shots: references wanted per class.
        seed: seed of the one random generator.
        category_ids: the classes to sample; all that have annotations if None.
        lvis: LVIS's rules for rare classes: a class without any valid pair takes
            the first invalid ones, also several of an image, and one with too few
            repeats its own from the start.

    Returns:
        One ``{"category_id", "image_id", "annotation_id"}`` a reference, in order.
    """
    images = {image["id"]: image for image in coco["images"]}
    pairs: dict[int, list[Pair]] = {}
    for annotation in coco["annotations"]:
        category = annotation["category_id"]
        if category_ids is None or category in category_ids:
            pairs.setdefault(category, []).append((images[annotation["image_id"]], annotation))

    generator = random.Random(seed)
    references: list[dict[str, Any]] = []
    for category, candidates in pairs.items():
        generator.shuffle(candidates)
        chosen = _walk(candidates, shots)
        if lvis and not chosen:
            # Here the released code does not look whether an image comes twice.
            chosen = candidates[:shots]
        if lvis and chosen:
            chosen = [chosen[i % len(chosen)] for i in range(shots)]
        references += [
            {"category_id": category, "image_id": image["id"], "annotation_id": annotation["id"]}
            for image, annotation in chosen
        ]
    return references


def is_valid_reference(image: Mapping[str, Any], annotation: Mapping[str, Any]) -> bool:
    """Whether the protocol accepts an annotation: no crowd, not small, not at a border.

    The image's entry has ``width`` and ``height``, the annotation's ``bbox`` (x, y, w, h), in
    pixels.

    Raises:
        DatasetError: its ``iscrowd`` is neither yes nor no.
    """
    x, y, w, h = annotation["bbox"]
    return (
        not is_crowd(annotation.get("iscrowd"))
        and w >= MIN_SIDE
        and h >= MIN_SIDE
        and x >= MIN_BORDER
        and y >= MIN_BORDER
        and x + w <= image["width"] - MIN_BORDER
        and y + h <= image["height"] - MIN_BORDER
    )


def _walk(candidates: Sequence[Pair], shots: int) -> list[Pair]:
    chosen: list[Pair] = []
    used: set[int] = set()
    for image, annotation in candidates:
        if len(chosen) == shots:
            break
        if image["id"] not in used and is_valid_reference(image, annotation):
            used.add(image["id"])
            chosen.append((image, annotation))
    return chosen
