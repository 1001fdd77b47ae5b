"""A run that writes labels into one field: locked, recorded, and safe to kill.

A sample either has all its labels or none (``writer``), and what has none is what a second call
has to do. While a sample is worked on, the images of the next ones are read and the labels of the
last ones written. What counts and what is said of a sample follows their order.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import fiftyone as fo
from mongoengine.errors import DoesNotExist  # type: ignore[import-untyped]
from pymongo.errors import ConnectionFailure, PyMongoError

from ...errors import DatasetError, NoFileHandlesError
from ..database.dataset_locks import schema_lock
from ..database.errors import is_disk_full, server_process, with_patience
from ..database.fiftyone_internals import reload_sample
from ..database.locks import LockLostError, RunLock
from ..database.run_record import catch_up, claim_record, keep_record, keep_results, usable_results
from ..labels.convert import NewLabel
from ..labels.label_field import (
    FieldState,
    RunIds,
    clear,
    declare,
    require_writable,
    segmentation_fields,
)
from ..labels.mask_files import MaskFiles, MaskFolderError, folder_of_run, keep_folder
from ..networks import SegmenterLike, halved_note
from ..runtime.progress_bar import Progress
from ..samples.checks import dataset_of
from ..samples.views import all_images
from .pipeline import ReadingAhead, ReadSample, WritingBehind, fetch_samples
from .report import SegmentReport, deleted, no_memory, run_notes, stop_reason, to_dict, uncount
from .writer import FieldWriter, FilledError, changed_images

KEEP_SECONDS = 20.0
# A report that takes long to keep is kept less often: this share of the time at most.
_KEEP_SHARE = 0.02
# How often a run goes over samples whose labels the database lost, the first time included.
_MOST_PASSES = 6

_ENDS_THE_RUN = (ConnectionFailure, LockLostError, MaskFolderError, NoFileHandlesError)


@contextmanager
def field_run(
    samples: Any,
    run: RunIds,
    report: SegmentReport,
    overwrite: bool = False,
    mask_dir: str | Path | None = None,
) -> Iterator[FieldRun]:
    """Lock the report's field for a run, from ``with`` to its end; no label is changed yet.

    Args:
        samples: a dataset or view of images, not grouped.
        run: id of the run; a run resumes an earlier one of the same id.
        report: names the field.
        overwrite: the run first deletes what earlier runs wrote to these samples.
        mask_dir: a folder for the masks, in place of the database.

    Raises:
        DatasetError: the field or the folder cannot be written, or another run is writing the
            field; or memory ran out within.
    """
    dataset, field = dataset_of(samples), report.label_field
    work_id = _work_id(run)
    try:
        with RunLock(dataset, field, intent=work_id if overwrite else None) as lock:
            catch_up(dataset, field)
            claim_record(dataset, field, lock)
            _finish_clearing(dataset, field, lock)
            # A call that was killed before it had taken anything away goes on without it.
            overwrite = overwrite or (lock.former or {}).get("intent") == work_id
            state = require_writable(samples, field, run, overwrite)
            folder = folder_of_run(dataset, field, overwrite, lock)
            masks = MaskFiles(dataset, folder, mask_dir)
            if mask_dir is not None:
                masks.require_writable()
            writer = FieldWriter(dataset, field, run, lock, masks, mask_dir is not None)
            yield FieldRun(samples, writer, report, state, overwrite)
    except (RuntimeError, MemoryError) as error:
        if problem := no_memory(error):
            raise DatasetError(problem) from error
        raise


class FieldRun:
    """A run whose field is locked; ``field_run`` gives one."""

    def __init__(
        self,
        samples: Any,
        writer: FieldWriter,
        report: SegmentReport,
        state: FieldState,
        overwrite: bool,
    ) -> None:
        """Change nothing yet; ``state`` is what the field holds in the samples."""
        self._samples = samples
        self._writer = writer
        self._report = report
        self._state = state
        self._overwrite = overwrite
        self._again: set[str] = set()  # samples whose labels were gone, so they are made again
        self._began = time.monotonic()
        self._keep_due = 0.0

    def label_each(
        self,
        label: Callable[[ReadSample], list[NewLabel]],
        segmenter: SegmenterLike,
        attributes: Mapping[str, type[fo.Field]],
        facts: Mapping[str, Any],
        progress: Progress = None,
        *,
        fields: Sequence[str] = (),
        replaces: Sequence[str] = (),
        recall: Callable[[ReadSample], None] | None = None,
        finish: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        """Label each sample that has no labels of this run, write them, and fill the report.

        An exception out of the progress callback stops the run: the report is kept as
        ``stopped``, and nothing is half written.

        Args:
            label: a sample's labels, with masks; may add to its notes. What it raises fails that
                sample only.
            segmenter: the one that ``label`` uses.
            attributes: the labels' own attributes and their types.
            facts: what to keep of the run with the dataset.
            progress: FiftyOne's.
            fields: the fields that ``label`` reads, beside the file's path.
            replaces: ids of other samples whose labels go where the run overwrites.
            recall: looks up an image's cached proposals; on a hit the image is not read.
            finish: is called at the end; gives what a person should know, a sentence each.

        Raises:
            DatasetError: nothing more can be written: the database is gone, the dataset or field
                was deleted, the disk is full, or another run took over. Says how far it came.
        """
        writer, report = self._writer, self._report
        report.device = str(segmenter.device)
        to_do = self._begin(attributes, facts, replaces)
        fetch = partial(fetch_samples, writer.dataset, [writer.field, *fields])
        with self._kept_report(len(to_do), finish):
            server = server_process()
            for _ in range(_MOST_PASSES):
                with (
                    ReadingAhead(fetch, to_do, recall=recall, progress=progress) as ahead,
                    WritingBehind(self._write, self._count, _mask_bytes) as behind,
                ):
                    for read in ahead:
                        writer.lock.require()
                        try:
                            _require_read(read)
                            writer.require_replaceable(read.sample[writer.field])
                            before = segmenter.point_batch
                            read.labels = label(read)
                            read.notes += halved_note(segmenter, before)
                        except Exception as error:
                            if _ends_the_run(error):
                                raise
                            read.error = error
                        read.from_cache = read.image is None
                        # What was put is written, even if the progress callback stops the run.
                        behind.put(read)
                        if time.monotonic() >= self._keep_due:
                            self._keep()
                self._note_again(to_do)
                # It is on the disk when it is kept, and so is all that was written before.
                self._keep()
                former, server = server, server_process()
                to_do, progress = self._lost(server is None or server != former), False
                if not to_do:
                    break
                self._again.update(to_do)
            else:
                raise DatasetError(
                    "The database loses what is written to it, again and again; see that its disk "
                    "and log are sound, then run again."
                )

    def _begin(
        self,
        attributes: Mapping[str, type[fo.Field]],
        facts: Mapping[str, Any],
        replaces: Sequence[str],
    ) -> list[str]:
        """Declare the field, keep the run's record, clear what it overwrites; gives what to do."""
        dataset, field, lock = self._writer.dataset, self._writer.field, self._writer.lock
        # Loading the networks took long: another run may have taken over meanwhile, whose labels
        # and record are not to be touched.
        lock.require()
        with schema_lock(dataset):
            declare(dataset, field, attributes)
            keep_folder(dataset, field, self._writer.masks.root.name, lock)
        try:
            keep_record(dataset, field, dict(facts), lock)
            to_do = self._state.to_do
            if self._overwrite:
                filled = [*self._state.done, *self._state.others, *replaces]
                if filled:
                    # Looked up before: the view may be of the samples that hold what is cleared.
                    to_do = list(self._samples.values("id"))
                    _clear(dataset, self._report, list(dict.fromkeys(filled)), lock)
            else:
                done = self._state.done
                self._report.skipped, self._report.skipped_ids = len(done), done
                self._report.notes += changed_images(dataset, field, done)
            lock.drop_intent()
        except Exception as error:
            if problem := stop_reason(error, self._writer.dataset_id, field):
                raise DatasetError(problem) from error
            raise
        return to_do

    @contextmanager
    def _kept_report(self, total: int, finish: Callable[[], Iterable[str]]) -> Iterator[None]:
        """Keep the report at the beginning and at the end, also where an error stops the run."""
        report, writer = self._report, self._writer
        self._began = time.monotonic()
        try:
            self._keep()
            try:
                yield
            finally:
                report.notes += run_notes(finish())
            report.state = "finished"
            self._keep()
        except ConnectionFailure as error:
            report.state = "stopped"
            problem = f"The database of {writer.field!r} does not answer ({error!s:.200})."
            raise DatasetError(f"{problem} {_so_far(report, total)}") from error
        except BaseException as error:
            report.state = "stopped"
            with suppress(PyMongoError):
                writer.drop_strays()
            # What stopped the run, such as a deleted dataset, may stop this too.
            with suppress(Exception):
                self._keep()
            if reason := stop_reason(error, writer.dataset_id, writer.field):
                raise DatasetError(f"{reason} {_so_far(report, total)}") from error
            raise

    def _keep(self) -> None:
        started = time.monotonic()
        self._report.seconds = started - self._began

        def put() -> None:
            # The record of a run that took over, and what it is clearing, is not to be replaced.
            self._writer.lock.require()
            self._require_field()
            report = to_dict(self._report)
            keep_results(self._writer.dataset, self._writer.field, self._writer.lock, report=report)

        with_patience(put)
        now = time.monotonic()
        self._keep_due = now + max(KEEP_SECONDS, (now - started) / _KEEP_SHARE)

    def _write(self, read: ReadSample) -> ReadSample:
        """Write the labels of a sample, in the writer's thread."""
        if read.labels is None:
            return read
        image = read.state
        if image is not None and read.digest is not None:
            image = f"{image}/{read.digest}"
        try:
            read.notes += self._writer.write(read.sample, read.labels, image)
        except Exception as error:
            if _ends_the_run(error):
                raise
            read.error = error
        return read

    def _count(self, read: ReadSample) -> None:
        report, again = self._report, read.sample_id in self._again
        if read.labels is None or read.error is not None:
            if not isinstance(read.error, FilledError):
                self._require_field()
            if again:
                uncount(report, read.sample_id)
            self._count_failed(read)
            return
        if not again:
            report.notes.extend(map(read.note, read.notes))
            report.segmented += 1
            report.instances += len(read.labels)
            report.from_cache += read.from_cache
            report.segmented_ids.append(read.sample_id)
        # Whoever holds the sample in memory sees its labels, as after ``save``; if it is there.
        with suppress(DoesNotExist):
            reload_sample(read.sample)

    def _count_failed(self, read: ReadSample) -> None:
        assert read.error is not None
        if isinstance(read.error, FilledError):
            self._report.notes.append(read.note(read.error))
        elif not len(all_images(self._writer.dataset).select([read.sample_id])):
            self._report.deleted += 1
            self._writer.masks.drop_leftovers(read.sample_id, [])
        elif isinstance(read.error, MemoryError):
            reason = str(read.error) or "MemoryError"
            note = read.note(f"there was not enough memory for it ({reason})")
            self._report.failed.append(note)
        else:
            self._report.failed.append(read.note(read.error))

    def _lost(self, restarted: bool) -> list[str]:
        """The samples that the report counts as done and that do not hold this run's labels.

        There can be some only if the database was restarted, which forgets what it wrote last, or
        if an overtaken run, whose process may live, took back what it wrote last.
        """
        overtaken = self._writer.lock.overtaken()
        if not restarted and not overtaken:
            return []
        done = [*self._report.skipped_ids, *self._report.segmented_ids]
        return self._writer.unsettled(done, overtaken)

    def _note_again(self, sample_ids: Sequence[str]) -> None:
        """Note the samples of a pass whose labels had been gone and were made again."""
        # Those that failed, were deleted or hold other labels now are not counted any more.
        counted = {*self._report.skipped_ids, *self._report.segmented_ids}
        count = len(counted.intersection(sample_ids) & self._again)
        if count:
            reason = (
                f"the labels of {count} samples were gone and were made again: a restarted "
                "database had lost them, or a run that was overtaken had taken them back"
            )
            self._report.notes += run_notes([reason])

    def _require_field(self) -> None:
        if not self._writer.is_there():
            raise DatasetError(deleted(self._writer.field))


