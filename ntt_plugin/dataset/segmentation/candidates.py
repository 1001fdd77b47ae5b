"""Labels of fields as proposals: what an image's item carries, and the run's id for each sample."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import fiftyone as fo
from bson import ObjectId

from ...engine.images.load import shown_size
from ...errors import DatasetError
from ...worker.labels.given_candidates import candidate_entry, candidates_content
from ...worker.tasks.reading import image_state
from ..database.fiftyone_internals import stream
from ..labels.convert import box_problem, pixel_box
from ..labels.crowds import IS_CROWD, is_crowd_label
from ..labels.orientation import stored_pixels_problem
from ..labels.placed_masks import placed_mask
from ..samples.by_sample import BytesBySample
from ..samples.checks import as_names, dataset_of, is_number, listed, quoted, require_labels
from ..samples.fetching import each_fetched, fetch_documents, fetch_samples
from ..samples.sample_ids import ids_of
from .run_ids import RunIdBySample

GRID = "grid"
"""Names the segmenter's point grid among the sources of proposals."""

CANDIDATE_ATTRIBUTE: Mapping[str, type[fo.Field]] = {"candidate": fo.StringField}
"""The attribute of labels that were made of candidates: the candidate's id."""

_AT_ONCE = 500
# What a candidate's mask and rank are made of; its class does not matter.
_DECIDES = ("bounding_box", "confidence", "mask", "iscrowd")


@dataclass(frozen=True)
class ProposalSources:
    """Where a run's proposals come from.

    Attributes:
        fields: fields of labels.
        grid: whether the point grid is one of them.
        least: candidates with a lower confidence are left out.
    """

    fields: tuple[str, ...]
    grid: bool
    least: float = 0.0

    @property
    def are_grid_alone(self) -> bool:
        """Whether there are no candidates."""
        return not self.fields

    def in_words(self) -> list[str]:
        """The sources' names."""
        return [*([GRID] if self.grid else []), *self.fields]


def proposal_sources(
    images: Any, proposals: str | Iterable[str], min_confidence: float, label_field: str
) -> ProposalSources:
    """What the arguments ``proposals`` and ``min_confidence`` of a run mean.

    Raises:
        DatasetError: no source is named, one is no field of ``Detections`` or the field that is
            written; or the confidence is no number from 0 to 1.
    """
    names = list(dict.fromkeys(as_names("proposals", proposals)))
    if not names:
        raise DatasetError(
            f"There are no proposals without a source; name {GRID!r}, a field of labels, or both."
        )
    if not is_number(min_confidence) or not 0 <= min_confidence <= 1:
        raise DatasetError(
            f"min_confidence is {quoted(min_confidence)}; give a number from 0 to 1."
        )
    fields = tuple(name for name in names if name != GRID)
    if min_confidence and not fields:
        raise DatasetError(
            f"min_confidence is {min_confidence:g}, but it is for candidates and there are none; "
            "name a field of labels in proposals, or leave it out."
        )
    for name in fields:
        require_labels(images, name, (fo.Detections,))
        if name == label_field:
            raise DatasetError(
                f"The field {name!r} cannot be read for proposals and written at once; name "
                "another label_field."
            )
    return ProposalSources(fields, GRID in names, float(min_confidence))


ShownLabel = tuple[int, str]
"""A label by its field's place among the sources, and its id, which other fields may have, too."""


class ShownLabels:
    """Which labels of all sources a view shows; of a sample whose labels it all shows, nothing.

    Attributes:
        count: samples of the view.
        empty: those that show no label of the least confidence.
    """

    def __init__(self, found: Iterable[tuple[str, Sequence[ShownLabel] | None]]) -> None:
        """Keep what is shown of samples, by id: the labels, or None where all are shown."""
        self.count = self.empty = 0
        self._labels = bytearray()
        self._places = BytesBySample(self._kept(found), _PLACE.size)

    def of(self, sample_id: str) -> Container[ShownLabel]:
        """The labels that are shown of a sample."""
        if (place := self._places.get(sample_id)) is None:
            return _ALL
        start, end = _PLACE.unpack(place)
        labels = _LABEL.iter_unpack(self._labels[start:end])
        return {(field, label_id.hex()) for field, label_id in labels}

    def _kept(
        self, found: Iterable[tuple[str, Sequence[ShownLabel] | None]]
    ) -> Iterator[tuple[str, bytes]]:
        for sample_id, labels in found:
            if labels is not None:
                start = len(self._labels)
                for field, label_id in labels:
                    self._labels += _LABEL.pack(field, bytes.fromhex(label_id))
                yield sample_id, _PLACE.pack(start, len(self._labels))


class _All(Container[ShownLabel]):
    def __contains__(self, label: object) -> bool:
        return True


_PLACE = struct.Struct("<QQ")
_LABEL = struct.Struct("<H12s")
_ALL = _All()


def shown_labels(images: Any, sources: ProposalSources) -> ShownLabels:
    """Which labels of all sources a view shows of each sample."""
    view = images.select_fields(list(sources.fields))
    wanted = {
        f"{field}.detections.{name}": 1
        for field in sources.fields
        for name in ("_id", "confidence")
    }
    found = stream(view, [{"$project": wanted}], _AT_ONCE)
    counts = [0, 0]

    def hidden() -> Iterator[tuple[str, list[ShownLabel] | None]]:
        while some := {str(one["_id"]): one for one in islice(found, _AT_ONCE)}:
            documents = fetch_documents(dataset_of(images), wanted, list(some))
            for sample_id, one in some.items():
                counts[0] += 1
                counts[1] += not _any_counts(one, sources)
                labels = _labels_of(one, sources)
                stored = _labels_of(documents.get(sample_id, {}), sources)
                yield sample_id, None if labels == stored else labels

    shown = ShownLabels(hidden())
    shown.count, shown.empty = counts
    return shown


