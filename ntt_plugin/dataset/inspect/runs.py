"""The runs over a dataset, as they are kept with it, and the scores of what they wrote."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
from fiftyone import ViewField as F

from ...engine.typing import Array
from ...errors import DatasetError
from ..database import custom_runs
from ..database.errors import database_errors
from ..database.fiftyone_internals import stored_dataset
from ..database.locks import is_held
from ..database.run_record import read_facts, read_head, recorded_fields
from ..samples.checks import dataset_of, is_whole, require_detections
from ..samples.sample_notes import SampleNote
from ..samples.views import all_images
from ..segmentation.report import SegmentReport, from_dict

# A run in which every sample failed has as many notes as samples.
_MOST_NOTES = 100


@dataclass(frozen=True)
class RunInfo:
    """The last run that wrote a field.

    Attributes:
        label_field: the field.
        kind: ``segmentation``, ``boxes`` (masks from boxes) or ``suggestions``.
        bank: the memory bank's name; for ``boxes`` the field of the boxes.
        bank_version: the bank's version then; 0 for ``boxes``.
        preset: the recipe's preset.
        state: ``running``, ``finished`` or ``stopped``, also by being killed.
        started: when it began, ISO 8601 in UTC; empty if its report is damaged or missing.
        seconds: wall time.
        segmented: samples that it labelled.
        instances: labels that it wrote to them.
        failed: number of samples that failed.
        notes: why they failed, then other remarks; the first hundred.
        exists: whether the field still exists; a run stays when its field is deleted or renamed.
        evaluations: names of the evaluations that scored the field.
    """

    label_field: str
    kind: str
    bank: str
    bank_version: int
    preset: str
    state: str
    started: str
    seconds: float
    segmented: int
    instances: int
    failed: int
    notes: tuple[SampleNote, ...]
    exists: bool
    evaluations: list[str]


@database_errors("nothing was changed; start again when it is back.")
def list_runs(dataset: Any) -> list[RunInfo]:
    """The last run of each field that runs wrote, the latest first, whichever process ran it.

    Reads the heads of the runs' records, not the samples.

    Raises:
        DatasetError: the dataset was deleted.

    Example:
        >>> [run] = ntt.list_runs(dataset)
        >>> run.label_field, run.bank, run.state
        ('ntt', 'animals', 'finished')
    """
    dataset = dataset_of(dataset)
    stored = stored_dataset(dataset, "sample_fields.name", "evaluations")
    there = {entry["name"] for entry in stored["sample_fields"]}
    evaluations = stored.get("evaluations") or {}
    configs = custom_runs.configs(evaluations.values(), "pred_field")
    scored: dict[str, list[str]] = defaultdict(list)
    for key, run in evaluations.items():
        scored[configs.get(run, {}).get("pred_field", "")].append(key)
    runs = [
        _run(dataset, field, field in there, scored[field]) for field in recorded_fields(dataset)
    ]
    return sorted(runs, key=lambda run: run.started, reverse=True)


@database_errors("nothing was changed; start again when it is back.")
def score_histogram(dataset: Any, label_field: str, bins: int = 20) -> dict[str, Array]:
    """Histogram of the confidences of each class from 0 to 1; one pass over the samples.

    Args:
        dataset: the dataset, or a view of it; of a grouped one all images.
        label_field: a field of ``Detections`` with ``confidence``.
        bins: number of equal bins; the last one holds 1 too.

    Returns:
        Number of labels in each bin, int (bins,), by class, sorted by name. Labels without a
        name or without a confidence from 0 to 1 are not counted.

    Raises:
        DatasetError: the field is of another type, or there is no bin.

    Example:
        >>> counts = ntt.score_histogram(dataset, "ntt", bins=10)
        >>> counts["cat"].shape
        (10,)
    """
    require_detections(dataset, label_field)
    if not is_whole(bins) or bins < 1:
        raise DatasetError(f"The confidences cannot be put into {bins!r} bins; give 1 or more.")
    bins = int(bins)
    counted = (F("confidence") >= 0) & (F("confidence") <= 1) & F("label").exists()
    place = (F("confidence") * bins).floor().min(bins - 1).to_int()
    # The bin's number goes first: a class may have any name.
    key = counted.if_else(place.to_string().concat(" ", F("label")), None)
    labels = F(f"{label_field}.detections[]")
    found = all_images(dataset).count_values(labels.apply(key))
    histogram: dict[str, Array] = {}
    for text, count in found.items():
        if text is None:
            continue
        index, _, label = text.partition(" ")
        if label.strip():
            histogram.setdefault(label, np.zeros(bins, dtype=np.int64))[int(index)] = count
    return dict(sorted(histogram.items()))


def _run(dataset: Any, field: str, exists: bool, evaluations: list[str]) -> RunInfo:
    facts, problem = read_facts(dataset, field), []
    kind = "suggestions" if "suggestions" in facts else "boxes" if "boxes" in facts else ""
    try:
        kept = read_head(dataset, field)
    except DatasetError as error:
        kept, problem = None, [SampleNote("", "", str(error))]
    if kept is not None:
        report = from_dict(kept)
    else:
        report = SegmentReport(
            field,
            str(facts.get("bank", facts.get("boxes", ""))),
            facts.get("recipe", {}).get("name", ""),
            facts.get("bank_version", 0),
            started="",
        )
    state = report.state
    if state == "running" and not is_held(dataset, field):
        state = "stopped"
    return RunInfo(
        label_field=field,
        kind=kind or "segmentation",
        bank=report.bank,
        bank_version=report.bank_version,
        preset=report.preset,
        state=state,
        started=report.started,
        seconds=report.seconds,
        segmented=report.segmented,
        instances=report.instances,
        failed=(kept or {}).get("failures", 0),
        notes=(*problem, *report.failed, *report.notes)[:_MOST_NOTES],
        exists=exists,
        evaluations=evaluations,
    )
