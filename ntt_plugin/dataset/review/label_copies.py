"""Copies of labels in another field, made and kept up to date, in one step a sample each."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import fiftyone as fo
import numpy as np
from bson import ObjectId
from pymongo.errors import PyMongoError

from ...engine.images.load import shown_size
from ...errors import DatasetError, ImageError
from ...worker.labels.boxes import relative_box
from ...worker.labels.label_bytes import NewLabel, png_bytes
from ...worker.labels.made_labels import MADE, label_digest, read_made
from ..database.errors import is_too_large
from ..database.fiftyone_internals import samples_of
from ..labels.clean import Clean, tight_mask
from ..labels.convert import label_defaults
from ..labels.mask_files import MaskFiles
from ..labels.overlap import Outline, outline, overlaps
from ..labels.peoples_labels import stored_digest
from .accepted_record import AcceptedRecord, Digests

_TRIES = 5

_SHOWN = ("label", "bounding_box", "mask", "mask_path", "confidence")
"""What of a label goes into its copy."""

Document = Mapping[str, Any]
"""A label as the database has it."""


@dataclass
class Outcome:
    """What was done with the labels of a sample.

    Attributes:
        filepath: the sample's image.
        copied: ids of those that were copied, with their classes.
        updated: ids of those whose copies were brought up to date, with their classes.
        already: how many were there, or their objects.
        changed: how many were corrected while somebody changed their copies, which stay.
        deleted: how many copies somebody had deleted; they stay away.
        failed: why labels could not be handed on.
    """

    filepath: str
    copied: dict[str, str] = field(default_factory=dict)
    updated: dict[str, str] = field(default_factory=dict)
    already: int = 0
    changed: int = 0
    deleted: int = 0
    failed: list[str] = field(default_factory=list)


class LabelCopies:
    """Copies labels from one field into another; a corrected label corrects its copy."""

    def __init__(self, dataset: Any, label_field: str, into: str, clean: Clean | None) -> None:
        """Read how the labels were that were accepted before.

        Raises:
            DatasetError: the record of them is damaged.
        """
        self.record = AcceptedRecord(dataset, label_field, into)
        self._samples = samples_of(dataset)
        self._field, self._into, self._clean = label_field, into, clean
        self._files = MaskFiles(dataset, f"accepted_{into}")
        self._defaults = label_defaults()

    def accept(self, sample_id: str, wanted: Collection[str]) -> Outcome:
        """Hand on labels of a sample.

        Raises:
            KeyError: the sample is gone.
        """
        names = {self._field: 1, self._into: 1, "filepath": 1}
        sample = self._samples.find_one(_this(sample_id), names)
        if sample is None:
            raise KeyError(sample_id)
        done = Outcome(sample["filepath"])
        labels, copies = _by_id(sample, self._field), _by_id(sample, self._into)
        known = self.record.of_sample(sample_id)
        made = read_made((sample.get(self._field) or {}).get(MADE) or "")
        missing, corrected = list[str](), list[str]()
        for key in wanted:
            if key not in labels:
                continue  # deleted meanwhile
            if key not in copies and key in known and sample.get(self._into) is not None:
                done.deleted += 1
            elif key not in copies:
                missing.append(key)
            elif self._is_corrected(sample_id, labels[key], copies[key], known.get(key)):
                corrected.append(key)
            else:
                done.already += 1
        if not missing and not corrected:
            return done
        try:
            size = shown_size(done.filepath)
            for key in corrected:
                free = _is_as_accepted(copies[key], known.get(key), made.get(key))
                self._correct(sample_id, labels[key], copies[key], size, free, done)
            self._add_missing(sample_id, labels, missing, copies, size, done)
        except (DatasetError, ImageError) as error:
            done.failed.append(str(error))
        return done

    def _is_corrected(
        self, sample_id: str, label: Document, copy: Document, known: Digests | None
    ) -> bool:
        """Whether a label is another one than when it was accepted, or may be."""
        now, there = stored_digest(label), stored_digest(copy)
        if known is None and now is not None and now == there:
            self.record.add(sample_id, str(label["_id"]), Digests(now, now))
        return now is not None and now != (known.label if known else there)

    def _correct(
        self,
        sample_id: str,
        label: Document,
        former: Document,
        size: tuple[int, int],
        free: bool,
        done: Outcome,
    ) -> None:
        """Bring a copy up to date if it is free of what a person did."""
        key = str(label["_id"])
        try:
            copy = self._copy(label, size)
            if stored_digest(former) == copy_digest(copy):
                done.already += 1
            elif free and self._replace(sample_id, former, copy):
                done.updated[key] = copy.label
            else:
                done.changed += 1
                return
        except DatasetError as error:
            done.failed.append(f"label {key}: {error}")
            return
        self._remember(sample_id, label, copy)

    def _add_missing(
        self,
        sample_id: str,
        labels: Mapping[str, Document],
        missing: Iterable[str],
        copies: Mapping[str, Document],
        size: tuple[int, int],
        done: Outcome,
    ) -> None:
        # Labels that were accepted from here before stand side by side as their review has them.
        others = _outlines([copy for key, copy in copies.items() if key not in labels], size)
        new: dict[str, NewLabel] = {}
        for key in missing:
            try:
                if overlaps([outline(_detection(labels[key]), size)], others)[0]:
                    done.already += 1
                else:
                    new[key] = self._copy(labels[key], size)
            except DatasetError as error:
                done.failed.append(f"label {key}: {error}")
        if new:
            self._push(sample_id, new)
        for key, copy in new.items():
            done.copied[key] = copy.label
            # After the copy: of what a killed process did not remember, an equal copy tells.
            self._remember(sample_id, labels[key], copy)

    def _remember(self, sample_id: str, label: Document, copy: NewLabel) -> None:
        digest = stored_digest(label)
        if digest is not None:
            self.record.add(sample_id, str(label["_id"]), Digests(digest, copy_digest(copy)))

    def _copy(self, label: Document, size: tuple[int, int]) -> NewLabel:
        detection = _detection(label)
        if not (detection.label or "").strip():
            raise DatasetError("It has no name.")
        if not detection.has_mask:
            box = list(detection.bounding_box)
            return NewLabel(detection.label, box, None, detection.confidence)
        mask, corners = tight_mask(detection, size, self._clean)
        whole = np.ascontiguousarray(mask)
        return NewLabel(detection.label, relative_box(corners, size), whole, detection.confidence)

    def _replace(self, sample_id: str, former: Document, copy: NewLabel) -> bool:
        """Change a copy in one step, if it is as it was; whether it was."""
        in_files = former.get("mask_path") is not None
        while True:
            try:
                return self._replace_once(sample_id, former, copy, in_files)
            except PyMongoError as error:
                if in_files or not is_too_large(error):
                    raise
                in_files = True

    def _replace_once(
        self, sample_id: str, former: Document, copy: NewLabel, in_files: bool
    ) -> bool:
        # A name of its own, so that the former file is whole until the copy names this one.
        name = f"{former['_id']}_{copy_digest(copy).hex()}"
        document = self._document(sample_id, name, copy, in_files)
        path = f"{self._into}.detections"
        kept = {f"{path}.$[one].{key}": document[key] for key in _SHOWN if key in document}
        gone = {f"{path}.$[one].{key}": "" for key in _SHOWN if key not in document}
        unchanged = {key: former.get(key) for key in ("_id", *_SHOWN) if key != "confidence"}
        matched = self._samples.update_one(
            {**_this(sample_id), path: {"$elemMatch": unchanged}},
            {
                "$set": {**kept, "last_modified_at": datetime.now(timezone.utc)},
                **({"$unset": gone} if gone else {}),
            },
            array_filters=[{"one._id": former["_id"]}],
        ).matched_count
        if matched and former.get("mask_path") != document.get("mask_path"):
            self._files.drop_one(former.get("mask_path"))
        return bool(matched)

    def _push(self, sample_id: str, new: dict[str, NewLabel]) -> None:
        """Add labels to what the field holds at this moment, each once."""
        in_files = self._in_files(sample_id)
        for _ in range(_TRIES):
            documents = [
                {**self._document(sample_id, key, copy, in_files), "_id": ObjectId(key)}
                for key, copy in new.items()
            ]
            try:
                if not documents or self._add(sample_id, documents):
                    return
            except PyMongoError as error:
                if in_files or not is_too_large(error):
                    raise
                in_files = True
                continue
            # Another person accepted some of them meanwhile.
            held = self._samples.distinct(f"{self._into}.detections._id", _this(sample_id))
            for label_id in map(str, held):
                new.pop(label_id, None)
        raise DatasetError("Others are changing its labels again and again; accept again.")

    def _add(self, sample_id: str, documents: list[dict[str, Any]]) -> bool:
        path, now = f"{self._into}.detections", datetime.now(timezone.utc)
        ids = [document["_id"] for document in documents]
        added = {"$push": {path: {"$each": documents}}, "$set": {"last_modified_at": now}}
        some = {**_this(sample_id), path: {"$type": "array"}, f"{path}._id": {"$nin": ids}}
        if self._samples.update_one(some, added).matched_count:
            return True
        whole = {**fo.Detections().to_dict(), "detections": documents}
        fresh = {"$set": {self._into: whole, "last_modified_at": now}}
        none = {**_this(sample_id), path: None}
        return bool(self._samples.update_one(none, fresh).matched_count)

    def _in_files(self, sample_id: str) -> bool:
        """Whether the sample's masks are files: too many for the database, or as a user wants."""
        path = f"{self._field}.detections.mask_path"
        used = {**_this(sample_id), path: {"$type": "string"}}
        return self._samples.find_one(used, {"_id": 1}) is not None

    def _document(
        self, sample_id: str, name: str, copy: NewLabel, in_files: bool
    ) -> dict[str, Any]:
        path = None
        if in_files and copy.mask is not None:
            path = self._files.store_one(sample_id, name, png_bytes(copy.mask))
        return copy.document(self._defaults, path)


def copy_digest(copy: NewLabel) -> bytes:
    """The digest of a label that is to be written."""
    return label_digest(copy.label, copy.bounding_box, copy.mask)


def _is_as_accepted(copy: Document, known: Digests | None, made: bytes | None) -> bool:
    """Whether nobody changed a copy since; without a record, whether it is what a run made."""
    digest = stored_digest(copy)
    return digest is not None and digest == (known.copy if known else made)


def _outlines(labels: Iterable[Document], size: tuple[int, int]) -> list[Outline]:
    found = []
    for label in labels:
        # A label that a person left without an area covers nothing.
        with suppress(DatasetError):
            found.append(outline(_detection(label), size))
    return found


def _detection(label: Document) -> fo.Detection:
    try:
        return fo.Detection.from_dict(dict(label))
    # A person, or another program, may have left anything in it.
    except Exception as error:
        raise DatasetError(f"FiftyOne cannot read it ({error}).") from error


def _by_id(sample: Mapping[str, Any], name: str) -> dict[str, Document]:
    return {str(label["_id"]): label for label in (sample.get(name) or {}).get("detections") or []}


def _this(sample_id: str) -> dict[str, Any]:
    return {"_id": ObjectId(sample_id)}