def _labels_of(document: Mapping[str, Any], sources: ProposalSources) -> list[ShownLabel]:
    # A label without an id gets a new one each time that FiftyOne loads it: no view can name it.
    return [
        (place, str(label["_id"]))
        for place, field in enumerate(sources.fields)
        for label in (document.get(field) or {}).get("detections") or ()
        if isinstance(label.get("_id"), ObjectId)
    ]


def _any_counts(document: Mapping[str, Any], sources: ProposalSources) -> bool:
    """Whether some label is not left out for its confidence; other reasons are found later."""
    return any(
        not isinstance(value := label.get("confidence"), (int, float)) or value >= sources.least
        for field in sources.fields
        for label in (document.get(field) or {}).get("detections") or ()
    )


def run_ids(images: Any, run: str, sources: ProposalSources, shown: ShownLabels) -> RunIdBySample:
    """A run's id for each sample: it depends on the candidates' boxes, masks and confidences."""
    dataset, sample_ids = dataset_of(images), ids_of(images)
    parts = (sample_ids[at : at + _AT_ONCE] for at in range(0, len(sample_ids), _AT_ONCE))
    return RunIdBySample(
        pair for some in parts for pair in _run_ids(dataset, run, sources, shown, some).items()
    )


def contents(
    images: Any,
    run: str,
    sources: ProposalSources,
    shown: ShownLabels,
    runs: Mapping[str, str],
    sample_ids: Sequence[str],
) -> dict[str, tuple[dict[str, Any], list[str]] | Exception]:
    """The candidates of some samples, and notes on those that cannot be used.

    A sample whose candidates are not those of its run's id any more gets an error.
    """
    dataset, fields = dataset_of(images), list(sources.fields)
    samples = fetch_samples(dataset, fields, sample_ids)
    now = _run_ids(dataset, run, sources, shown, sample_ids)

    def content(sample_id: str, sample: Any) -> tuple[dict[str, Any], list[str]]:
        if now[sample_id] != runs.get(sample_id):
            raise DatasetError(
                f"Its labels in {listed(fields)} changed after the run had begun; run again "
                "to use them as they are now."
            )
        return _content(sample, sources, shown.of(sample_id))

    return each_fetched(samples, content)


def _run_ids(
    dataset: Any,
    run: str,
    sources: ProposalSources,
    shown: ShownLabels,
    sample_ids: Sequence[str],
) -> dict[str, str]:
    wanted = {
        f"{field}.detections.{name}": 1
        for field in sources.fields
        for name in ("_id", "mask_path", *_DECIDES)
    }
    documents = fetch_documents(dataset, wanted, list(sample_ids))
    return {key: _run_id(run, sources, documents.get(key, {}), shown.of(key)) for key in sample_ids}


def _run_id(
    run: str, sources: ProposalSources, document: Mapping[str, Any], shown: Container[ShownLabel]
) -> str:
    digest = hashlib.sha256(repr((run, sources)).encode())
    for place, field in enumerate(sources.fields):
        for label in (document.get(field) or {}).get("detections") or ():
            if (place, str(label.get("_id"))) in shown:
                values = [label.get(name) for name in _DECIDES]
                path = label.get("mask_path")
                state = image_state(path) if isinstance(path, str) else None
                digest.update(repr((field, str(label.get("_id")), path, state, values)).encode())
    return digest.hexdigest()[:16]


def _content(
    sample: Any, sources: ProposalSources, shown: Container[ShownLabel]
) -> tuple[dict[str, Any], list[str]]:
    """A sample's candidates as its item carries them; notes on those of no use.

    Raises:
        DatasetError: they seem to be made on the photograph before it is turned upright.
        ImageError: the image's header cannot be read.
    """
    labels = [
        label
        for place, field in enumerate(sources.fields)
        for label in (sample[field].detections if sample[field] else [])
        if (place, label.id) in shown
    ]
    if problem := stored_pixels_problem(sample, labels):
        raise DatasetError(problem)
    size = shown_size(sample.filepath)
    entries, notes = [], []
    for label in labels:
        try:
            confidence = _confidence(label)
            if confidence >= sources.least:
                entries.append(_entry(label, confidence, size))
        except DatasetError as error:
            notes.append(f"the candidate {label.id} was left out: {error}")
    return candidates_content(entries, sources.grid), notes


def _confidence(label: fo.Detection) -> float:
    """What stands for the predicted IoU: 1 where there is none.

    Raises:
        DatasetError: it is no number from 0 to 1.
    """
    value = label.confidence
    if value is None:
        return 1.0
    if not isinstance(value, (int, float)) or math.isnan(value) or not 0 <= value <= 1:
        raise DatasetError(f"Its confidence is {quoted(value)}, which is no number from 0 to 1.")
    return float(value)


def _entry(label: fo.Detection, confidence: float, size: tuple[int, int]) -> dict[str, Any]:
    """A label as its item carries it.

    Raises:
        DatasetError: it is a crowd, or its box or mask cannot be used.
    """
    if is_crowd_label(label):
        raise DatasetError(IS_CROWD)
    if problem := box_problem(label.bounding_box):
        raise DatasetError(problem)
    if label.has_mask:
        placed = placed_mask(label, size)
        return candidate_entry(label.id, (), confidence, placed.mask, (placed.left, placed.top))
    height, width = size
    x1, y1, x2, y2 = pixel_box(label, size)
    box = max(0.0, x1), max(0.0, y1), min(float(width), x2), min(float(height), y2)
    if box[0] >= box[2] or box[1] >= box[3]:
        raise DatasetError(f"Its box {quoted(label.bounding_box)} covers nothing of the image.")
    return candidate_entry(label.id, box, confidence)
