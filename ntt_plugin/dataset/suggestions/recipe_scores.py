"""How well a recipe finds known objects: COCO's AP, and which objects it finds again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pycocotools import mask as mask_utils

from ...engine.matching.leave_one_out import SAME_IOU, Annotated
from ...engine.matching.match import Instances
from ...engine.typing import Array
from ..evaluation.coco_metrics import evaluate_coco

# A prediction with this IoU with an object, or with half of itself in it, is about that object.
_ABOUT_IOU, _ABOUT_SHARE = 0.1, 0.5


class KnownObjects:
    """The objects that are known in some images, in COCO's form.

    Attributes:
        truth: an annotation file's content.
        masks: whether the objects have masks; otherwise they are boxes.
        whole: whether all objects of these images are known. Otherwise a prediction that lies on
            none of them may be right, and is passed over.
    """

    def __init__(self, truth: dict[str, Any], masks: bool, whole: bool) -> None:
        """Take an annotation file's content; further images are added by ``add``."""
        self.truth = truth
        self.masks = masks
        self.whole = whole
        self.categories: dict[str, int] = {one["name"]: one["id"] for one in truth["categories"]}
        self._of_image: dict[int, list[dict[str, Any]]] = {}
        self._others: dict[int, list[dict[str, Any]]] = {}
        for annotation in truth["annotations"]:
            self._of_image.setdefault(annotation["image_id"], []).append(annotation)

    @classmethod
    def empty(cls, classes: Sequence[str]) -> KnownObjects:
        """No object yet, of images that need not be annotated whole."""
        categories = [{"id": number, "name": name} for number, name in enumerate(classes, 1)]
        truth = {"images": [], "annotations": [], "categories": categories}
        return cls(truth, masks=True, whole=False)

    def add(self, image_id: int, size: tuple[int, int], annotated: Sequence[Annotated]) -> None:
        """Add an image with its annotated objects; a negative is a place of other things."""
        self.truth["images"].append({"id": image_id, "height": size[0], "width": size[1]})
        for one in annotated:
            encoded = mask_utils.encode(np.asfortranarray(one.mask, dtype=np.uint8))
            entry: dict[str, Any] = {"image_id": image_id, "segmentation": encoded}
            if one.negative or one.label not in self.categories:
                self._others.setdefault(image_id, []).append(entry)
                continue
            entry |= {
                "id": len(self.truth["annotations"]) + 1,
                "category_id": self.categories[one.label],
                "area": float(mask_utils.area(encoded)),
                "bbox": mask_utils.toBbox(encoded).tolist(),
                "iscrowd": 0,
            }
            self.truth["annotations"].append(entry)
            self._of_image.setdefault(image_id, []).append(entry)

    def truth_of(self, image_ids: Collection[int]) -> dict[str, Any]:
        """The annotation file's content for some of the images alone."""
        return {
            **self.truth,
            "images": [one for one in self.truth["images"] if one["id"] in image_ids],
            "annotations": [
                one for one in self.truth["annotations"] if one["image_id"] in image_ids
            ],
        }

    def objects(self, image_id: int) -> list[dict[str, Any]]:
        """An image's annotations, without crowds."""
        return [one for one in self._of_image.get(image_id, []) if not one["iscrowd"]]

    def places(self, image_id: int) -> list[dict[str, Any]]:
        """All that is known of an image: annotations, crowds among them, and negatives."""
        return [*self._of_image.get(image_id, []), *self._others.get(image_id, [])]

    def shapes(self, entries: Sequence[Mapping[str, Any]]) -> Any:
        """Masks or boxes of annotations or results, as pycocotools compares them."""
        if self.masks:
            return [entry["segmentation"] for entry in entries]
        return np.array([entry["bbox"] for entry in entries], dtype=float).reshape(-1, 4)


@dataclass(frozen=True)
class Figures:
    """How well known objects are found.

    Attributes:
        ap: COCO's AP, 0 to 1; -1 without an object. Where images need not be annotated whole,
            over the predictions that lie on known objects.
        recall: share of the objects that a prediction of their class finds, with an IoU of 0.5.
        mean_iou: mean over the objects of the IoU with the best prediction of their class.
        objects: number of objects.
        confusions: how many objects were not found but were taken for another class, by (their
            class, the other one), most first.
    """

    ap: float
    recall: float
    mean_iou: float
    objects: int
    confusions: dict[tuple[str, str], int]


