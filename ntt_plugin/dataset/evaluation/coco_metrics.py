"""Labels as COCO's tables, and the figures that pycocotools computes of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from typing import Any

import fiftyone as fo
import numpy as np
from pycocotools import coco, cocoeval
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ...engine.images.load import shown_size
from ...errors import DatasetError, ImageError
from ..labels.convert import pixel_box
from ..labels.crowds import is_crowd_label
from ..labels.orientation import stored_pixels_problem
from ..labels.placed_masks import INVERTED, PlacedMask, placed_mask, seems_inverted
from ..runtime.progress_bar import Progress, each_sample
from .exclusions import UNREADABLE, UNTURNED, LeftOut, LeftOutLabel


@dataclass
class CocoTables:
    """A view's ground truth and predictions in COCO's form.

    Attributes:
        ground_truth: an annotation file's content; image ids count from 1 in the view's order.
        boxes: a results file's content with ``bbox``.
        masks: a results file's content with ``segmentation`` (RLE); empty without masks.
        pixel_tight: whether FiftyOne's own evaluation of masks sees the same pixels: every mask
            is cropped to a box in whole pixels, and FiftyOne reads it as we do.
    """

    ground_truth: dict[str, Any]
    boxes: list[dict[str, Any]] = field(default_factory=list)
    masks: list[dict[str, Any]] = field(default_factory=list)
    pixel_tight: bool = True


def export_coco(
    samples: Any,
    label_field: str | None,
    gt_field: str,
    classes: Iterable[str],
    masks: bool,
    progress: Progress,
    left_out: LeftOut,
) -> CocoTables:
    """Read both fields of every sample; a field that was never written counts as empty.

    Areas are the masks' pixel counts where there are masks, else the boxes' areas; ``iscrowd``
    is the ground truth's attribute of that name. Boxes come back as the pixels they were made
    from, without the noise of relative coordinates. Left out is a sample whose image cannot be
    read, or whose ground truth seems to be made on the pixels before they are turned upright, and
    a label without a name, a usable box, a mask where masks are wanted, or (a prediction) a
    confidence. Masks that seem to be inverted are scored, and noted.

    Args:
        samples: a dataset or view of images.
        label_field: predictions, ``Detections`` with ``confidence``; None to read none.
        gt_field: ground truth, ``Detections``.
        classes: labels of other classes are passed over.
        masks: whether masks are wanted.
        progress: FiftyOne's ``progress``.
        left_out: grows by what is left out, and by notes.
    """
    categories = {label: index for index, label in enumerate(classes, start=1)}
    tables = CocoTables(
        {
            "images": [],
            "annotations": [],
            "categories": [{"id": index, "name": label} for label, index in categories.items()],
        }
    )
    roles = {gt_field: True} | ({} if label_field is None else {label_field: False})
    inverted: dict[str, list[str]] = {name: [] for name in roles}
    view = samples.select_fields(list(roles))
    for image_id, sample in enumerate(each_sample(view, progress), start=1):
        truth = sample[gt_field].detections if sample[gt_field] is not None else []
        try:
            size = shown_size(sample.filepath)
            problem = stored_pixels_problem(sample, truth)
        except ImageError as error:
            left_out.add_sample(sample.id, sample.filepath, UNREADABLE, str(error))
            continue
        if problem:
            left_out.add_sample(sample.id, sample.filepath, UNTURNED, problem)
            continue
        tables.ground_truth["images"].append(
            {"id": image_id, "height": size[0], "width": size[1], "file_name": sample.filepath}
        )
        for name, is_truth in roles.items():
            for detection in _detections(sample[name], categories):
                try:
                    found, placed = _annotation(detection, size, masks)
                    found |= {"image_id": image_id, "category_id": categories[detection.label]}
                    _add(tables, found, detection, is_truth)
                except DatasetError as error:
                    left_out.labels.append(
                        LeftOutLabel(name, detection.id, sample.id, sample.filepath, str(error))
                    )
                    continue
                if placed is not None:
                    tables.pixel_tight &= placed.as_stored or not masks
                    if seems_inverted(placed.mask):
                        inverted[name].append(f"{detection.id} of {sample.filepath}")
    left_out.notes += [
        f"{len(labels)} masks in {name!r} may be inverted; "
        f"{INVERTED.format(f'first, {labels[0]}, ')}."
        for name, labels in inverted.items()
        if labels
    ]
    return tables


def has_masks(samples: Any, field: str) -> bool:
    """Whether any label of a field of ``Detections`` has a mask."""
    return any(samples.count(f"{field}.detections.{name}") for name in ("mask", "mask_path"))


def _annotation(
    detection: fo.Detection, size: tuple[int, int], masks: bool
) -> tuple[dict[str, Any], PlacedMask | None]:
    if not _is_named(detection):
        raise DatasetError("It has no name.")
    x1, y1, x2, y2 = pixel_box(detection, size)
    width, height = round(x2 - x1, 9), round(y2 - y1, 9)
    found: dict[str, Any] = {"bbox": [x1, y1, width, height], "area": width * height}
    if not (masks or detection.has_mask):
        return found, None
    placed = placed_mask(detection, size)
    found["area"] = float(np.count_nonzero(placed.mask))
    if masks:
        full = np.asfortranarray(placed.full(size), dtype=np.uint8)
        found["segmentation"] = mask_utils.encode(full)
    return found, placed


def _add(
    tables: CocoTables, found: dict[str, Any], detection: fo.Detection, is_truth: bool
) -> None:
    if is_truth:
        annotations = tables.ground_truth["annotations"]
        # pycocotools takes id 0 for "no match".
        found |= {"id": len(annotations) + 1, "iscrowd": int(is_crowd_label(detection))}
        annotations.append(found)
        return
    score = detection.confidence
    if score is None or not math.isfinite(score):
        raise DatasetError(f"Its confidence is {score}, so it cannot be ranked.")
    # pycocotools takes a result's size class from its box when there is one, so a mask has none.
    del found["area"]
    box, mask = found.pop("bbox"), found.pop("segmentation", None)
    tables.boxes.append({**found, "bbox": box, "score": score})
    if mask is not None:
        tables.masks.append({**found, "segmentation": mask, "score": score})


def _detections(
    labels: fo.Detections | None, categories: Collection[str]
) -> Iterator[fo.Detection]:
    for detection in labels.detections if labels is not None else []:
        if detection.label in categories or not _is_named(detection):
            yield detection


def _is_named(detection: fo.Detection) -> bool:
    return bool(detection.label and detection.label.strip())


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
