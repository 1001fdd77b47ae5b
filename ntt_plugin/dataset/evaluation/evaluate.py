"""Scores of a field of labels: FiftyOne's COCO evaluation with pycocotools' figures beside it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import fiftyone as fo
from fiftyone import ViewField as F

from ...errors import DatasetError
from ..class_names import unmatched_classes
from ..database.dataset_locks import evaluation_lock
from ..database.errors import database_errors
from ..runtime.progress_bar import Progress, progress_bar
from ..samples.checks import (
    dataset_of,
    listed,
    literals,
    quoted,
    require_classes,
    require_detections,
    require_name,
)
from ..samples.label_selection import LabelKey, exclude_labels
from ..samples.views import image_view
from .coco_metrics import CocoFigures, CocoTables, evaluate_coco, export_coco, has_masks
from .exclusions import (
    NOT_LABELLED,
    NOT_SEGMENTED,
    UNREADABLE,
    UNTURNED,
    LeftOut,
    leave_out_missing,
    nothing_left,
)
from .fiftyone_evaluation import evaluate_by_fiftyone, require_free_key, require_unmarked

logger = logging.getLogger(__name__)


@database_errors(
    "the evaluation is not complete; start it again when it is back, which replaces it."
)
def evaluate(
    samples: Any,
    label_field: str,
    gt_field: str,
    eval_key: str,
    masks: bool = True,
    *,
    classes: Iterable[str] | None = None,
    group_slices: str | Iterable[str] | None = None,
    include_missing: bool = False,
    progress: Progress = None,
) -> Any:
    """Score a field of labels against ground truth, by FiftyOne and by pycocotools.

    FiftyOne's COCO evaluation marks true and false positives under ``eval_key`` for the App.
    Its own AP differs from pycocotools' where there are crowds or tied scores, and it has no
    figures by size. So pycocotools is run beside it: its twelve figures of boxes and twelve of
    masks are kept with the evaluation (``coco_figures`` reads them), and the Model Evaluation
    panel shows the main ones.

    Where a ground truth box is not in whole pixels (COCO's own are not), FiftyOne cannot compare
    masks: its marks and its own AP then come from boxes, which is logged. pycocotools' figures are
    exact in either case.

    Both leave out a label that cannot be scored (no name, no usable box, no or an empty mask, no
    confidence), a sample whose image cannot be read or whose ground truth seems to be made on the
    pixels before they are turned upright, and one in which a field was never written (None: it was
    not segmented, or not labelled). These are logged, and kept with their reasons in
    ``results.config.left_out``, as are notes: class names that look alike, masks that seem
    inverted, samples that a view holds twice, and ground truth without a single label, of which
    COCO's figures are -1.

    Args:
        samples: a dataset or view of images.
        label_field: predictions, ``Detections`` with ``confidence``.
        gt_field: ground truth, ``Detections``; an attribute ``iscrowd`` is honoured.
        eval_key: the evaluation's name; one that exists is replaced.
        masks: whether to score masks beside boxes.
        classes: score these classes only; all that either field holds if None.
        group_slices: slices to take of a grouped dataset; its active one if None.
        include_missing: score samples in which one of the fields was never written too, as images
            without predictions, or without true objects.
        progress: FiftyOne's: True, False, a callback, or None for the configured default.

    Returns:
        FiftyOne's results, with ``mAP()``, ``print_report()``, ``plot_pr_curves()`` and so on;
        ``results.config.coco_figures`` holds pycocotools' figures as plain values.

    Raises:
        DatasetError: a field is missing or of another type, a class is unknown, ``eval_key`` is
            the name of another kind of evaluation, of other fields or of something else, or
            another process makes it at this moment; or nothing of a field can be scored: it has no
            confidences, no masks, no image that can be read, or was never written in any of the
            samples; or the database does not answer.

    Example:
        >>> results = ntt.evaluate(dataset, "ntt", "ground_truth", eval_key="eval")
        >>> mask_ap = results.config.coco_figures["segm"]["AP"]
        >>> left_out = ntt.LeftOut.from_dict(results.config.left_out)
    """
    require_name(eval_key, "evaluation")
    left_out = LeftOut()
    given, samples = samples, image_view(samples, group_slices, left_out.notes)
    _require_fields(samples, label_field, gt_field, masks)
    # Two evaluations under one key would take each other's marks away; so the second one is
    # refused before it computes anything.
    with evaluation_lock(dataset_of(samples), eval_key) as lock:
        require_free_key(samples, eval_key, label_field, gt_field)
        require_unmarked(samples, eval_key, label_field, gt_field)
        if not include_missing:
            images = samples
            kinds = {label_field: NOT_SEGMENTED, gt_field: NOT_LABELLED}
            samples = leave_out_missing(images, kinds, left_out)
            if left_out.samples and not samples.limit(1).values("id"):
                raise nothing_left(given, images, [label_field, gt_field])
        paths = [f"{field}.detections" for field in (gt_field, label_field)]
        names = require_classes(samples, paths, classes)
        left_out.notes += unmatched_classes(samples, label_field, gt_field, names)
        tables = export_coco(samples, label_field, gt_field, names, masks, progress, left_out)
        _require_something(tables, left_out, label_field, gt_field)
        left_out.notes += _no_truth(tables, gt_field)
        if left_out:
            logger.warning("%s", left_out)
        figures = _figures(tables, names, masks, progress)

        if gone := left_out.of_kinds(UNREADABLE, UNTURNED):
            samples = samples.exclude([entry.sample for entry in gone])
        samples = exclude_labels(samples, map(LabelKey.of, left_out.labels))
        if classes is not None:
            wanted = F("label").is_in(literals(names))
            for field in (label_field, gt_field):
                samples = samples.filter_labels(field, wanted, only_matches=False)
        if masks and not tables.pixel_tight:
            logger.warning(
                "Labels in %s have masks that are not cropped to boxes in whole pixels, or files "
                "of masks that FiftyOne reads otherwise: FiftyOne marks true and false positives "
                "by boxes. pycocotools' figures of masks are not affected.",
                listed((gt_field, label_field)),
            )
        lock.require()
        use_masks = masks and tables.pixel_tight
        return evaluate_by_fiftyone(
            samples, label_field, gt_field, eval_key, figures, left_out, use_masks, progress
        )


@database_errors("nothing was changed; start again when it is back.")
def coco_figures(dataset: Any, eval_key: str) -> CocoFigures:
    """The figures of pycocotools that ``evaluate`` kept with an evaluation.

    Raises:
        DatasetError: there is no such evaluation, or ``evaluate`` did not make it.

    Example:
        >>> results = ntt.evaluate(dataset, "ntt", "ground_truth", eval_key="eval")
        >>> figures = ntt.coco_figures(dataset, "eval")
        >>> ap, ap_by_class = figures.segm["AP"], dict(zip(figures.classes, figures.segm_ap))
    """
    dataset = require_evaluation(dataset, eval_key)
    kept = getattr(dataset.get_evaluation_info(eval_key).config, "coco_figures", None)
    if kept is None:
        raise DatasetError(
            f"The evaluation {eval_key!r} of {dataset.name!r} holds no figures of pycocotools; "
            "run evaluate() under this key."
        )
    return CocoFigures.from_dict(kept)


def require_evaluation(dataset: Any, eval_key: str) -> Any:
    """The dataset of a collection of samples, which has an evaluation of that name.

    Raises:
        DatasetError: it has no such evaluation; names those it has.
    """
    dataset = dataset_of(dataset)
    if eval_key not in dataset.list_evaluations():
        raise DatasetError(
            f"{dataset.name!r} has no evaluation {quoted(eval_key)}; "
            f"it has {listed(dataset.list_evaluations()) or 'none'}."
        )
    return dataset


def _require_fields(samples: Any, label_field: str, gt_field: str, masks: bool) -> None:
    """Make sure that both are Detections, and hold what is scored: masks, and confidences."""
    for field in (label_field, gt_field):
        found = samples.get_field(field) if isinstance(field, str) else None
        if getattr(found, "document_type", None) is fo.Polylines:
            raise DatasetError(
                f"The field {field!r} holds Polylines, which COCO's evaluation does not score; "
                "make Detections with masks of them (Polyline.to_detection(frame_size=...))."
            )
        require_detections(samples, field)
    for field in (gt_field, label_field):
        if masks and samples.count(f"{field}.detections") and not has_masks(samples, field):
            raise DatasetError(
                f"No label in {field!r} has a mask. Score boxes alone with masks=False, or make "
                "masks of the boxes with masks_from_boxes()."
            )
    root = f"{label_field}.detections"
    if samples.count(root) and not samples.count(f"{root}.confidence"):
        raise DatasetError(
            f"No label in {label_field!r} has a confidence, so they cannot be ranked: this looks "
            "like ground truth. Give the field of predictions first and that of the truth second."
        )


def _require_something(
    tables: CocoTables, left_out: LeftOut, label_field: str, gt_field: str
) -> None:
    """Make sure that an image, and a label of each field that holds labels, is left to score."""
    gone = left_out.of_kinds(UNREADABLE, UNTURNED)
    if gone and not tables.ground_truth["images"]:
        verb = "scored" if left_out.of_kinds(UNTURNED) else "read"
        raise DatasetError(
            f"None of the {len(gone)} images can be {verb}; the first: {gone[0].reason}"
        )
    scored = {gt_field: tables.ground_truth["annotations"], label_field: tables.boxes}
    for field in scored:
        labels = [entry for entry in left_out.labels if entry.field == field]
        if labels and not scored[field]:
            raise DatasetError(
                f"None of the {len(labels)} labels in {field!r} can be scored; the first, "
                f"{labels[0].label} of {labels[0].filepath}: {labels[0].reason}"
            )


def _no_truth(tables: CocoTables, gt_field: str) -> list[str]:
    """A note where there is nothing to find, which COCO scores by -1."""
    if any(not annotation["iscrowd"] for annotation in tables.ground_truth["annotations"]):
        return []
    return [
        f"None of the {len(tables.ground_truth['images'])} images holds a label in {gt_field!r} "
        "that could be found, so AP and AR are -1 (not defined) and every prediction is a false "
        "positive. If there are objects in them, name the field that holds the true labels, or "
        "label the images."
    ]


def _figures(tables: CocoTables, names: list[str], masks: bool, progress: Progress) -> CocoFigures:
    kinds = {"bbox": tables.boxes, "segm": tables.masks} if masks else {"bbox": tables.boxes}
    truth = tables.ground_truth
    total = len(truth["images"]) * len(truth["categories"]) * len(kinds)
    with progress_bar(total, progress, "comparisons") as bar:
        found = {
            kind: evaluate_coco(truth, results, kind, bar.update) for kind, results in kinds.items()
        }
    bbox, bbox_ap = found["bbox"]
    segm, segm_ap = found.get("segm", (None, None))
    return CocoFigures(names, bbox, bbox_ap, segm, segm_ap)
