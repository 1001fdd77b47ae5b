"""The whole way of labels and images: references, bank, masks, scores, export, import, scores."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.types as fot
import numpy as np

import ntt_plugin as ntt
from tests.journeys.labels import FIELD, PLAIN, LabelKind

Array = np.ndarray[Any, Any]

FOUND, CUT, COPY = "ntt", "cut", "copy"
EXPORTS = ("coco", "fiftyone")


class RefusedByName(Exception):
    """The product refused something, and said what, where and why."""


class Wrong(AssertionError):
    """Something is neither as it should be nor refused by name."""


@dataclass(frozen=True, eq=False)
class Found:
    """A label that was found: its class, score, pixel box x1 y1 x2 y2 and mask in it."""

    label: str
    score: float
    box: tuple[int, int, int, int]
    mask: Array


@dataclass
class Record:
    """What the whole way gave.

    Attributes:
        bank: the memory bank.
        features: the feature of each reference, in order, by class.
        found: labels of the target.
        scores: pycocotools' figures, by name.
        again: those after export and import, by the export's format.
        again_found: labels after export and import, by the export's format.
        refused: how the product refused by name what came back from an export; empty if not.
    """

    bank: Any
    features: dict[str, Array]
    found: list[Found]
    scores: dict[str, float]
    again: dict[str, dict[str, float]] = field(default_factory=dict)
    again_found: dict[str, list[Found]] = field(default_factory=dict)
    refused: str = ""


def go(
    dataset: fo.Dataset,
    labels: LabelKind,
    segmenter: Any,
    size: tuple[int, int],
    folder: Path,
    exports: Iterable[str] = EXPORTS,
    kept: bool = False,
) -> Record:
    """Learn from the pool, segment the target, score, export, import and score again.

    Args:
        dataset: samples tagged by their role, with labels in ``FIELD`` and masks in ``PLAIN``.
        labels: the kind of the labels in ``FIELD``.
        segmenter: the engine.
        size: rows and columns of the target as it is shown.
        folder: an empty folder for files.
        exports: the formats to write and read.
        kept: whether to keep the target's proposals first, and segment from those.

    Raises:
        RefusedByName: the product refused the files or the labels, by name.
        Wrong: it went on with less than all, or refused without a name.
    """
    pool, target = dataset.match_tags("pool"), dataset.match_tags("target")
    learnt = FIELD
    if labels.boxes:
        _must_refuse_boxes(pool, segmenter)
        learnt = CUT
        with said(dataset, FIELD):
            report = ntt.masks_from_boxes(pool, FIELD, CUT, segmenter=segmenter, progress=False)
        lost = [note for note in report.notes if note.reason.startswith("no mask for")]
        require_nothing_left(dataset, [*report.failed, *lost])
    bank = build(pool, learnt, segmenter)
    found = segment(target, bank, segmenter, size, folder if kept else None)
    truth = FIELD if labels.scored else PLAIN
    if not labels.scored:
        _must_refuse_truth(target)
    record = Record(bank, _features(bank), found, scores(target, truth, "before"))
    for name in exports:
        written = PLAIN if name == "coco" and labels.lost_in_coco else truth
        other = _exported_and_imported(target, written, name, folder)
        try:
            record.again[name] = scores(other, written, "after")
            record.again_found[name] = _labels(other.first(), size)
        except RefusedByName as error:
            record.refused = str(error)
            record.again.pop(name, None)
        finally:
            other.delete()
    return record


class said:
    """Turns an error of the product that names something of a dataset into ``RefusedByName``."""

    def __init__(self, dataset: Any, *names: str) -> None:
        self._names = [*names, *_names_of(dataset)]

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> bool:
        if isinstance(error, ntt.NttError):
            require_named(str(error), self._names)
            raise RefusedByName(str(error)) from error
        return False


def require_named(text: str, names: Iterable[str]) -> None:
    """A refusal is a sentence that names the file, sample, label or field."""
    if not any(name in text for name in names) or len(text) < 40:
        raise Wrong(f"a refusal that names nothing of what was given: {text!r}")


def require_nothing_left(dataset: Any, failed: Iterable[Any]) -> None:
    """Nothing of a run failed, or each sample that did is named."""
    told = [f"{note.filepath}: {note.reason}" for note in failed]
    if told:
        for text in told:
            require_named(text, _names_of(dataset))
        raise RefusedByName("; ".join(told))


def build(pool: Any, learnt: str, segmenter: Any) -> Any:
    """A bank of every label of the pool."""
    with said(pool, repr(learnt)):
        bank = ntt.build_memory_bank(
            pool, learnt, "journey", segmenter=segmenter, overwrite=True, progress=False
        )
    if bank.refused:
        text = ntt.describe_refused(bank.refused)
        require_named(text, _names_of(pool))
        raise RefusedByName(text)
    return bank


def segment(
    target: Any,
    bank: Any,
    segmenter: Any,
    size: tuple[int, int],
    folder: Path | None = None,
) -> list[Found]:
    """The target's labels, from its image or from proposals that were kept before in a folder."""
    store: Any = ntt.ProposalStore(folder / "proposals") if folder else False
    with said(target):
        if folder:
            report = ntt.propose(target, segmenter=segmenter, cache=store, progress=False)
            require_nothing_left(target, report.failed)
        report = ntt.segment(
            target, bank, FOUND, segmenter=segmenter, cache=store, overwrite=True, progress=False
        )
    require_nothing_left(target, report.failed)
    if folder and report.from_cache != 1:
        raise Wrong("kept proposals were not used")
    return _labels(target.first(), size)


