"""A run that writes labels into one field: locked, recorded, and safe to kill.

A sample either has all its labels or none (``writer``), and what has none is what a second call
has to do. While a sample is worked on (``work``), the images of the next ones are read and the
labels of the last ones written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import fiftyone as fo
from pymongo.errors import ConnectionFailure, PyMongoError

from ...errors import DatasetError, NoFileHandlesError, WorkerError
from ..database.dataset_locks import schema_lock
from ..database.errors import is_disk_full, server_process, with_patience
from ..database.locks import LockLostError, RunLock
from ..database.run_record import (
    BOXES_BEFORE,
    boxes_of,
    catch_up,
    claim_record,
    keep_record,
    keep_results,
    read_facts,
    usable_results,
)
from ..labels.clear_field import clear
from ..labels.label_field import (
    FieldState,
    RunIds,
    declare,
    known_to,
    require_writable,
    segmentation_fields,
)
from ..labels.mask_files import (
    MaskFiles,
    MaskFolderError,
    folder_of_run,
    keep_folder,
    require_mask_dir,
)
from ..runtime.progress_bar import Progress, progress_bar
from ..runtime.work import Work
from ..samples.checks import dataset_of, quoted, require_name
from ..samples.sample_ids import SampleIds, ids_of
from ..samples.sample_notes import run_notes
from .changed_images import changed_images
from .report import SegmentReport, no_memory, stop_reason, to_dict
from .run_counts import RunCounts
from .run_ids import EVERYTHING, Overwrite, intent_of
from .run_items import Content, each_result
from .writer import FieldWriter
from .writing_behind import WritingBehind

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
    overwrite: Overwrite = False,
    mask_dir: str | Path | None = None,
) -> Iterator[FieldRun]:
    """Lock the report's field for a run, from ``with`` to its end; no label is changed yet.

    Args:
        samples: a dataset or view of images, not grouped.
        run: id of the run; a run resumes an earlier one of the same id.
        report: names the field.
        overwrite: the run first deletes what earlier runs wrote to these samples; what people
            tagged, edited, judged or drew stays, unless it is ``everything``.
        mask_dir: a folder for the masks, in place of the database.

    Raises:
        DatasetError: the field or the folder cannot be written, or another run is writing the
            field; or memory ran out within.
    """
    if overwrite not in (True, False, EVERYTHING):
        raise DatasetError(f"overwrite is {quoted(overwrite)}; use True, False or 'everything'.")
    dataset, field = dataset_of(samples), report.label_field
    require_name(field, "label field")
    require_mask_dir(mask_dir)
    intended = {intent_of(run, mode): mode for mode in (True, EVERYTHING)}
    try:
        with RunLock(dataset, field, intent=intent_of(run, overwrite)) as lock:
            catch_up(dataset, field)
            claim_record(dataset, field, lock)
            _finish_clearing(dataset, field, lock)
            # A call that was killed before it had taken anything away goes on without it.
            former = (lock.former or {}).get("intent")
            overwrite = overwrite or intended.get(former, False)
            made_with = report.bank, report.bank_version
            state = require_writable(samples, field, run, bool(overwrite), made_with)
            folder = folder_of_run(dataset, field, bool(overwrite), lock)
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
    """A run whose field is locked; ``field_run`` gives one.

    Attributes:
        stamp: what is written with the labels of each sample.
        counts: what became of the samples so far.
    """

    def __init__(
        self,
        samples: Any,
        writer: FieldWriter,
        report: SegmentReport,
        state: FieldState,
        overwrite: Overwrite,
    ) -> None:
        """Change nothing yet; ``state`` is what the field holds in the samples."""
        self.stamp = writer.stamp
        self._samples = samples
        self._writer = writer
        self._report = report
        self._state = state
        self._overwrite = overwrite
        self.counts = RunCounts(report, writer)
        self._began = time.monotonic()
        self._keep_due = 0.0

    def label_each(
        self,
        work: Work,
        attributes: Mapping[str, type[fo.Field]],
        facts: Mapping[str, Any],
        progress: Progress = None,
        *,
        content: Content | None = None,
        replaces: Sequence[str] = (),
        records_networks: bool = False,
        finish: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        """Label each sample that has no labels of this run, write them, and fill the report.

        An exception out of the progress callback stops the run: the report is kept as
        ``stopped``, and nothing is half written. While workers start, nothing is changed or kept.

        Args:
            work: makes the labels; what fails one sample fails that sample only. It is finished
                at the end.
            attributes: the labels' own attributes and their types.
            facts: what to keep of the run with the dataset.
            progress: FiftyOne's.
            content: what the work needs of samples beside their images.
            replaces: ids of other samples whose labels go where the run overwrites.
            records_networks: whether what the workers tell of their networks is kept, too.
            finish: is called at the end; gives what a person should know, a sentence each.

        Raises:
            DatasetError: nothing more can be written: the database is gone, the dataset or field
                was deleted, the disk is full, or another run took over. Says how far it came.
        """
        known = dict(work.told.facts) if records_networks else {}
        try:
            self._report.device = work.told.device
            self._prepare(work, progress)
            to_do = self._begin(attributes, {**facts, **known}, replaces)
        except BaseException:
            work.finish()
            raise
        with self._kept_report(len(to_do), lambda: [*work.finish(), *finish()]):
            server = server_process()
            for _ in range(_MOST_PASSES):
                self._pass(work, to_do, content, progress, records_networks and not known, facts)
                self.counts.note_again(to_do)
                # It is on the disk when it is kept, and so is all that was written before.
                self._keep()
                former, server = server, server_process()
                to_do, progress = self._lost(server is None or server != former), False
                if not to_do:
                    break
                self.counts.again.update(to_do)
            else:
                raise DatasetError(
                    "The database loses what is written to it, again and again; see that its disk "
                    "and log are sound, then run again."
                )

    def _prepare(self, work: Work, progress: Progress) -> None:
        """See that the work can be done before anything is changed for it."""
        began, most = time.monotonic(), len(self._state.to_do)
        if self._overwrite:
            most += len(self._state.done) + len(self._state.others)
        # A run that is stopped need not wait for workers that start, or hang.
        with progress_bar(most, progress if callable(progress) else False) as bar:
            work.waiting = partial(bar.update, 0)
            try:
                work.prepare(most)
            except WorkerError as error:
                raise DatasetError(f"{error} {_so_far(self._report, most)}") from error
        self._report.start_seconds = round(time.monotonic() - began, 1)

    def _pass(
        self,
        work: Work,
        to_do: Sequence[str],
        content: Content | None,
        progress: Progress,
        records_networks: bool,
        facts: Mapping[str, Any],
    ) -> None:
        """Label some samples."""
        writer, report = self._writer, self._report
        with (
            progress_bar(len(to_do), progress) as bar,
            closing(each_result(work, self._writer, to_do, content)) as results,
            WritingBehind(writer.write, self.counts.add, lambda result: result.size) as behind,
        ):
            # A run that is stopped need not wait for workers that start, or hang.
            work.waiting = partial(bar.update, 0)
            for result in results:
                writer.lock.require()
                if result.worker is not None:
                    work.told.hear(result.worker)
                    report.device = work.told.device
                    if records_networks:
                        records_networks = False
                        known = {**facts, **work.told.facts}
                        keep_record(writer.dataset, writer.field, known, writer.lock)
                if result.error is not None and ends_the_run(result.error):
                    raise result.error
                self.counts.truncated.add(result)
                # What was put is written, even if the progress callback stops the run.
                behind.put(result)
                if time.monotonic() >= self._keep_due:
                    self._keep()
                bar.update()

    def _begin(
        self,
        attributes: Mapping[str, type[fo.Field]],
        facts: Mapping[str, Any],
        replaces: Sequence[str],
    ) -> Sequence[str]:
        """Declare the field, keep the run's record, clear what it overwrites; gives what to do."""
        dataset, field, lock = self._writer.dataset, self._writer.field, self._writer.lock
        # Loading the networks took long: another run may have taken over meanwhile, whose labels
        # and record are not to be touched.
        lock.require()
        with schema_lock(dataset):
            declare(dataset, field, attributes)
            keep_folder(dataset, field, self._writer.masks.root.name, lock)
        try:
            boxes = boxes_of(read_facts(dataset, field)) if self._overwrite else None
            before = {BOXES_BEFORE: boxes} if boxes else {}
            keep_record(dataset, field, {**facts, **before}, lock)
            to_do = self._state.to_do
            if self._overwrite:
                everything = self._overwrite == EVERYTHING
                filled = SampleIds(self._state.done)
                filled.extend(self._state.others)
                if everything:  # those that hold nothing but what people made
                    filled.extend(self._state.to_do)
                mine = {*filled} if replaces else set()
                filled.extend(sample_id for sample_id in replaces if sample_id not in mine)
                if filled:
                    # Looked up before: the view may be of the samples that hold what is cleared.
                    to_do = known_to(self._writer.run, ids_of(self._samples))
                    _clear(dataset, self._report, filled, lock, everything, boxes)
                if before:
                    keep_record(dataset, field, dict(facts), lock)
            else:
                skipped = self.counts.skipped
                skipped.extend(self._state.done)
                self._report.skipped = len(skipped)
                self._report.notes += changed_images(dataset, field, skipped)
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
            self.counts.end()
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
            self.counts.require_field()
            report = to_dict(self._report)
            keep_results(self._writer.dataset, self._writer.field, self._writer.lock, report=report)

        with_patience(put)
        now = time.monotonic()
        self._keep_due = now + max(KEEP_SECONDS, (now - started) / _KEEP_SHARE)

    def _lost(self, restarted: bool) -> Sequence[str]:
        """The samples that the report counts as done and that do not hold this run's labels.

        There can be some only if the database was restarted, which forgets what it wrote last, or
        if an overtaken run, whose process may live, took back what it wrote last.
        """
        overtaken = self._writer.lock.overtaken()
        if not restarted and not overtaken:
            return []
        return self._writer.unsettled([self.counts.skipped, self.counts.segmented], overtaken)


