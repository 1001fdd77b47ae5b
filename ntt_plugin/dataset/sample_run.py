"""Any work over samples that writes labels: read ahead, sample by sample, and safe to kill.

A sample is written by one update of its document, after the files of its masks. So it either
has all its labels or none, and what has none is what a second call has to do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from typing import Any

import fiftyone as fo
from bson import ObjectId
from pymongo.errors import ConnectionFailure, DocumentTooLarge, OperationFailure

from ..errors import DatasetError
from .banks import Progress
from .label_field import RunIds, run_of
from .mask_files import MaskFiles, MaskFolderError, are_too_large
from .reading_ahead import ReadingAhead, ReadSample, Recalled
from .report import SampleNote, SegmentReport, to_dict
from .run_lock import LockLostError, RunLock
from .run_record import is_stored, keep_results
from .views import all_images

KEEP_SECONDS = 20.0
# A report that takes long to keep is kept less often: this share of the time at most.
_KEEP_SHARE = 0.02

_TOO_LARGE_CODES = (10334, 17419, 17420)
_DISK_FULL_CODES = (14031,)


class _FilledError(Exception):
    """The sample got labels from elsewhere meanwhile, which are not to be replaced."""

    def __init__(self) -> None:
        super().__init__("it got labels from elsewhere meanwhile, which are left as they are")


@dataclass(frozen=True)
class Labelled:
    """What the work on one sample gave.

    Attributes:
        labels: its labels, with masks.
        notes: what a person should know of them, a sentence each.
        from_cache: whether they were made without a network, from kept proposals.
    """

    labels: list[fo.Detection]
    notes: Sequence[str] = ()
    from_cache: bool = False


@dataclass(frozen=True)
class Work:
    """What is done to each sample.

    Attributes:
        label: a sample and its image to labels. What it raises fails that sample only.
        recall: gives what is kept of an image's file, in place of which the image is not read.
        finish: ends the work; gives what a person should know of it, a sentence each.
    """

    label: Callable[[ReadSample], Labelled]
    recall: Callable[[str], Recalled | None] | None = None
    finish: Callable[[], Sequence[str]] = tuple


@dataclass(frozen=True)
class SampleRun:
    """A checked run, ready to go.

    Attributes:
        dataset: the dataset.
        dataset_id: its id; a dataset that was deleted does not tell it any more.
        run: the run's id, kept with each sample's labels.
        work: what is done to each sample.
        read: the fields that the work reads, beside the file's path.
        masks: where files of masks go.
        all_in_files: write every mask to a file, not only what is too large for the database.
        report: grows as the run goes; names the field that is written.
        lock: the field's lock, held.
    """

    dataset: Any
    dataset_id: Any
    run: RunIds
    work: Work
    read: Sequence[str]
    masks: MaskFiles
    all_in_files: bool
    report: SegmentReport
    lock: RunLock


def run_samples(run: SampleRun, sample_ids: Sequence[str], progress: Progress) -> None:
    """Go through samples and write their labels; ``run.report`` grows meanwhile.

    An exception out of the progress callback stops the run: the report is kept as ``stopped``,
    and nothing is half written.

    Args:
        run: the run.
        sample_ids: the samples to do, in order.
        progress: FiftyOne's.

    Raises:
        DatasetError: nothing more can be written: the database is gone, the dataset or field was
            deleted, the disk is full, or another run took over. Says how far it came.
    """
    keeper = _ReportKeeper(run)
    try:
        keeper.keep()
        _do_all(run, sample_ids, progress, keeper)
        run.report.state = "finished"
        keeper.keep()
    except ConnectionFailure as error:
        run.report.state = "stopped"
        problem = f"The database of {run.report.label_field!r} does not answer ({error!s:.200})."
        raise DatasetError(f"{problem} {_so_far(run, sample_ids)}") from error
    except BaseException as error:
        run.report.state = "stopped"
        keeper.keep_if_possible()
        if isinstance(error, DatasetError):
            raise DatasetError(f"{error} {_so_far(run, sample_ids)}") from error
        raise


def _do_all(
    run: SampleRun, sample_ids: Sequence[str], progress: Progress, keeper: _ReportKeeper
) -> None:
    try:
        with (
            fo.ProgressBar(total=len(sample_ids), progress=progress) as bar,
            ReadingAhead(partial(_fetch, run), sample_ids, recall=run.work.recall) as ahead,
        ):
            for read in ahead:
                run.lock.require()
                _do(run, read)
                keeper.keep_if_due()
                bar.update()
    finally:
        notes = run.work.finish()
        run.report.notes.extend(SampleNote("", "", note) for note in notes)


def _do(run: SampleRun, read: ReadSample) -> None:
    report, sample_id = run.report, read.sample_id
    filepath = ""
    try:
        if read.sample is None and read.error is None:
            raise LookupError
        if read.error is None or read.sample is not None:
            filepath = read.sample.filepath
        if read.error is not None:
            raise read.error
        if read.sample[report.label_field] is not None:
            raise _FilledError
        labelled = run.work.label(read)
        notes = [*read.notes, *labelled.notes, *_save(run, read.sample, labelled.labels)]
    except _FilledError as filled:
        report.notes.append(SampleNote(sample_id, filepath, str(filled)))
        return
    except (ConnectionFailure, LockLostError, MaskFolderError):
        raise
    except Exception as error:
        _fail(run, sample_id, filepath, error)
        return
    report.notes.extend(SampleNote(sample_id, filepath, note) for note in notes)
    report.segmented += 1
    report.instances += len(labelled.labels)
    report.from_cache += labelled.from_cache
    report.segmented_ids.append(sample_id)


def _save(run: SampleRun, sample: Any, labels: list[fo.Detection]) -> list[str]:
    """Write a sample's labels; gives what is to be noted of it."""
    notes = []
    if run.all_in_files:
        _store(run, sample.id, labels)
    elif are_too_large([label.mask for label in labels]):
        _store(run, sample.id, labels)
        notes.append(_in_files(run))
    try:
        _write(run, sample, labels)
    except (DocumentTooLarge, OperationFailure) as error:
        if not _is_too_large(error) or all(label.mask is None for label in labels):
            raise
        _store(run, sample.id, labels)
        notes.append(_in_files(run))
        _write(run, sample, labels)
    run.masks.drop_leftovers(sample.id, labels)
    return notes


