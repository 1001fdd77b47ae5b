"""The figures of pycocotools."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from pycocotools import coco, cocoeval
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

FIGURES = (
    "AP",
    "AP50",
    "AP75",
    "AP_small",
    "AP_medium",
    "AP_large",
    "AR_1",
    "AR_10",
    "AR_100",
    "AR_small",
    "AR_medium",
    "AR_large",
)
"""The twelve figures in pycocotools' order."""

_IN_THE_PANEL = {"AP": "AP", "AP50": "AP at IoU 0.50", "AP75": "AP at IoU 0.75"}
_KINDS = {"segm": "Masks", "bbox": "Boxes"}


@dataclass(frozen=True)
class CocoFigures:
    """The figures of one evaluation; -1 where one is not defined.

    Attributes:
        classes: names of all classes.
        bbox: the twelve figures of boxes, by the names in ``FIGURES``.
        bbox_ap: AP of boxes by class, in the order of ``classes``.
        segm: the twelve figures of masks; None if only boxes were evaluated.
        segm_ap: AP of masks by class; None likewise.
    """

    classes: list[str]
    bbox: dict[str, float]
    bbox_ap: list[float]
    segm: dict[str, float] | None = None
    segm_ap: list[float] | None = None

    def for_panel(self) -> dict[str, dict[str, Any]]:
        """The main figures as FiftyOne's results keep what an ``EvaluationMetric`` computes.

        The Model Evaluation panel lists them in its summary. In this form they need no registered
        operator, so they are shown too where this package is not installed as a plugin.
        """
        found = {}
        for kind, words in _KINDS.items():
            for name, value in (getattr(self, kind) or {}).items():
                if name in _IN_THE_PANEL and value >= 0:
                    key = f"pycocotools_{kind}_{name}"
                    found[f"@ntt/no-time-to-train/{key}"] = {
                        "key": key,
                        "value": value,
                        "label": f"{words}, {_IN_THE_PANEL[name]} (pycocotools)",
                        "lower_is_better": False,
                    }
        return found

    def to_dict(self) -> dict[str, Any]:
        """The figures as plain values that MongoDB and JSON take."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CocoFigures:
        """The figures that ``to_dict`` gave, also as MongoDB returns them."""
        segm, segm_ap = values["segm"], values["segm_ap"]
        return cls(
            classes=list(values["classes"]),
            bbox=dict(values["bbox"]),
            bbox_ap=list(values["bbox_ap"]),
            segm=None if segm is None else dict(segm),
            segm_ap=None if segm_ap is None else list(segm_ap),
        )


def evaluate_coco(
    ground_truth: dict[str, Any],
    results: Sequence[dict[str, Any]],
    kind: str,
    tick: Callable[[], None] | None = None,
) -> tuple[dict[str, float], list[float]]:
    """Run pycocotools over a COCO annotation dict and a COCO results list.

    Args:
        ground_truth: ``images``, ``categories`` (ids from 1) and ``annotations``.
        results: detections with ``bbox`` or, for ``segm``, ``segmentation`` alone: pycocotools
            takes a result's size class from its box when there is one.
        kind: ``bbox`` or ``segm``.
        tick: called once for each image and category, for a progress bar.

    Returns:
        The twelve figures by name, and AP by category in order of category id.
    """
    with _silent_pycocotools():
        truth = COCO()
        truth.dataset = ground_truth
        truth.createIndex()
        found = truth.loadRes(list(results)) if results else _no_results(ground_truth)
        evaluation = _TickingEval(truth, found, kind, tick or (lambda: None))
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    figures = dict(zip(FIGURES, (float(value) for value in evaluation.stats), strict=True))
    # Threshold x recall x category x area (all) x most detections (100).
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    return figures, [_mean(precision[:, :, k]) for k in range(precision.shape[2])]


class _TickingEval(COCOeval):  # type: ignore[misc]
    """pycocotools' evaluation with a callback per image and category, for progress."""

    def __init__(self, truth: COCO, found: COCO, kind: str, tick: Callable[[], None]) -> None:
        super().__init__(truth, found, kind)
        self._tick = tick

    def computeIoU(self, imgId: int, catId: int) -> Any:
        """Overlaps of one image and category: nearly all of the time goes here."""
        self._tick()
        return super().computeIoU(imgId, catId)


_silent: ContextVar[bool] = ContextVar("silent", default=False)


def _print(*words: object, **options: Any) -> None:
    if not _silent.get():
        print(*words, **options)


@contextmanager
def _silent_pycocotools() -> Iterator[None]:
    """Keep pycocotools from printing, in this thread alone.

    ``sys.stdout`` belongs to the whole process: two threads that replace it at the same moment
    put it back in the wrong order.
    """
    for module in (coco, cocoeval):
        module.print = _print
    token = _silent.set(True)
    try:
        yield
    finally:
        _silent.reset(token)


def _no_results(ground_truth: dict[str, Any]) -> COCO:
    # loadRes() looks at the first result, so an empty list needs an index of its own.
    found = COCO()
    found.dataset = {**ground_truth, "annotations": []}
    found.createIndex()
    return found


def _mean(precision: np.ndarray[Any, Any]) -> float:
    defined = precision[precision > -1]
    return float(defined.mean()) if defined.size else -1.0
