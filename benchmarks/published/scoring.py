"""AP by the rules of COCO, as pycocotools computes it, and by those of LVIS."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ntt_plugin.dataset.evaluation.coco_metrics import evaluate_coco

from .protocol import Coco

Result = dict[str, Any]
"""One detection: ``image_id``, ``category_id``, ``score``, ``bbox``, and ``segmentation`` (RLE)."""

# What a result has beside the shape that is scored. With a box, pycocotools would take a mask's
# size class from it.
_OTHER_SHAPE = {"bbox": "segmentation", "segm": "bbox"}
_FREQUENCIES = {"APr": "r", "APc": "c", "APf": "f"}


def coco_figures(
    test: Coco, category_ids: Collection[int], results: Sequence[Result], kind: str
) -> dict[str, float]:
    """The twelve figures of pycocotools for some classes over all images, in [0, 1]; -1 undefined.

    Args:
        test: the annotation file's content.
        category_ids: the classes to score.
        results: detections of these classes.
        kind: ``bbox`` or ``segm``.
    """
    truth = {
        "images": test["images"],
        "categories": [c for c in test["categories"] if c["id"] in category_ids],
        "annotations": [
            _complete(a) for a in test["annotations"] if a["category_id"] in category_ids
        ],
    }
    figures, _ = evaluate_coco(truth, _of_shape(results, kind), kind)
    return figures


def lvis_figures(
    test: Coco, results: Sequence[Result], kind: str, max_detections: int
) -> dict[str, float]:
    """AP by LVIS's federated rules, over all classes and by their frequency, in [0, 1].

    An image counts for the classes that were annotated in it or checked to be absent
    (``neg_category_ids``), and for no others; where a class was not annotated exhaustively
    (``not_exhaustive_category_ids``), what matches nothing is no false positive. Of an image the
    ``max_detections`` best detections count, of all classes together. Classes without an
    annotation are left out of the means.

    Returns:
        ``AP``, ``AP50``, ``AP75``, and ``APr``, ``APc``, ``APf`` of rare, common and frequent
        classes; -1 where there is no class.
    """
    seen = checked_classes(test)
    images_of: dict[int, list[int]] = {category["id"]: [] for category in test["categories"]}
    for image_id, categories in seen.items():
        for category_id in categories:
            images_of[category_id].append(image_id)

    kept = _of_shape(best_of_images(results, max_detections), kind)
    precision = {}
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {**test, "annotations": [_complete(a) for a in test["annotations"]]}
        truth.createIndex()
        evaluation = _FederatedEval(truth, _loaded(truth, kept), kind, max_detections)
        for category_id, image_ids in images_of.items():
            precision[category_id] = evaluation.precision_of(category_id, image_ids)
    return _means(test, precision)


def best_of_images(results: Sequence[Result], most: int) -> list[Result]:
    """The best detections of each image, of all classes together; of equal scores the first."""
    by_image: dict[int, list[Result]] = {}
    for result in results:
        by_image.setdefault(result["image_id"], []).append(result)
    return [
        result
        for found in by_image.values()
        for result in sorted(found, key=lambda result: -result["score"])[:most]
    ]


def checked_classes(test: Coco) -> dict[int, set[int]]:
    """The classes that are annotated in each image, or known to be absent from it (LVIS)."""
    seen = {image["id"]: set(image["neg_category_ids"]) for image in test["images"]}
    for annotation in test["annotations"]:
        seen[annotation["image_id"]].add(annotation["category_id"])
    return seen


class _FederatedEval(COCOeval):  # type: ignore[misc]
    """pycocotools' matching, one class at a time, over the images that count for it."""

    def __init__(self, truth: COCO, found: COCO, kind: str, max_detections: int) -> None:
        super().__init__(truth, found, kind)
        self.params.maxDets = [max_detections]
        self.params.areaRng, self.params.areaRngLbl = self.params.areaRng[:1], ["all"]
        self._not_exhaustive = {
            key: set(image["not_exhaustive_category_ids"]) for key, image in truth.imgs.items()
        }

    def precision_of(self, category_id: int, image_ids: Sequence[int]) -> Any:
        """Precision (IoU thresholds, recalls) of one class; -1 if it has no annotation."""
        self.params.catIds, self.params.imgIds = [category_id], list(image_ids)
        self.evaluate()
        self.accumulate()
        return self.eval["precision"][:, :, 0, 0, 0]

    def evaluateImg(self, imgId: int, catId: int, aRng: Any, maxDet: int) -> Any:
        """Matches of one image, where a class not annotated throughout has no false positives."""
        found = super().evaluateImg(imgId, catId, aRng, maxDet)
        if found is not None and catId in self._not_exhaustive[imgId]:
            found["dtIgnore"] = np.logical_or(found["dtIgnore"], found["dtMatches"] == 0)
        return found


def _means(test: Coco, precision: Mapping[int, Any]) -> dict[str, float]:
    def mean(category_ids: Sequence[int], thresholds: slice) -> float:
        values = [precision[key][thresholds] for key in category_ids]
        defined = [part.mean() for part in values if (part > -1).all()]
        return float(np.mean(defined)) if defined else -1.0

    everything = [category["id"] for category in test["categories"]]
    figures = {
        "AP": mean(everything, slice(None)),
        "AP50": mean(everything, slice(0, 1)),
        "AP75": mean(everything, slice(5, 6)),
    }
    for name, frequency in _FREQUENCIES.items():
        group = [c["id"] for c in test["categories"] if c["frequency"] == frequency]
        figures[name] = mean(group, slice(None))
    return figures


def _complete(annotation: dict[str, Any]) -> dict[str, Any]:
    """An annotation with what pycocotools needs and some benchmarks leave out."""
    width, height = annotation["bbox"][2:]
    return {"iscrowd": 0, "area": width * height, **annotation}


def _of_shape(results: Sequence[Result], kind: str) -> list[Result]:
    left_out = _OTHER_SHAPE[kind]
    return [{k: v for k, v in result.items() if k != left_out} for result in results]


def _loaded(truth: COCO, results: Sequence[Result]) -> COCO:
    if results:
        return truth.loadRes(list(results))
    # loadRes looks at the first result.
    found = COCO()
    found.dataset = {**truth.dataset, "annotations": []}
    found.createIndex()
    return found