def ends_the_run(error: Exception) -> bool:
    """Whether an error concerns every sample, not only the one at hand."""
    return isinstance(error, _ENDS_THE_RUN) or is_disk_full(error)


def _so_far(report: SegmentReport, total: int) -> str:
    return (
        f"{report.segmented} of {total} samples were labelled; nothing is half written, and a "
        "second call goes on from there."
    )


def _clear(
    dataset: Any,
    report: SegmentReport,
    sample_ids: SampleIds,
    lock: RunLock,
    everything: bool,
    boxes: str | None,
) -> None:
    """Delete labels; the intent is recorded first, so that a killed run can be completed.

    ``boxes`` is the field of the boxes that the former run filled, if it did.
    """
    field = report.label_field
    doing = {"clearing": sample_ids, "everything": everything, "boxes": boxes}
    keep_results(dataset, field, lock, report=to_dict(report), **doing)
    lock.drop_intent()
    report.dropped = clear(dataset, field, sample_ids, lock, everything, boxes)
    keep_results(dataset, field, lock, report=to_dict(report))


def _finish_clearing(dataset: Any, field: str, lock: RunLock) -> None:
    if field not in segmentation_fields(dataset):
        return
    results = usable_results(dataset, field)
    if results.get("clearing"):
        everything, boxes = bool(results.get("everything")), results.get("boxes")
        clear(dataset, field, results["clearing"], lock, everything, boxes)
        keep_results(dataset, field, lock, report=results["report"])