@dataclass
class _Found:
    """What a recipe found in one image: results, IoUs of the objects, and what was confused."""

    results: list[dict[str, Any]]
    ious: list[float] = field(default_factory=list)
    confused: list[tuple[str, str]] = field(default_factory=list)


class RecipeScores:
    """Collects what one recipe finds in images with known objects."""

    def __init__(self, known: KnownObjects) -> None:
        """Nothing was found yet."""
        self._known = known
        self._names = {number: name for name, number in known.categories.items()}
        self._found: dict[int, _Found] = {}

    @property
    def images(self) -> set[int]:
        """The images that were compared."""
        return set(self._found)

    def add(self, image_id: int, instances: Instances) -> None:
        """Compare what was found in an image, all of it, with what is known of the image."""
        known = self._known
        found = self._entries(image_id, instances)
        objects = known.objects(image_id)
        ious = _ious(known.shapes(found), known.shapes(objects), False)
        seen = _Found(found)
        for column, wanted in enumerate(objects):
            own = [row for row, one in enumerate(found) if _same_class(one, wanted)]
            best = max((float(ious[row, column]) for row in own), default=0.0)
            seen.ious.append(best)
            over = np.flatnonzero(ious[:, column] >= SAME_IOU)
            if best < SAME_IOU and len(over):
                taken_for = found[int(over[0])]["category_id"]
                pair = self._names[wanted["category_id"]], self._names[taken_for]
                seen.confused.append(pair)
        if not known.whole:
            places = known.shapes(known.places(image_id))
            about = _ious(known.shapes(found), places, False) >= _ABOUT_IOU
            about |= _ious(known.shapes(found), places, True) >= _ABOUT_SHARE
            seen.results = [found[row] for row in np.flatnonzero(about.any(axis=1))]
        self._found[image_id] = seen

    def figures(self, image_ids: Collection[int]) -> Figures:
        """The figures over some of the images that were compared; the others count for nothing."""
        known = self._known
        kind = "segm" if known.masks else "bbox"
        seen = [found for image_id, found in self._found.items() if image_id in image_ids]
        results = [result for found in seen for result in found.results]
        figures, _ = evaluate_coco(known.truth_of(image_ids), results, kind)
        ious = [iou for found in seen for iou in found.ious]
        confused = Counter(pair for found in seen for pair in found.confused)
        count = len(ious)
        return Figures(
            ap=figures["AP"],
            recall=sum(iou >= SAME_IOU for iou in ious) / count if count else 0.0,
            mean_iou=sum(ious) / count if count else 0.0,
            objects=count,
            confusions=dict(confused.most_common()),
        )

    def _entries(self, image_id: int, instances: Instances) -> list[dict[str, Any]]:
        """Instances of known classes as a results file has them, by falling score."""
        entries = []
        for index, label in enumerate(instances.labels):
            if label not in self._known.categories:
                continue
            entry: dict[str, Any] = {
                "image_id": image_id,
                "category_id": self._known.categories[label],
                "score": float(instances.scores[index]),
            }
            if self._known.masks:
                full = np.asfortranarray(instances.full_mask(index), dtype=np.uint8)
                entry["segmentation"] = mask_utils.encode(full)
            else:
                x1, y1, x2, y2 = (float(edge) for edge in instances.boxes[index])
                entry["bbox"] = [x1, y1, x2 - x1, y2 - y1]
            entries.append(entry)
        return entries


def _same_class(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return bool(one["category_id"] == other["category_id"])


def _ious(found: Any, objects: Any, share: bool) -> Array:
    """IoU of each found shape with each object, float (n, k); or its share within the object."""
    if not len(found) or not len(objects):
        return np.zeros((len(found), len(objects)))
    # Against a crowd pycocotools divides by the found shape's own area.
    return np.asarray(mask_utils.iou(found, objects, [int(share)] * len(objects)))
