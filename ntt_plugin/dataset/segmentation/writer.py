"""One sample's labels into the database: in one step, and only where no labels are.

The files of its masks come first. So a sample has all its labels or none, whenever a run ends.

A process that was paused may write after another run has taken its lock, for the database can
compare with the sample's own document only. So labels carry the token of the lock. A writer looks
after each write whether it still held the lock, and takes its labels away if it did not; and the
run that took over replaces labels with the token of an overtaken one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

import fiftyone as fo
from bson import ObjectId
from pymongo.errors import DocumentTooLarge, OperationFailure

from ...engine.proposals.cache import image_digest
from ...errors import ImageError
from ..database.errors import with_patience
from ..database.fiftyone_internals import dataset_id, samples_of
from ..database.locks import LockLostError, RunLock
from ..database.run_record import is_stored
from ..labels.convert import NewLabel
from ..labels.label_field import WRITER, RunIds, run_of
from ..labels.mask_files import MaskFiles, are_too_large
from .report import SampleNote

_TOO_LARGE_CODES = (10334, 17419, 17420)
_TRIES = 5
_LOOKED_UP_AT_ONCE = 1000


class FilledError(Exception):
    """The sample received labels from elsewhere during the run; they are not replaced."""

    def __init__(self) -> None:
        super().__init__("it got labels from elsewhere meanwhile, which are left as they are")


class FieldWriter:
    """Writes the labels of one run into one field, whose lock it holds.

    Attributes:
        dataset_id: the dataset's id, which the dataset does not tell any more once it is deleted.
        run: the run's id, kept with each sample's labels.
        masks: where files of masks go.
    """

    def __init__(
        self,
        dataset: Any,
        field: str,
        run: RunIds,
        lock: RunLock,
        masks: MaskFiles,
        all_in_files: bool = False,
    ) -> None:
        """Write nothing yet.

        With ``all_in_files`` every mask goes to a file, not only what is too large for the
        database.
        """
        self.dataset = dataset
        self.dataset_id = dataset_id(dataset)
        self.field = field
        self.run = run
        self.lock = lock
        self.masks = masks
        self._all_in_files = all_in_files
        self._samples = samples_of(dataset)

    def is_there(self) -> bool:
        """Whether the database has the dataset and the field, at this moment."""
        return is_stored(self.dataset_id, self.field)

    def require_replaceable(self, held: Any) -> None:
        """Make sure that a sample's labels may be written where the field holds FiftyOne's label.

        Raises:
            FilledError: it is not what a run wrote that was overtaken while its process may live.
        """
        if held is not None and getattr(held, WRITER, None) not in self.lock.overtaken():
            raise FilledError

    def write(self, sample: Any, labels: list[NewLabel], image: str | None = None) -> list[str]:
        """Write a sample's labels, masks too large for the database to files; returns notes.

        What holds the sample in memory does not see its labels yet.

        ``image`` is the state of its image's file, kept with the labels.

        Raises:
            FilledError: the sample got labels from elsewhere.
            LookupError: the sample or the field is there no more.
            LockLostError: another run took over.
            MaskFolderError: its masks cannot be written to files.
        """
        try:
            return self._write_with_files(sample.id, labels, image)
        except (FilledError, LookupError, LockLostError):
            if any(label.mask_path is not None for label in labels):
                # The run that took over may have kept what was written.
                self.masks.drop_leftovers(sample.id, self._used_files(sample.id))
            raise

    def drop_strays(self) -> None:
        """Take away labels that were written while somebody deleted their field.

        FiftyOne takes the values out of the samples first and the field off the dataset after.
        What is written in between is the value of no field, and FiftyOne cannot load a sample
        with one. To be called when nothing writes any more.
        """
        if not self.is_there() and not self.dataset.deleted:
            mine = {f"{self.field}.{WRITER}": self.lock.token}
            self._samples.update_many(mine, {"$unset": {self.field: ""}})

    def unsettled(self, sample_ids: Sequence[str], overtaken: Sequence[str]) -> list[str]:
        """Which samples, counted as done, do not hold labels of this run; not those deleted.

        Labels that an overtaken run made under the same id become this run's own, so that it
        cannot take them back any more.

        ``overtaken`` are tokens of overtaken runs whose processes may live.
        """
        writer, lost = f"{self.field}.{WRITER}", []
        for start in range(0, len(sample_ids), _LOOKED_UP_AT_ONCE):
            some = sample_ids[start : start + _LOOKED_UP_AT_ONCE]
            these = {"_id": {"$in": [ObjectId(sample_id) for sample_id in some]}}
            if overtaken:
                self.lock.require()
                stale = {**these, writer: {"$in": list(overtaken)}}
                self._samples.update_many(stale, {"$set": {writer: self.lock.token}})
            found = self._samples.find(these, {f"{self.field}.run": 1})
            held = {str(entry["_id"]): (entry.get(self.field) or {}).get("run") for entry in found}
            lost += [key for key in some if key in held and held[key] != run_of(self.run, key)]
        return lost

    def _write_with_files(
        self, sample_id: str, labels: list[NewLabel], image: str | None
    ) -> list[str]:
        root = self.masks.root
        in_files = f"its masks are too large for the database; they are files below {root}"
        notes = []
        if self._all_in_files:
            self._store(sample_id, labels)
        elif are_too_large([label.mask for label in labels if label.mask is not None]):
            self._store(sample_id, labels)
            notes.append(in_files)
        try:
            self._write(sample_id, labels, image)
        except (DocumentTooLarge, OperationFailure) as error:
            if not _is_too_large(error) or all(label.mask is None for label in labels):
                raise
            self._store(sample_id, labels)
            notes.append(in_files)
            self._write(sample_id, labels, image)
        self.masks.drop_leftovers(sample_id, [label.mask_path for label in labels])
        return notes

    def _store(self, sample_id: str, labels: list[NewLabel]) -> None:
        self.lock.require()
        self._require_free(sample_id)
        self.masks.store(sample_id, labels)

    def _write(self, sample_id: str, labels: list[NewLabel], image: str | None) -> None:
        document = {
            **fo.Detections(run=run_of(self.run, sample_id)).to_dict(),
            WRITER: self.lock.token,
            "detections": [label.document() for label in labels],
        }
        if image is not None:
            document[IMAGE] = image

        def update() -> None:
            self.lock.require()
            self._update(sample_id, document)

        with_patience(update)
        try:
            self.lock.require()
        except LockLostError:
            # Undo what was written too late, unless another run replaced or kept it.
            mine = {"_id": ObjectId(sample_id), f"{self.field}.{WRITER}": self.lock.token}
            self._samples.update_one(mine, {"$set": {self.field: None}})
            raise

    def _update(self, sample_id: str, document: Mapping[str, Any]) -> None:
        """Write labels as FiftyOne keeps them, if the sample has no others: in one step.

        ``sample.save()`` cannot say of which state it takes the sample to be.
        """
        # A field that was deleted meanwhile must not come back.
        if not self.is_there():
            raise LookupError(f"There is no field {self.field!r} any more.")
        # Its own labels too: a connection may be lost after they were written.
        writers = [self.lock.token]
        for _ in range(_TRIES):
            free = [{self.field: None}, {f"{self.field}.{WRITER}": {"$in": writers}}]
            found = self._samples.update_one(
                {"_id": ObjectId(sample_id), "$or": free},
                {"$set": {self.field: document, "last_modified_at": datetime.now(timezone.utc)}},
            )
            if found.matched_count:
                return
            self.lock.require()
            writers = [self.lock.token, *self._require_free(sample_id)]
        raise FilledError

    def _require_free(self, sample_id: str) -> list[str]:
        """Make sure that a sample has no labels but those of overtaken runs; gives their tokens.

        Raises:
            FilledError: it has others.
            LookupError: it was deleted.
        """
        wanted = {f"{self.field}.{WRITER}": 1, f"{self.field}._cls": 1}
        stored = self._samples.find_one({"_id": ObjectId(sample_id)}, wanted)
        if stored is None:
            raise LookupError("The sample was deleted.")
        held = stored.get(self.field)
        if held is None:
            return []
        overtaken = self.lock.overtaken()
        if held.get(WRITER) not in overtaken:
            raise FilledError
        return overtaken

    def _used_files(self, sample_id: str) -> list[str]:
        path = f"{self.field}.detections.mask_path"
        return [used for used in self._samples.distinct(path, {"_id": ObjectId(sample_id)}) if used]


def _is_too_large(error: Exception) -> bool:
    return isinstance(error, DocumentTooLarge) or getattr(error, "code", 0) in _TOO_LARGE_CODES


IMAGE = "image"
"""What a sample's labels keep beside their run: the state of the image's file."""

_MOST_NAMED = 100
# A dataset that was copied has new dates everywhere; its files are not all read for that.
_MOST_READ = 1000


def image_state(filepath: str) -> str | None:
    """Size and date of an image's file, without reading it; None if there is none."""
    try:
        found = os.stat(filepath)
    except (OSError, ValueError):
        return None
    return f"{found.st_size} {found.st_mtime_ns}"