def _store(run: SampleRun, sample_id: str, labels: list[fo.Detection]) -> None:
    _require_free(run, sample_id)
    run.masks.store(sample_id, labels)


def _write(run: SampleRun, sample: Any, labels: list[fo.Detection]) -> None:
    run.lock.require()
    document = fo.Detections(run=run_of(run.run, sample.id), detections=labels).to_dict()
    try:
        _update(run, sample, document, {run.report.label_field: None})
    except ConnectionFailure:
        # A database that is being restarted is waited for, once. The labels that the sample holds
        # then may be these: the connection may have been lost after they were written.
        _require_free(run, sample.id, document)
        _update(run, sample, document, {})


def _require_free(run: SampleRun, sample_id: str, own: Mapping[str, Any] | None = None) -> None:
    """Make sure that nobody took over or labelled the sample while its image was worked on.

    Args:
        run: the run.
        sample_id: the sample.
        own: labels that it may hold.
    """
    run.lock.require()
    field = run.report.label_field
    wanted = {f"{field}.run": 1, f"{field}.detections._id": 1}
    found = run.dataset._sample_collection.find_one({"_id": ObjectId(sample_id)}, wanted)
    held = (found or {}).get(field)
    if held is not None and (own is None or _identity(held) != _identity(own)):
        raise _FilledError


def _identity(labels: Mapping[str, Any]) -> tuple[Any, list[Any]]:
    """What tells a field's labels, as the database has them, from others: their run and ids."""
    return labels.get("run"), [label["_id"] for label in labels.get("detections", [])]


def _update(run: SampleRun, sample: Any, document: dict[str, Any], only_if: dict[str, Any]) -> None:
    """Write labels as FiftyOne keeps them, if the sample is as it should be: in one step.

    ``sample.save()`` writes the same, but encodes every mask several times and cannot say of which
    state it takes the sample to be.
    """
    field = run.report.label_field
    # A field that was deleted meanwhile must not come back.
    if run.dataset.get_field(field) is None:
        raise LookupError(f"There is no field {field!r} any more.")
    found = run.dataset._sample_collection.update_one(
        {"_id": ObjectId(sample.id), **only_if},
        {"$set": {field: document, "last_modified_at": datetime.now(timezone.utc)}},
    )
    if not found.matched_count:
        _require_free(run, sample.id)
        raise LookupError("The sample was deleted.")
    # Whoever holds the sample in memory sees its labels, as after ``save``.
    sample._reload_parents()


def _fail(run: SampleRun, sample_id: str, filepath: str, error: Exception) -> None:
    _require_target(run)
    if isinstance(error, OperationFailure) and error.code in _DISK_FULL_CODES:
        raise DatasetError("The disk of the database is full; free some space.") from error
    if not len(all_images(run.dataset).select([sample_id])):
        run.report.deleted += 1
        run.masks.drop_leftovers(sample_id, [])
        return
    reason = str(error) or type(error).__name__
    run.report.failed.append(SampleNote(sample_id, filepath, reason))


def _require_target(run: SampleRun) -> None:
    if not is_stored(run.dataset_id, run.report.label_field):
        raise DatasetError(
            f"The dataset or its field {run.report.label_field!r} was deleted during the run."
        )


def _fetch(run: SampleRun, sample_ids: Sequence[str]) -> Mapping[str, Any]:
    # Only what is read and written is fetched, and few samples at a time: a cursor held open
    # between slow steps would expire, and a sample deleted meanwhile would go unnoticed.
    view = all_images(run.dataset).select_fields([run.report.label_field, *run.read])
    return {sample.id: sample for sample in view.select(sample_ids)}


def _is_too_large(error: Exception) -> bool:
    return isinstance(error, DocumentTooLarge) or getattr(error, "code", 0) in _TOO_LARGE_CODES


def _in_files(run: SampleRun) -> str:
    return f"its masks are too large for the database; they are files below {run.masks.root}"


def _so_far(run: SampleRun, sample_ids: Sequence[str]) -> str:
    return (
        f"{run.report.segmented} of {len(sample_ids)} samples were labelled; nothing is half "
        "written, and a second call goes on from there."
    )


class _ReportKeeper:
    """Keeps a run's report with the dataset as it grows."""

    def __init__(self, run: SampleRun) -> None:
        self._run = run
        self._began = time.monotonic()
        self._due = 0.0

    def keep(self) -> None:
        run, started = self._run, time.monotonic()
        run.report.seconds = started - self._began
        _require_target(run)
        keep_results(run.dataset, run.report.label_field, report=to_dict(run.report))
        now = time.monotonic()
        self._due = now + max(KEEP_SECONDS, (now - started) / _KEEP_SHARE)

    def keep_if_due(self) -> None:
        if time.monotonic() >= self._due:
            self.keep()

    def keep_if_possible(self) -> None:
        try:
            self.keep()
        except Exception:
            # What stopped the run, such as a deleted dataset, may stop this too.
            pass
