"""What a run over samples did, and what ended it: counted, named, with reasons."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timezone
from typing import Any

from pymongo.errors import PyMongoError

from ...engine.device.batching import is_out_of_memory
from ...errors import DatasetError, NoFileHandlesError, WorkerError
from ..database.errors import database_errors, is_disk_full
from ..database.run_record import is_stored, read_results
from ..samples.checks import dataset_of
from ..samples.sample_notes import SampleNote, in_words


@dataclass
class SegmentReport:
    """What a run did; also kept with the dataset while it runs and when it has ended.

    Attributes:
        label_field: the field written.
        bank: the memory bank's name; for ``masks_from_boxes`` the field of the boxes.
        bank_version: the bank's version; 0 for ``masks_from_boxes``.
        preset: the recipe's preset.
        device: where the networks ran.
        state: ``running``, ``finished`` or ``stopped``. A run that was killed stays ``running``.
        started: when it began, ISO 8601 in UTC.
        seconds: wall time so far, from the first image on.
        start_seconds: what workers took to start before that; 0 without workers.
        segmented: samples labelled now.
        instances: labels written to them.
        from_cache: number of samples labelled from cached proposals, without running a network.
        skipped: samples that an earlier call of the same run had labelled.
        kept: labels of these samples that people tagged, edited, judged or drew, and that stay.
        overlapping: new labels that were left out because one of those shows the same object.
        dropped: labels of people that ``overwrite="everything"`` took away.
        deleted: samples that were deleted meanwhile.
        failed: samples that could not be done, each with the reason.
        notes: what was done about unusual samples, and what else happened.
        segmented_ids: ids of the samples labelled now.
        skipped_ids: ids of the samples labelled before.
    """

    label_field: str
    bank: str
    preset: str
    bank_version: int = 0
    device: str = ""
    state: str = "running"
    started: str = field(default_factory=lambda: _utc_now())
    seconds: float = 0.0
    start_seconds: float = 0.0
    segmented: int = 0
    instances: int = 0
    from_cache: int = 0
    skipped: int = 0
    kept: int = 0
    overlapping: int = 0
    dropped: int = 0
    deleted: int = 0
    failed: list[SampleNote] = field(default_factory=list)
    notes: list[SampleNote] = field(default_factory=list)
    segmented_ids: Sequence[str] = field(default_factory=list)
    skipped_ids: Sequence[str] = field(default_factory=list)

    def __str__(self) -> str:
        """The counts in words, for logs and messages."""
        start = f" after {self.start_seconds:.1f} s to start workers" if self.start_seconds else ""
        parts = [
            f"{self.instances} instances in {self.segmented} images "
            f"({self.seconds:.1f} s{start}) into {self.label_field!r} with {self.bank!r}"
        ]
        if self.state != "finished":
            parts.append("still running, or killed" if self.state == "running" else self.state)
        if self.from_cache:
            parts.append(f"{self.from_cache} of them from kept proposals")
        if self.skipped:
            parts.append(f"{self.skipped} done before")
        if self.kept:
            parts.append(
                f"{self.kept} labels that people made or judged stay, and {self.overlapping} new "
                "ones that overlap them were left out"
            )
        if self.dropped:
            parts.append(f"{self.dropped} labels that people made or judged were taken away")
        if self.deleted:
            parts.append(f"{self.deleted} deleted meanwhile")
        parts += [*in_words(self.failed, "failed"), *in_words(self.notes, "to note")]
        return "; ".join(parts)


@database_errors("nothing was changed; start again when it is back.")
def load_segment_report(dataset: Any, label_field: str) -> SegmentReport:
    """The report of the last run that wrote a field, also of one that runs or was killed.

    Of a run that was killed it tells what was done up to 20 seconds before. It tells what the
    run did, not what is there now: it stays, under the name that the run wrote, when labels are
    deleted afterwards, or the field is deleted or renamed.

    Args:
        dataset: the dataset, or a view of it.
        label_field: the field that the run wrote.

    Raises:
        DatasetError: no run wrote that field, or its report is damaged.

    Example:
        >>> ntt.load_segment_report(dataset, "ntt").state
        'finished'
    """
    return read_report(dataset, label_field)


def read_report(dataset: Any, label_field: str) -> SegmentReport:
    """As ``load_segment_report``, for what goes on without one, but not without the database.

    Raises:
        DatasetError: no run wrote that field, or its report is damaged.
        ConnectionFailure: the database does not answer.
    """
    dataset = dataset_of(dataset)
    kept = (read_results(dataset, label_field) or {}).get("report")
    if not isinstance(kept, dict):
        raise DatasetError(f"{dataset.name!r} keeps no report of a run into {label_field!r}.")
    return from_dict(kept)


def to_dict(report: SegmentReport) -> dict[str, Any]:
    """A report as ``custom_runs.encode`` takes it."""
    return asdict(report)


def from_dict(kept: dict[str, Any]) -> SegmentReport:
    """A report that ``to_dict`` gave; fields of a newer version of this plugin are left out."""
    known = {entry.name for entry in fields(SegmentReport)}
    values = {name: value for name, value in kept.items() if name in known}
    for name in ("failed", "notes"):
        values[name] = [SampleNote(**note) for note in values.get(name, [])]
    return SegmentReport(**values)


def _utc_now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


# As Python says it in a plain RuntimeError.
_NO_THREAD = "can't start new thread"


def stop_reason(error: BaseException, dataset_id: Any, field: str) -> str | None:
    """Message for an error that ends a whole run; None if the error is raised as it is.

    ``field`` is the one that the run writes, which was there before.
    """
    if is_disk_full(error):
        return "The disk of the database is full; free some space."
    if isinstance(error, (DatasetError, NoFileHandlesError, WorkerError)):
        return str(error)
    if problem := no_memory(error):
        return problem
    # FiftyOne raises a ValueError of a field that it does not find.
    with suppress(PyMongoError):
        if isinstance(error, Exception) and not is_stored(dataset_id, field):
            return deleted(field)
    return None


def no_memory(error: BaseException) -> str | None:
    """What the system had no memory for, in words; None if the error is about something else."""
    if is_out_of_memory(error):
        return f"There is not enough memory left ({error!s:.200}); close other programs."
    if _NO_THREAD in str(error):
        return (
            f"The system gives no memory for another thread ({error}); close other programs, or "
            "raise the limits of memory and of processes (ulimit -v, ulimit -u)."
        )
    return None


def deleted(field: str) -> str:
    """That the dataset or the field that a run writes is there no more, and what to do."""
    return (
        f"The dataset or its field {field!r} was deleted during the run, or renamed; look under "
        "its new name, or run again."
    )