def changed_images(dataset: Any, field: str, sample_ids: Sequence[str]) -> list[SampleNote]:
    """Samples whose image file changed since their labels were written.

    Looks at sizes and dates; a file with another date and the same size is read where the digest
    of its content is known. Labels of older versions do not tell.

    Returns:
        A note for each, the first hundred by name, and one on the files that were not compared:
        past a thousand that would have to be read.
    """
    notes, count, read = [], 0, 0
    for sample_id, filepath, kept in _kept_states(dataset, field, sample_ids):
        now = image_state(filepath)
        state, _, digest = kept.partition("/")
        if now is None or now == state:
            continue
        if digest and now.split()[0] == state.split()[0]:
            read += 1
            if read > _MOST_READ or _digest(filepath) in (digest, None):
                continue
        count += 1
        if count <= _MOST_NAMED:
            notes.append(
                SampleNote(
                    sample_id,
                    filepath,
                    "its image file has changed since its labels were written; if the picture is "
                    "another one, segment this sample again with overwrite=True",
                )
            )
    if count > _MOST_NAMED:
        notes.append(SampleNote("", "", f"the image files of {count} samples have changed so"))
    if read > _MOST_READ:
        reason = (
            f"{read - _MOST_READ} image files with new dates were not compared with those that "
            "their labels were made of; if their pictures are other ones, segment them again with "
            "overwrite=True"
        )
        notes.append(SampleNote("", "", reason))
    return notes


def _digest(filepath: str) -> str | None:
    try:
        return image_digest(filepath)
    except ImageError:
        return None


def _kept_states(
    dataset: Any, field: str, sample_ids: Sequence[str]
) -> Iterator[tuple[str, str, str]]:
    path = f"{field}.{IMAGE}"
    for start in range(0, len(sample_ids), _LOOKED_UP_AT_ONCE):
        some = [ObjectId(sample_id) for sample_id in sample_ids[start : start + _LOOKED_UP_AT_ONCE]]
        for found in samples_of(dataset).find(
            {"_id": {"$in": some}, path: {"$type": "string"}}, {"filepath": 1, path: 1}
        ):
            yield str(found["_id"]), str(found.get("filepath")), found[field][IMAGE]
