"""Labels of many samples into the database in one bulk, each only where no labels are.

The files of a sample's masks come first. So a sample has all its labels or none, whenever a run
ends.

A process that was paused may write after another run has taken its lock, for the database can
compare with the sample's own document only. So labels carry the token of the lock. A writer looks
after each bulk whether it still held the lock, and takes the bulk's labels away if it did not; and
the run that took over replaces labels with the token of an overtaken one.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

import bson
from bson import ObjectId
from bson.raw_bson import RawBSONDocument
from pymongo import UpdateOne
from pymongo.errors import BulkWriteError, DocumentTooLarge

from ...errors import DatasetError
from ...worker.labels.kept_labels import KEPT
from ...worker.labels.label_bytes import (
    MOST_INLINE,
    WRITER,
    Stamp,
    masks_as_png,
    with_mask_paths,
)
from ...worker.labels.made_labels import MADE, MADE_TAGS, joined_made, joined_made_tags
from ...worker.messages import Result
from ..database.errors import is_disk_full, with_patience
from ..database.fiftyone_internals import dataset_id, samples_of
from ..database.locks import LockLostError, RunLock
from ..database.run_record import is_stored, read_facts
from ..labels.clear_field import take_away, without_labels
from ..labels.convert import label_defaults, list_defaults
from ..labels.label_field import RunIds, run_of
from ..labels.mask_files import MaskFiles
from .bulks import refused_of, together
from .report import deleted

_TRIES = 5
_LOOKED_UP_AT_ONCE = 1000
# How long a field that was there counts as there.
SEEN_SECONDS = 0.1


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
        stamp: what is written with the labels of each sample.
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
        self.stamp = Stamp(
            run if isinstance(run, str) else None,
            lock.token,
            label_defaults(),
            list_defaults(),
            all_in_files,
        )
        self._samples = samples_of(dataset)
        self._seen_there = -SEEN_SECONDS

    def is_there(self) -> bool:
        """Whether the database has the dataset and the field, at this moment."""
        return is_stored(self.dataset_id, self.field)

    def is_replaceable(self, held: Mapping[str, Any] | None) -> bool:
        """Whether a sample's labels may be written where its field holds something.

        ``held`` is what the database has there, its token among it.
        """
        return held is None or bool(held.get(KEPT)) or held.get(WRITER) in self.lock.overtaken()

    def write(self, results: Sequence[Result]) -> Iterator[Result]:
        """Write the labels of some samples, masks too large for the database to files.

        Gives the results in their order, each once it is written.

        A sample that cannot be written gets its error, and no other is concerned:
        ``FilledError`` where it got labels from elsewhere, ``LookupError`` where it is there no
        more. Those with an error or without labels are passed over. What holds samples in memory
        does not see their labels yet.

        Raises:
            DatasetError: the dataset or the field was deleted.
            LockLostError: another run took over.
            MaskFolderError: masks cannot be written to files.
            OperationFailure: the database's disk is full.
            ConnectionFailure: the database does not answer.
        """
        for result in results:
            result.finish()
        for bulk in together(results):
            labelled = [result for result in bulk if result.error is None and result.document]
            if labelled:
                self._write(labelled)
            yield from bulk

    def drop_strays(self) -> None:
        """Take away labels that were written while somebody deleted their field.

        FiftyOne takes the values out of the samples first and the field off the dataset after.
        What is written in between is the value of no field, and FiftyOne cannot load a sample
        with one. To be called when nothing writes any more.
        """
        if not self.is_there() and not self.dataset.deleted:
            mine = {f"{self.field}.{WRITER}": self.lock.token}
            self._samples.update_many(mine, {"$unset": {self.field: ""}})

    def unsettled(self, sample_ids: Iterable[Sequence[str]], overtaken: Sequence[str]) -> list[str]:
        """Which samples, counted as done, do not hold labels of this run; not those deleted.

        Labels that an overtaken run made under the same id become this run's own, so that it
        cannot take them back any more.

        Args:
            sample_ids: lists of samples.
            overtaken: tokens of overtaken runs whose processes may live.
        """
        writer, lost = f"{self.field}.{WRITER}", []
        for some in _in_parts(sample_ids):
            these = {"_id": {"$in": [ObjectId(sample_id) for sample_id in some]}}
            if overtaken:
                self.lock.require()
                stale = {**these, writer: {"$in": list(overtaken)}}
                self._samples.update_many(stale, {"$set": {writer: self.lock.token}})
            found = self._samples.find(these, {f"{self.field}.run": 1})
            held = {str(entry["_id"]): (entry.get(self.field) or {}).get("run") for entry in found}
            lost += [key for key in some if key in held and held[key] != run_of(self.run, key)]
        return lost

    def _write(self, bulk: Sequence[Result]) -> None:
        try:
            self._store(bulk)
            for result in self._update(_well(bulk)):
                # Judged to fit by itself, but the sample's other fields leave too little room.
                result.pngs = masks_as_png(result.document or b"")
                if result.pngs is None:
                    result.error = DocumentTooLarge("its labels are too large for the database")
                    continue
                self._store([result])
                for still in self._update(_well([result])):
                    still.error = DocumentTooLarge("its labels are too large for the database")
            self._require_in_time(bulk)
        except LockLostError:
            # The run that took over may have kept what was written.
            self._drop_files([result for result in bulk if result.pngs])
            raise
        self._drop_files([result for result in bulk if result.pngs and result.error is not None])
        if self.masks.root.exists():
            for result in _well(bulk):
                used = self.masks.paths(result.sample_id, len(result.pngs or []))
                self.masks.drop_leftovers(result.sample_id, used)

    def _store(self, bulk: Sequence[Result]) -> None:
        """Write masks to files, of results with any; samples that are not free get an error."""
        in_files = []
        for result in bulk:
            if result.pngs is None and len(result.document or b"") > MOST_INLINE:
                result.pngs = masks_as_png(result.document or b"")
            if result.pngs is not None:
                in_files.append(result)
        if not in_files:
            return
        self.lock.require()
        self._free(in_files)
        for result in _well(in_files):
            paths = self.masks.store(result.sample_id, result.pngs or [])
            result.document = with_mask_paths(result.document or b"", paths)
            if not self.stamp.in_files:
                root = self.masks.root
                large = f"its masks are too large for the database; they are files below {root}"
                result.notes.append(large)

    def _update(self, bulk: Sequence[Result]) -> list[Result]:
        """Write labels where samples have no others, in one bulk; gives those that are too large.

        ``sample.save()`` cannot say of which state it takes the sample to be. What is written
        again after a lost connection meets its own labels.
        """
        waiting: list[Result] = list(bulk)
        overtaken: list[str] = []
        too_large: list[Result] = []
        for _ in range(_TRIES):
            if not waiting:
                return too_large
            matched, refused = with_patience(lambda: self._send(waiting, overtaken))  # noqa: B023
            too_large += [result for result in refused if result.error is None]
            waiting = [result for result in waiting if result not in refused]
            if matched >= len(waiting):
                return too_large
            self.lock.require()
            waiting, overtaken = self._free(waiting)
        for result in waiting:
            result.error = FilledError()
        return too_large

    def _send(self, bulk: Sequence[Result], overtaken: Sequence[str]) -> tuple[int, list[Result]]:
        """One bulk; gives how many samples matched, and those that were refused.

        Labels with the token of an overtaken run are replaced. A refused sample has an error,
        unless it is too large.
        """
        self.lock.require()
        self._require_field()
        free: dict[str, Any] = {self.field: None}
        if overtaken:
            # MongoDB takes longer to look at two conditions than at one.
            free = {"$or": [free, {f"{self.field}.{WRITER}": {"$in": list(overtaken)}}]}
        now = datetime.now(timezone.utc)
        made = self._made_before([result for result in bulk if result.kept is not None])
        updates = [
            UpdateOne(
                {"_id": ObjectId(result.sample_id), **free},
                {
                    "$set": {
                        self.field: RawBSONDocument(result.document or b""),
                        "last_modified_at": now,
                    }
                },
            )
            if result.kept is None
            else self._added(result, made.get(result.sample_id, {}), now)
            for result in bulk
        ]
        try:
            return self._samples.bulk_write(updates, ordered=False).matched_count, []
        except DocumentTooLarge:
            if len(bulk) > 1:
                raise
            return 0, list(bulk)
        except BulkWriteError as error:
            if is_disk_full(error):
                raise
            return int(error.details.get("nMatched", 0)), list(refused_of(bulk, error))

    def _require_field(self) -> None:
        """See that nobody deleted the field, which must not come back; not at each of many bulks.

        What is written until it is seen is taken away at the end (``drop_strays``).
        """
        if time.monotonic() - self._seen_there < SEEN_SECONDS:
            return
        if not self.is_there():
            raise DatasetError(deleted(self.field))
        self._seen_there = time.monotonic()

    def _made_before(self, results: Sequence[Result]) -> dict[str, Mapping[str, Any]]:
        """What the field holds on how a run made the labels that stay, by the sample's id."""
        ids = [ObjectId(result.sample_id) for result in results]
        wanted = {f"{self.field}.{name}": 1 for name in (MADE, MADE_TAGS)}
        found = self._samples.find({"_id": {"$in": ids}}, wanted) if ids else []
        return {str(entry["_id"]): entry.get(self.field) or {} for entry in found}

    def _added(self, result: Result, before: Mapping[str, Any], now: datetime) -> UpdateOne:
        """Labels added to those of people, whatever these look like at the moment."""
        whole = bson.decode(result.document or b"")
        labels = whole.pop("detections")
        made = before.get(MADE)
        whole[MADE] = joined_made(made if isinstance(made, str) else "", whole[MADE])
        if MADE_TAGS in whole:
            whole[MADE_TAGS] = joined_made_tags(before.get(MADE_TAGS), whole[MADE_TAGS])
        path = f"{self.field}.{MADE}"
        return UpdateOne(
            {"_id": ObjectId(result.sample_id), f"{self.field}.{KEPT}": True, path: made},
            {
                "$push": {f"{self.field}.detections": {"$each": labels}},
                "$set": {
                    **{f"{self.field}.{name}": value for name, value in whole.items()},
                    "last_modified_at": now,
                },
                "$unset": {f"{self.field}.{KEPT}": ""},
            },
        )

    def _free(self, bulk: Sequence[Result]) -> tuple[list[Result], list[str]]:
        """Those of some samples that have no labels but those of overtaken runs; their tokens.

        What overtaken runs wrote where people worked since is taken away, and theirs stays. The
        others get an error, unless they hold this run's own labels.
        """
        held, overtaken = self._held(bulk), []
        if any(value is not None for value in held.values()):
            overtaken = self.lock.overtaken()
        late = [key for key, value in held.items() if (value or {}).get(WRITER) in overtaken]
        if late:
            take_away(self._samples, self.field, late, self.lock, boxes=self._boxes())
            held = self._held(bulk)
        free = []
        for result in bulk:
            labels = held.get(result.sample_id)
            if result.sample_id not in held:
                result.error = LookupError("The sample was deleted.")
            elif labels is None or labels.get(KEPT):
                result.kept = None if labels is None else len(labels.get("detections") or ())
                free.append(result)
            elif labels.get(WRITER) in overtaken:
                free.append(result)
            elif labels.get(WRITER) != self.lock.token:
                result.error = FilledError()
        return free, overtaken

    def _held(self, bulk: Sequence[Result]) -> dict[str, Any]:
        """What the field holds in some samples, without the labels' contents, by their ids."""
        names = (WRITER, KEPT, "_cls", "detections._id")
        ids = [ObjectId(result.sample_id) for result in bulk]
        wanted = {f"{self.field}.{name}": 1 for name in names}
        found = self._samples.find({"_id": {"$in": ids}}, wanted)
        return {str(entry["_id"]): entry.get(self.field) for entry in found}

    def _boxes(self) -> str | None:
        """The field whose boxes this run fills, if it does: as did one that wrote late."""
        boxes = read_facts(self.dataset, self.field).get("boxes")
        return None if boxes is None else str(boxes)

    def _require_in_time(self, bulk: Sequence[Result]) -> None:
        """Undo what was written too late, unless another run replaced or kept it."""
        try:
            self.lock.require()
        except LockLostError:
            ids = [ObjectId(result.sample_id) for result in bulk if result.kept is None]
            mine = {f"{self.field}.{WRITER}": self.lock.token}
            self._samples.update_many({"_id": {"$in": ids}, **mine}, {"$set": {self.field: None}})
            for result in bulk:
                if result.kept is not None and result.document:
                    labels = bson.decode(result.document)["detections"]
                    this = {"_id": ObjectId(result.sample_id), **mine}
                    new = [label["_id"] for label in labels]
                    self._samples.update_one(this, without_labels(self.field, new))
            raise

    def _drop_files(self, bulk: Sequence[Result]) -> None:
        """Remove the mask files of samples that their labels in the database do not name."""
        path = f"{self.field}.detections.mask_path"
        for result in bulk:
            place = {"_id": ObjectId(result.sample_id)}
            used = [name for name in self._samples.distinct(path, place) if name]
            self.masks.drop_leftovers(result.sample_id, used)


def _well(bulk: Sequence[Result]) -> list[Result]:
    return [result for result in bulk if result.error is None]


def _in_parts(lists: Iterable[Sequence[str]]) -> Iterator[Sequence[str]]:
    for ids in lists:
        for start in range(0, len(ids), _LOOKED_UP_AT_ONCE):
            yield ids[start : start + _LOOKED_UP_AT_ONCE]
