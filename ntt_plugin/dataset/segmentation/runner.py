"""Any work over samples that writes labels: read ahead, written behind, and safe to kill.

A sample either has all its labels or none (``writer``), and what has none is what a second
call has to do. While a sample is worked on, the images of the next ones are read and the labels
of the last ones written. What counts and what is said of a sample follows their order.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from mongoengine.errors import DoesNotExist  # type: ignore[import-untyped]
from pymongo.errors import ConnectionFailure, PyMongoError

from ...errors import DatasetError, NoFileHandlesError
from ..database.errors import is_disk_full, server_process, with_patience
from ..database.locks import LockLostError
from ..database.run_record import keep_results
from ..labels.convert import NewLabel
from ..labels.mask_files import MaskFolderError
from ..runtime.progress_bar import Progress, progress_bar
from ..samples.views import all_images
from .changed_images import image_state
from .pipeline import ReadingAhead, ReadSample, Recalled, WritingBehind
from .report import SampleNote, SegmentReport, to_dict
from .stop_reasons import deleted, stop_reason
from .writer import (
    FilledError,
    Target,
    drop_strays,
    require_replaceable,
    unsettled,
    write_labels,
)

KEEP_SECONDS = 20.0
# A report that takes long to keep is kept less often: this share of the time at most.
_KEEP_SHARE = 0.02
# How often a run goes over samples whose labels the database lost.
_MOST_PASSES = 5

_ENDS_THE_RUN = (ConnectionFailure, LockLostError, MaskFolderError, NoFileHandlesError)


@dataclass(frozen=True)
class Labelled:
    """What the work on one sample gave.

    Attributes:
        labels: its labels, with masks.
        notes: what a person should know of them, a sentence each.
        from_cache: whether they come from cached proposals, without running a network.
    """

    labels: list[NewLabel]
    notes: Sequence[str] = ()
    from_cache: bool = False


@dataclass(frozen=True)
class Work:
    """The work on each sample.

    Attributes:
        label: a sample and its image to labels. What it raises fails that sample only.
        recall: looks up an image file in the cache; on a hit the image is not read.
        finish: ends the work; gives what a person should know of it, a sentence each.
    """

    label: Callable[[ReadSample], Labelled]
    recall: Callable[[str], Recalled | None] | None = None
    finish: Callable[[], Sequence[str]] = tuple


@dataclass(frozen=True)
class SampleRun:
    """A validated run, ready to start.

    Attributes:
        target: where labels are written.
        work: what is done to each sample.
        read: the fields that the work reads, beside the file's path.
        report: grows as the run goes.
        images: states of the image files of fetched samples, by sample id.
        again: samples that are done a second time, because their labels were gone.
    """

    target: Target
    work: Work
    read: Sequence[str]
    report: SegmentReport
    images: dict[str, str | None] = field(default_factory=dict)
    again: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class _Done:
    """A processed sample.

    Attributes:
        sample_id: its id.
        sample: the sample; None if there is none.
        labelled: its labels; None if there are none.
        image: the state of its image's file before that was read.
        notes: what is to be noted of it.
        error: why it has no labels, or they were not written; None if all went well.
    """

    sample_id: str
    sample: Any
    image: str | None = None
    labelled: Labelled | None = None
    notes: Sequence[str] = ()
    error: Exception | None = None


def run_samples(run: SampleRun, sample_ids: Sequence[str], progress: Progress) -> None:
    """Process samples and write their labels, filling ``run.report``.

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
        problem = f"The database of {run.target.field!r} does not answer ({error!s:.200})."
        raise DatasetError(f"{problem} {_so_far(run, sample_ids)}") from error
    except BaseException as error:
        run.report.state = "stopped"
        with suppress(PyMongoError):
            drop_strays(run.target)
        keeper.keep_if_possible()
        if reason := stop_reason(error, run.target.dataset_id, run.target.field):
            raise DatasetError(f"{reason} {_so_far(run, sample_ids)}") from error
        raise


def _do_all(
    run: SampleRun, sample_ids: Sequence[str], progress: Progress, keeper: _ReportKeeper
) -> None:
    try:
        server = server_process()
        _pass(run, sample_ids, progress, keeper)
        for _ in range(_MOST_PASSES):
            # It is on the disk when it is kept, and so is all that was written before.
            keeper.keep()
            former, server = server, server_process()
            lost = _lost(run, restarted=server is None or server != former)
            if not lost:
                break
            run.again.update(lost)
            _pass(run, lost, False, keeper)
            _note_again(run, lost)
        else:
            raise DatasetError(
                "The database loses what is written to it, again and again; see that its disk and "
                "log are sound, then run again."
            )
    finally:
        notes = run.work.finish()
        run.report.notes.extend(SampleNote("", "", note) for note in notes)


def _pass(
    run: SampleRun, sample_ids: Sequence[str], progress: Progress, keeper: _ReportKeeper
) -> None:
    with (
        progress_bar(len(sample_ids), progress) as bar,
        ReadingAhead(partial(_fetch, run), sample_ids, recall=run.work.recall) as ahead,
        WritingBehind(partial(_write, run.target), partial(_count, run), _size) as behind,
    ):
        for read in ahead:
            run.target.lock.require()
            behind.put(_do(run, read))
            keeper.keep_if_due()
            # What was put is written, even if the callback stops the run here.
            bar.update()