def scores(target: Any, truth: str, key: str, found: str = FOUND) -> dict[str, float]:
    """pycocotools' figures of boxes and masks."""
    with said(target, repr(truth)):
        results = ntt.evaluate(target, found, truth, key, progress=False)
    left_out = ntt.LeftOut.from_dict(results.config.left_out)
    if left_out.labels or left_out.samples:
        require_named(str(left_out), _names_of(target))
        raise RefusedByName(str(left_out))
    figures = ntt.coco_figures(target, key)
    named = {"segm": figures.segm, "bbox": figures.bbox}
    return {f"{kind} {name}": value for kind, part in named.items() for name, value in part.items()}


def scored_copy(target: Any) -> dict[str, float]:
    """The figures of the right masks against the labels of the kind: 1 if those are right."""
    for sample in target.iter_samples(autosave=True, progress=False):
        sample[COPY] = sample[PLAIN].copy()
        for label in sample[COPY].detections:
            label.confidence = 1.0
    return scores(target, FIELD, "copy", COPY)


def _must_refuse_boxes(pool: Any, segmenter: Any) -> None:
    try:
        build(pool, FIELD, segmenter)
    except RefusedByName as error:
        # What names no remedy for boxes is about something else: the file, or the sizes.
        if "masks_from_boxes" not in str(error):
            raise
    else:
        raise Wrong("boxes were learnt as if they were masks")


def _must_refuse_truth(target: Any) -> None:
    try:
        scores(target, FIELD, "refused")
    except RefusedByName:
        return
    raise Wrong("labels without masks were scored as masks")


def _exported_and_imported(target: Any, truth: str, name: str, folder: Path) -> fo.Dataset:
    fields = [truth, FOUND]
    if name == "fiftyone":
        where = str(folder / "exported")
        target.export(
            export_dir=where, dataset_type=fot.FiftyOneDataset, export_media=False, progress=False
        )
        return fo.Dataset.from_dir(
            dataset_dir=where, dataset_type=fot.FiftyOneDataset, progress=False
        )
    target.compute_metadata(progress=False)
    parts = []
    for kind in fields:
        path = str(folder / f"{kind}.json")
        target.export(
            labels_path=path,
            dataset_type=fot.COCODetectionDataset,
            label_field=kind,
            abs_paths=True,
            progress=False,
        )
        part = fo.Dataset.from_dir(
            labels_path=path,
            dataset_type=fot.COCODetectionDataset,
            label_types="segmentations",
            label_field=kind,
            progress=False,
        )
        parts.append(part)
    whole, other = parts
    whole.merge_samples(other, progress=False)
    other.delete()
    # COCO's importer calls the score an attribute.
    for sample in whole.iter_samples(autosave=True, progress=False):
        sample[FOUND] = sample[FOUND] or fo.Detections()
        for label in sample[FOUND].detections:
            if label.confidence is None:
                label.confidence = label["score"]
    return whole


def _labels(sample: Any, size: tuple[int, int]) -> list[Found]:
    height, width = size
    found = []
    for label in sample[FOUND].detections:
        x, y, w, h = label.bounding_box
        box = round(x * width), round(y * height), round((x + w) * width), round((y + h) * height)
        found.append(Found(label.label, label.confidence, box, label.get_mask() != 0))
    return found


def _features(bank: Any) -> dict[str, Array]:
    return {
        name: np.stack([np.asarray(stored.feature) for stored in bank.references(name)])
        for name in bank.classes
    }


def _names_of(samples: Any) -> list[str]:
    """What a sentence may name: files, samples and labels."""
    names = [*samples.values("id"), *map(Path, samples.values("filepath"))]
    for name, kind in samples.get_field_schema(embedded_doc_type=fo.Label).items():
        root = "polylines" if kind.document_type is fo.Polylines else "detections"
        names += samples.values(f"{name}.{root}.id", unwind=True)
    return [name.name if isinstance(name, Path) else name for name in names if name]
