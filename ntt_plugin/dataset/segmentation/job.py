"""What every run that writes labels into a field does around the work itself."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import fiftyone as fo

from ...errors import DatasetError
from ..database.dataset_locks import SchemaLock
from ..database.locks import RunLock
from ..database.run_record import catch_up, claim_record, keep_record, keep_results, usable_results
from ..labels.label_field import (
    FieldState,
    RunIds,
    clear,
    declare,
    require_writable,
    segmentation_fields,
)
from ..labels.mask_files import MaskFiles, folder_of_run, keep_folder
from ..runtime.progress_bar import Progress
from ..samples.checks import dataset_of
from ..segmenters import SegmenterLike
from .changed_images import changed_images
from .pipeline import ReadSample
from .report import SegmentReport, to_dict
from .runner import Labelled, SampleRun, Work, run_samples
from .stop_reasons import no_memory, stop_reason
from .writer import Target


@dataclass(frozen=True)
class Job:
    """A job: which samples to process, and how.

    Attributes:
        samples: a dataset or view of images, not grouped.
        run: id of the run; a run resumes an earlier one of the same id.
        facts: what to keep of the run with the dataset; ``load`` may add to them.
        attributes: the labels' own attributes and their types.
        load: loads the networks, checks that they fit, and gives the work on one sample.
        read: the fields that the work reads, beside the file's path.
        report: names the field that is written; filled in.
        replaces: ids of other samples whose labels go where a job overwrites.
    """

    samples: Any
    run: RunIds
    facts: dict[str, Any]
    attributes: Mapping[str, type[fo.Field]]
    load: Callable[[], Work]
    report: SegmentReport
    read: Sequence[str] = ()
    replaces: Sequence[str] = ()


def label_samples(
    job: Job,
    overwrite: bool = False,
    mask_dir: str | Path | None = None,
    progress: Progress = None,
) -> SegmentReport:
    """Run a job under its field's lock; nothing is changed if it cannot start.

    Args:
        job: what to do.
        overwrite: first delete what earlier runs wrote to these samples.
        mask_dir: a folder for the masks, in place of the database.
        progress: FiftyOne's.

    Raises:
        DatasetError: the field or the folder cannot be written, another run is writing the
            field, or the run was stopped by what concerns every sample.
    """
    try:
        return _label_samples(job, overwrite, mask_dir, progress)
    except (RuntimeError, MemoryError) as error:
        if problem := no_memory(error):
            raise DatasetError(problem) from error
        raise


def _label_samples(
    job: Job, overwrite: bool, mask_dir: str | Path | None, progress: Progress
) -> SegmentReport:
    dataset, report = dataset_of(job.samples), job.report
    field = report.label_field
    work_id = _work_id(job.run)
    with RunLock(dataset, field, intent=work_id if overwrite else None) as lock:
        catch_up(dataset, field)
        claim_record(dataset, field, lock)
        _finish_clearing(dataset, field, lock)
        # A call that was killed before it had taken anything away goes on without ``overwrite``.
        overwrite = overwrite or (lock.former or {}).get("intent") == work_id
        # Before the networks are loaded, which can take minutes; cleared only after.
        state = require_writable(job.samples, field, job.run, overwrite)
        folder = folder_of_run(dataset, field, overwrite, lock)
        masks = MaskFiles(dataset, folder, mask_dir)
        if mask_dir is not None:
            masks.require_writable()
        work = job.load()
        # Another run may have taken over meanwhile, whose labels and record are not to be touched.
        lock.require()
        with SchemaLock(dataset):
            declare(dataset, field, job.attributes)
            keep_folder(dataset, field, folder, lock)
        run = SampleRun(
            target=Target(
                dataset=dataset,
                dataset_id=dataset._doc.id,
                field=field,
                run=job.run,
                masks=masks,
                all_in_files=mask_dir is not None,
                lock=lock,
            ),
            work=work,
            read=job.read,
            report=report,
        )
        try:
            to_do = _begin(job, run, state, overwrite)
            lock.drop_intent()
        except Exception as error:
            if problem := stop_reason(error, run.target.dataset_id, field):
                raise DatasetError(problem) from error
            raise
        run_samples(run, to_do, progress)
    return report


def _begin(job: Job, run: SampleRun, state: FieldState, overwrite: bool) -> list[str]:
    """Keep the run's record and take away what it overwrites; gives the samples to do."""
    dataset, field, lock = run.target.dataset, run.target.field, run.target.lock
    keep_record(dataset, field, job.facts, lock)
    filled = state.done + state.others
    if not overwrite:
        run.report.skipped, run.report.skipped_ids = len(state.done), state.done
        run.report.notes.extend(changed_images(dataset, field, state.done))
        return state.to_do
    filled = list(dict.fromkeys([*filled, *job.replaces]))
    if not filled:
        return state.to_do
    # Looked up before: the view may be of the samples that hold what is cleared.
    to_do = list(job.samples.values("id"))
    _clear(dataset, run.report, filled, lock)
    return to_do


def watching_memory(
    segmenter: SegmenterLike, label: Callable[[ReadSample], Labelled]
) -> Callable[[ReadSample], Labelled]:
    """Wrap work so that a halved point batch is noted at the sample where it happened."""

    def watched(read: ReadSample) -> Labelled:
        before = segmenter.point_batch
        labelled = label(read)
        if segmenter.point_batch >= before:
            return labelled
        note = f"memory ran out: the point batch was halved to {segmenter.point_batch}"
        return replace(labelled, notes=[*labelled.notes, note])

    return watched


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
    """Id of what a job computes, independent of what its samples hold."""
    made_of = run if isinstance(run, str) else sorted(run.items())
    return hashlib.sha256(repr(made_of).encode()).hexdigest()[:16]