def _lost(run: SampleRun, restarted: bool) -> list[str]:
    """The samples that the report counts as done and that do not hold this run's labels.

    There can be some only if the database was restarted, which forgets what it wrote last, or if
    an overtaken run, whose process may live, took back what it wrote last.
    """
    target, report = run.target, run.report
    overtaken = target.lock.overtaken()
    if not restarted and not overtaken:
        return []
    done = [*report.skipped_ids, *report.segmented_ids]
    return unsettled(target, done, overtaken)


def _note_again(run: SampleRun, lost: Sequence[str]) -> None:
    # Those that failed, were deleted or hold other labels now are not counted any more.
    count = len({*run.report.skipped_ids, *run.report.segmented_ids}.intersection(lost))
    if count:
        reason = (
            f"the labels of {count} samples were gone and were made again: a restarted database "
            "had lost them, or a run that was overtaken had taken them back"
        )
        run.report.notes.append(SampleNote("", "", reason))


def _do(run: SampleRun, read: ReadSample) -> _Done:
    """Work on a sample; nothing is written."""
    image = run.images.pop(read.sample_id, None)
    if image is not None and read.recalled is not None:
        image = f"{image}/{read.recalled.digest}"
    done = _Done(read.sample_id, read.sample, image)
    try:
        if read.error is not None:
            raise read.error
        if read.sample is None:
            raise LookupError
        require_replaceable(run.target, read.sample[run.target.field])
        labelled = run.work.label(read)
    except Exception as error:
        if _ends_the_run(error):
            raise
        return replace(done, error=error)
    return replace(done, labelled=labelled, notes=[*read.notes, *labelled.notes])


def _size(done: _Done) -> int:
    """Bytes of masks that wait to be written."""
    labels = [] if done.labelled is None else done.labelled.labels
    return sum(label.mask.nbytes for label in labels if label.mask is not None)


def _write(target: Target, done: _Done) -> _Done:
    """Write the labels of a sample, in the writer's thread."""
    if done.labelled is None:
        return done
    try:
        notes = write_labels(target, done.sample, done.labelled.labels, done.image)
    except Exception as error:
        if _ends_the_run(error):
            raise
        return replace(done, error=error)
    return replace(done, notes=[*done.notes, *notes])


def _count(run: SampleRun, done: _Done) -> None:
    """Count a sample's outcome in the report."""
    report, sample_id = run.report, done.sample_id
    filepath = "" if done.sample is None else done.sample.filepath
    if isinstance(done.error, FilledError):
        if sample_id in run.again:
            _uncount(report, sample_id)
        report.notes.append(SampleNote(sample_id, filepath, str(done.error)))
        return
    if done.labelled is None or done.error is not None:
        _fail(run, sample_id, filepath, done.error)
        return
    if sample_id not in run.again:
        report.notes.extend(SampleNote(sample_id, filepath, note) for note in done.notes)
        report.segmented += 1
        report.instances += len(done.labelled.labels)
        report.from_cache += done.labelled.from_cache
        report.segmented_ids.append(sample_id)
    # Whoever holds the sample in memory sees its labels, as after ``save``; if it is still there.
    with suppress(DoesNotExist):
        done.sample._reload_parents()


def _fail(run: SampleRun, sample_id: str, filepath: str, error: Exception | None) -> None:
    _require_target(run)
    if sample_id in run.again:
        _uncount(run.report, sample_id)
    if not len(all_images(run.target.dataset).select([sample_id])):
        run.report.deleted += 1
        run.target.masks.drop_leftovers(sample_id, [])
        return
    reason = str(error) or type(error).__name__
    if isinstance(error, MemoryError):
        reason = f"there was not enough memory for it ({reason})"
    run.report.failed.append(SampleNote(sample_id, filepath, reason))


def _uncount(report: SegmentReport, sample_id: str) -> None:
    """Of a sample whose labels were lost or replaced and not made again: it is not done."""
    if sample_id in report.segmented_ids:
        report.segmented_ids.remove(sample_id)
        report.segmented -= 1
    elif sample_id in report.skipped_ids:
        report.skipped_ids.remove(sample_id)
        report.skipped -= 1


def _ends_the_run(error: Exception) -> bool:
    return isinstance(error, _ENDS_THE_RUN) or is_disk_full(error)


def _require_target(run: SampleRun) -> None:
    if not run.target.is_there():
        raise DatasetError(deleted(run.target.field))


def _fetch(run: SampleRun, sample_ids: Sequence[str]) -> Mapping[str, Any]:
    # Only what is read and written is fetched, and few samples at a time: a cursor held open
    # between slow steps would expire, and a sample deleted meanwhile would go unnoticed.
    view = all_images(run.target.dataset).select_fields([run.target.field, *run.read])
    found = {sample.id: sample for sample in view.select(sample_ids)}
    # Before the files are read: one that is replaced meanwhile counts as changed.
    run.images.update({key: image_state(sample.filepath) for key, sample in found.items()})
    return found


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
        started = time.monotonic()
        self._run.report.seconds = started - self._began
        with_patience(self._put)
        now = time.monotonic()
        self._due = now + max(KEEP_SECONDS, (now - started) / _KEEP_SHARE)

    def _put(self) -> None:
        target = self._run.target
        # The record of a run that took over, and what it is clearing, is not to be replaced.
        target.lock.require()
        _require_target(self._run)
        report = to_dict(self._run.report)
        keep_results(target.dataset, target.field, target.lock, report=report)

    def keep_if_due(self) -> None:
        if time.monotonic() >= self._due:
            self.keep()

    def keep_if_possible(self) -> None:
        try:
            self.keep()
        except Exception:
            # What stopped the run, such as a deleted dataset, may stop this too.
            pass
