"""What becomes of the samples of a run, counted and named in its report."""

from __future__ import annotations

from collections.abc import Sequence

from bson import ObjectId

from ...errors import DatasetError
from ...worker.messages import Result, in_one_sentence
from ..database.fiftyone_internals import has_sample, reload_held
from ..samples.sample_ids import SampleIds
from ..samples.sample_notes import SampleNote, run_notes
from .report import SegmentReport, deleted
from .writer import FieldWriter, FilledError


class RunCounts:
    """Fills the report of a run.

    Attributes:
        segmented: the samples labelled now.
        skipped: the samples that were labelled before.
        again: samples whose labels were gone, so that they are made again.
        truncated: the images with more candidates than are kept.
    """

    def __init__(self, report: SegmentReport, writer: FieldWriter) -> None:
        """Count nothing yet; the report has ids that grow with the run."""
        self.segmented, self.skipped = SampleIds(), SampleIds()
        self.again: set[str] = set()
        self.truncated = Truncated()
        self._report = report
        self._writer = writer
        report.segmented_ids, report.skipped_ids = self.segmented, self.skipped

    def add(self, result: Result) -> None:
        """Count a sample that was written, or could not be.

        Raises:
            DatasetError: the dataset or the field was deleted.
        """
        report, again = self._report, result.sample_id in self.again
        if result.document is None or result.error is not None:
            if not isinstance(result.error, FilledError):
                self.require_field()
            if again:
                self._uncount(result.sample_id)
            self._add_failed(result)
            return
        if not again:
            report.notes.extend(_note(result, note) for note in result.notes)
            report.segmented += 1
            report.instances += result.count
            report.from_cache += result.from_cache
            report.kept += result.kept or 0
            report.overlapping += result.overlapping
            self.segmented.append(result.sample_id)
        # Whoever holds the sample in memory sees its labels, as after ``save``; if it is there.
        reload_held(self._writer.dataset, self._writer.field, [result.sample_id])

    def note_again(self, sample_ids: Sequence[str]) -> None:
        """Note the samples of a pass whose labels had been gone and were made again."""
        if not self.again:
            return
        # Those that failed, were deleted or hold other labels now are not counted any more.
        counted = {*self.skipped, *self.segmented}
        count = len(counted.intersection(sample_ids) & self.again)
        if count:
            reason = (
                f"the labels of {count} samples were gone and were made again: a restarted "
                "database had lost them, or a run that was overtaken had taken them back"
            )
            self._report.notes += run_notes([reason])

    def end(self) -> None:
        """Give the report its ids as lists, as whoever reads it expects them."""
        report = self._report
        report.segmented_ids, report.skipped_ids = list(self.segmented), list(self.skipped)

    def require_field(self) -> None:
        """Make sure that the dataset and the field are there; DatasetError if they are not."""
        if not self._writer.is_there():
            raise DatasetError(deleted(self._writer.field))

    def _add_failed(self, result: Result) -> None:
        assert result.error is not None
        if isinstance(result.error, FilledError):
            self._report.notes.append(_note(result, str(result.error)))
        elif not has_sample(self._writer.dataset, {"_id": ObjectId(result.sample_id)}):
            self._report.deleted += 1
            self._writer.masks.drop_leftovers(result.sample_id, [])
        elif isinstance(result.error, MemoryError):
            reason = in_one_sentence(result.error)
            note = _note(result, f"there was not enough memory for it ({reason})")
            self._report.failed.append(note)
        else:
            self._report.failed.append(_note(result, in_one_sentence(result.error)))

    def _uncount(self, sample_id: str) -> None:
        """Of a sample whose labels were lost or replaced and not made again: it is not done."""
        if sample_id in self.segmented:
            self.segmented.remove(sample_id)
            self._report.segmented -= 1
        elif sample_id in self.skipped:
            self.skipped.remove(sample_id)
            self._report.skipped -= 1


class Truncated:
    """The images with more candidates than a recipe keeps.

    Attributes:
        count: how many there are.
        first: the file of the first.
        most: the most candidates that were left out of one.
    """

    def __init__(self) -> None:
        """None yet."""
        self.count, self.first, self.most = 0, "", 0

    def add(self, result: Result) -> None:
        """Count an image if candidates were left out of it."""
        if result.left_out:
            self.first = self.first or result.filepath
            self.count += 1
            self.most = max(self.most, result.left_out)


def _note(result: Result, reason: str) -> SampleNote:
    return SampleNote(result.sample_id, result.filepath, reason)
