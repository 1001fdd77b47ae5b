"""Scores of a field of labels: FiftyOne's COCO evaluation with pycocotools' figures beside it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import fiftyone as fo
from fiftyone import ViewField as F

from ..errors import DatasetError
from .banks import Progress
from .checks import dataset_of, listed, require_detections, require_images, require_name
from .coco_export import CocoTables, export_coco
from .coco_figures import CocoFigures, evaluate_coco, steps

logger = logging.getLogger(__name__)


def evaluate(
    samples: Any,
    label_field: str,
    gt_field: str,
    eval_key: str,
    masks: bool = True,
    *,
    classes: Iterable[str] | None = None,
    progress: Progress = None,
) -> Any:
    """Score a field of labels against ground truth, by FiftyOne and by pycocotools.

    FiftyOne's COCO evaluation marks true and false positives under ``eval_key`` for the App.
    Its own AP differs from pycocotools' where there are crowds or tied scores, and it has no
    figures by size, so pycocotools is run beside it: its twelve figures of boxes and twelve of
    masks are kept with the evaluation, exact; read them with ``coco_figures``.

    Where a ground truth box is not in whole pixels (COCO's own are not), FiftyOne cannot lay
    its mask over another: its marks and its own AP then come from boxes, which is logged.
    pycocotools' figures are exact in either case. Samples whose image cannot be read are left out
    of both, which is logged too.

    Args:
        samples: a dataset or view of images.
        label_field: predictions, ``Detections`` with ``confidence``.
        gt_field: ground truth, ``Detections``; an attribute ``iscrowd`` is honoured.
        eval_key: the evaluation's name; one that exists is replaced.
        masks: whether to score masks beside boxes. Every label must have one then.
        classes: score these classes only; all that either field holds if None.
        progress: FiftyOne's: True, False, a callback, or None for the configured default.

    Returns:
        FiftyOne's results, with ``mAP()``, ``print_report()``, ``plot_pr_curves()`` and so on;
        ``results.config.coco_figures`` holds pycocotools' figures as plain values.

    Raises:
        DatasetError: a field is missing or of another type, a class is unknown, a label cannot be
            scored, or no image can be read; names it.
    """
    require_name(eval_key, "evaluation")
    require_images(samples)
    for field in (label_field, gt_field):
        require_detections(samples, field)
    names = _classes(samples, (gt_field, label_field), classes)
    tables = export_coco(samples, label_field, gt_field, names, masks, progress)
    samples = _without(samples, tables.left_out)
    figures = _figures(tables, names, masks, progress)

    if classes is not None:
        for field in (label_field, gt_field):
            samples = samples.filter_labels(field, F("label").is_in(names), only_matches=False)
    if masks and not tables.pixel_tight:
        logger.warning(
            "Labels in %s have boxes that do not fit their masks in whole pixels: FiftyOne marks "
            "true and false positives by boxes. pycocotools' figures of masks are not affected.",
            listed((gt_field, label_field)),
        )
    try:
        results = samples.evaluate_detections(
            label_field,
            gt_field=gt_field,
            eval_key=eval_key,
            method="coco",
            use_masks=masks and tables.pixel_tight,
            compute_mAP=True,
            classes=names,
            progress=progress,
        )
    except ValueError as error:
        raise DatasetError(f"FiftyOne cannot evaluate under {eval_key!r}: {error}") from error
    results.config.coco_figures = figures.to_dict()
    results.save_config()
    return results


def coco_figures(dataset: Any, eval_key: str) -> CocoFigures:
    """The figures of pycocotools that ``evaluate`` kept with an evaluation.

    Raises:
        DatasetError: there is no such evaluation, or ``evaluate`` did not make it.
    """
    dataset = dataset_of(dataset)
    if eval_key not in dataset.list_evaluations():
        raise DatasetError(
            f"{dataset.name!r} has no evaluation {eval_key!r}; "
            f"it has {listed(dataset.list_evaluations()) or 'none'}."
        )
    kept = getattr(dataset.get_evaluation_info(eval_key).config, "coco_figures", None)
    if kept is None:
        raise DatasetError(
            f"The evaluation {eval_key!r} of {dataset.name!r} holds no figures of pycocotools; "
            "run evaluate() under this key."
        )
    return CocoFigures.from_dict(kept)


def _classes(samples: Any, fields: tuple[str, str], classes: Iterable[str] | None) -> list[str]:
    present = {name for field in fields for name in samples.distinct(f"{field}.detections.label")}
    if classes is None:
        if not present:
            raise DatasetError(f"The fields {listed(fields)} hold no label to score.")
        return sorted(present)
    wanted = [classes] if isinstance(classes, str) else list(classes)
    unknown = [name for name in wanted if name not in present]
    if unknown:
        raise DatasetError(
            f"There is no label of class {listed(unknown)} in {listed(fields)}; "
            f"their classes are {listed(sorted(present))}."
        )
    return wanted


def _without(samples: Any, left_out: dict[str, str]) -> Any:
    if not left_out:
        return samples
    first = next(iter(left_out.values()))
    if len(left_out) == len(samples):
        raise DatasetError(f"None of the {len(left_out)} images can be read; the first: {first}")
    logger.warning("%d samples are left out of the scores; the first: %s", len(left_out), first)
    return samples.exclude(list(left_out))


def _figures(tables: CocoTables, names: list[str], masks: bool, progress: Progress) -> CocoFigures:
    kinds = {"bbox": tables.boxes, "segm": tables.masks} if masks else {"bbox": tables.boxes}
    total = steps(tables.ground_truth) * len(kinds)
    with fo.ProgressBar(total=total, progress=progress, iters_str="comparisons") as bar:
        found = {
            kind: evaluate_coco(tables.ground_truth, results, kind, bar.update)
            for kind, results in kinds.items()
        }
    bbox, bbox_ap = found["bbox"]
    segm, segm_ap = found.get("segm", (None, None))
    return CocoFigures(names, bbox, bbox_ap, segm, segm_ap)