def _require_read(read: ReadSample) -> None:
    if read.error is not None:
        raise read.error
    if read.sample is None:
        raise LookupError


def _mask_bytes(read: ReadSample) -> int:
    return sum(label.mask.nbytes for label in read.labels or [] if label.mask is not None)


def _ends_the_run(error: Exception) -> bool:
    return isinstance(error, _ENDS_THE_RUN) or is_disk_full(error)


def _so_far(report: SegmentReport, total: int) -> str:
    return (
        f"{report.segmented} of {total} samples were labelled; nothing is half written, and a "
        "second call goes on from there."
    )


def _clear(dataset: Any, report: SegmentReport, sample_ids: list[str], lock: RunLock) -> None:
    """Delete labels; the intent is recorded first, so that a killed run can be completed."""
    field = report.label_field
    keep_results(dataset, field, lock, report=to_dict(report), clearing=sample_ids)
    lock.drop_intent()
    clear(dataset, field, sample_ids, lock)
    keep_results(dataset, field, lock, report=to_dict(report))


def _finish_clearing(dataset: Any, field: str, lock: RunLock) -> None:
    if field not in segmentation_fields(dataset):
        return
    results = usable_results(dataset, field)
    if results.get("clearing"):
        clear(dataset, field, results["clearing"], lock)
        keep_results(dataset, field, lock, report=results["report"])


def _work_id(run: RunIds) -> str:
    """Id of what a run computes, independent of what its samples hold."""
    made_of = run if isinstance(run, str) else sorted(run.items())
    return hashlib.sha256(repr(made_of).encode()).hexdigest()[:16]
