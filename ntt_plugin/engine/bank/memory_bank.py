"""The memory bank: instance features per class, with negatives and provenance (recipe, 2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ...errors import BankError
from ..device.device import float_array
from ..files import write_whole
from ..images.load import READING_VERSION
from ..recipe import Recipe
from ..references import Provenance
from . import file_format
from .records import (
    LARGEST_VALUE,
    BankEntry,
    BankRecord,
    ClassMemory,
    Fingerprint,
    Refused,
    StoredReference,
    UnitFeatures,
    is_threshold,
    new_reference_id,
)
from .schema import MAX_VERSION, check_label

__all__ = ["Fingerprint", "MemoryBank", "Refused", "StoredReference"]

Provenances = Sequence[Provenance] | Provenance | None


class MemoryBank:
    """Instance features of each class under one encoder.

    Every class has at least one reference: removing the last one removes the class and its
    negatives.

    Example:
        >>> from ntt_plugin.engine import Fingerprint, MemoryBank
        >>> bank = MemoryBank(Fingerprint("an encoder", "digest", size=224, channels=2))
        >>> ids = bank.add("cat", torch.tensor([[3.0, 0.0], [1.0, 3.0]]))
        >>> bank.shots("cat"), bank.prototypes()
        (2, tensor([[0.8000, 0.6000]]))
    """

    def __init__(self, fingerprint: Fingerprint, recipe: Recipe | str = "paper") -> None:
        """An empty bank.

        Args:
            fingerprint: the encoder that makes its features.
            recipe: what the bank is made with and is to be used with; or a preset's name.

        Raises:
            RecipeError: there is no preset of that name.
        """
        if isinstance(recipe, str):
            recipe = Recipe.from_preset(recipe)
        self._record = BankRecord(fingerprint, recipe)
        self._units: UnitFeatures | None = None

    def __len__(self) -> int:
        """Number of references, over all classes, without negatives."""
        return sum(len(entry.references) for entry in self._record.classes.values())

    def __repr__(self) -> str:
        held = f"{len(self)} references of {len(self.classes)} classes"
        return f"MemoryBank({held}, encoder {self.fingerprint.describe()})"

    @property
    def fingerprint(self) -> Fingerprint:
        """The encoder that made the features."""
        return self._record.fingerprint

    @property
    def recipe(self) -> Recipe:
        """The recipe that the bank was built with, saved in its file in full."""
        return self._record.recipe

    @property
    def preset(self) -> str:
        """Name of the preset that the recipe started from; single values may be overridden."""
        return self._record.recipe.name

    @property
    def created(self) -> str:
        """When the bank was made, ISO 8601 in UTC."""
        return self._record.created

    @property
    def version(self) -> int:
        """Number of changes so far; after 2,147,483,647 it starts again at 1."""
        return self._record.version

    @property
    def refused(self) -> list[Refused]:
        """References that yielded no feature; the list may be appended to."""
        return self._record.refused

    @property
    def notes(self) -> list[str]:
        """Remarks on how references were read, for people; the list may be appended to."""
        return self._record.notes

    @property
    def classes(self) -> list[str]:
        """Labels in the order in which they were first added."""
        return list(self._record.classes)

    @property
    def thresholds(self) -> dict[str, float]:
        """Confidence thresholds in [0, 1] by class, of the classes that have one."""
        found = {label: entry.threshold for label, entry in self._record.classes.items()}
        return {label: value for label, value in found.items() if value is not None}

    @property
    def expected_recalls(self) -> dict[str, float]:
        """Of the classes with an estimated threshold the share of objects expected above it."""
        found = {label: entry.expected_recall for label, entry in self._record.classes.items()}
        return {label: value for label, value in found.items() if value is not None}

    def set_thresholds(
        self, thresholds: Mapping[str, float], recalls: Mapping[str, float] | None = None
    ) -> None:
        """Replace all thresholds; classes that are not named lose theirs.

        Matching does not depend on them, so the version does not change. ``recalls`` marks
        thresholds as estimated: the share of objects that is expected above each, 0 to 1.

        Raises:
            BankError: unknown class, or a threshold that is not a number in [0, 1].
        """
        for label, value in thresholds.items():
            self._class(label)
            if not is_threshold(value):
                raise BankError(f"The threshold of {label!r} is {value!r}; give one from 0 to 1.")
        for label, entry in self._record.classes.items():
            entry.threshold = float(thresholds[label]) if label in thresholds else None
            entry.expected_recall = (recalls or {}).get(label)

    def shots(self, label: str) -> int:
        """Number of references of a class."""
        return len(self._class(label).references)

    def references(self, label: str) -> list[StoredReference]:
        """References of a class, in order of addition."""
        return list(self._class(label).references)

    def negative_references(self, label: str) -> list[StoredReference]:
        """Negatives of a class, in order of addition."""
        return list(self._class(label).negatives)

    def entries(self) -> Iterator[BankEntry]:
        """Of every class its references, then its negatives, in order of addition."""
        for label, entry in self._record.classes.items():
            yield from (BankEntry(label, False, stored) for stored in entry.references)
            yield from (BankEntry(label, True, stored) for stored in entry.negatives)

    def features(self, label: str) -> Tensor:
        """Instance features of a class, not normalised, float32 (shots, C)."""
        return torch.stack([entry.feature for entry in self._class(label).references])

    def negatives(self, label: str) -> Tensor:
        """Negative features of a class, not normalised, float32 (n, C); n may be 0."""
        rows = [entry.feature for entry in self._class(label).negatives]
        return torch.stack(rows) if rows else torch.zeros(0, self.fingerprint.channels)

    def prototypes(self) -> Tensor:
        """One unit-length prototype a class, in the order of ``classes``, float32 (k, C).

        The plain mean of the class's instance features, then normalised (recipe, section 2).
        """
        return self.unit_features.prototypes.clone()

    @property
    def unit_features(self) -> UnitFeatures:
        """Unit-length prototypes, references and negatives for matching; read-only."""
        if self._units is None:
            self._units = UnitFeatures(self._record.classes, self.fingerprint.channels)
        return self._units

    def add(
        self,
        label: str,
        features: Tensor,
        provenances: Provenances = None,
        reading: int = READING_VERSION,
    ) -> list[str]:
        """Add references to a class, creating it if it is new.

        Args:
            label: the class.
            features: instance features, float (n, C) or (C,).
            provenances: one for each feature; unknown if None.
            reading: the ``READING_VERSION`` with which their images were read.

        Returns:
            The ids of the new references.

        Raises:
            BankError: wrong shape, a value that is not finite, or an unusable label.
        """
        check_label(label)
        stored = self._store(features, provenances, reading)
        if stored:
            self._record.classes.setdefault(label, ClassMemory()).references.extend(stored)
            self._changed()
        return [entry.id for entry in stored]

    def add_negatives(
        self,
        label: str,
        features: Tensor,
        provenances: Provenances = None,
        reading: int = READING_VERSION,
    ) -> list[str]:
        """Add negatives to an existing class (recipe, section 5).

        Arguments and errors as for ``add``; an unknown class is also a ``BankError``.
        """
        entry = self._class(label)
        stored = self._store(features, provenances, reading)
        if stored:
            entry.negatives.extend(stored)
            self._changed()
        return [reference.id for reference in stored]

    def remove(self, label: str) -> None:
        """Remove a class with its references and negatives.

        Raises:
            BankError: the bank holds no such class.
        """
        self._class(label)
        del self._record.classes[label]
        self._changed()

    def remove_reference(self, reference_id: str) -> None:
        """Remove a reference or a negative; removing the last reference removes the class.

        Raises:
            BankError: the bank holds no such reference.
        """
        for label, entry in self._record.classes.items():
            for stored in (entry.references, entry.negatives):
                for reference in stored:
                    if reference.id == reference_id:
                        stored.remove(reference)
                        if not entry.references:
                            del self._record.classes[label]
                        self._changed()
                        return
        raise BankError(f"The bank holds no reference {reference_id!r}; it may be gone already.")

    def merge(self, other: MemoryBank) -> None:
        """Add the references and negatives of another bank, except those already here (by id).

        The recipe and the thresholds of this bank are kept; a class without a threshold takes
        the other bank's.

        Raises:
            BankError: the banks come from different encoders; names both.
        """
        self.require_encoder(other.fingerprint)
        known = self._ids()
        for label, theirs in other._record.classes.items():
            references = [entry for entry in theirs.references if entry.id not in known]
            negatives = [entry for entry in theirs.negatives if entry.id not in known]
            if label not in self._record.classes and not references:
                continue
            mine = self._record.classes.setdefault(label, ClassMemory())
            mine.references.extend(references)
            mine.negatives.extend(negatives)
            if mine.threshold is None:
                mine.threshold, mine.expected_recall = theirs.threshold, theirs.expected_recall
        self.refused.extend(entry for entry in other.refused if entry not in self.refused)
        self.notes.extend(note for note in other.notes if note not in self.notes)
        if len(self._ids()) > len(known):
            self._changed()

    def require_classes(self) -> None:
        """Raise ``BankError`` if the bank is empty."""
        if not self._record.classes:
            raise BankError("The memory bank holds no class; add references first.")

    def require_encoder(self, fingerprint: Fingerprint) -> None:
        """Raise ``BankError``, naming both encoders, if their features are not comparable."""
        if not self.fingerprint.same(fingerprint):
            raise BankError(
                f"The memory bank was made by the encoder {self.fingerprint.describe()}, "
                f"but this is {fingerprint.describe()}. Use the bank with the encoder that made "
                "it, or build it again with this one."
            )

    def nearest_reference(self, label: str, features: Tensor) -> list[str]:
        """Id of the class's most similar reference (by cosine) for each feature (n, C)."""
        self._class(label)
        return self.unit_features.nearest_reference(label, float_array(features))

    def to_bytes(self) -> bytes:
        """The bank as the bytes of its file: safetensors with JSON metadata."""
        return b"".join(self.to_pieces()[1])

    def to_pieces(self) -> tuple[int, Iterator[bytes]]:
        """Number of bytes of the file, and an iterator over them, for banks of hundreds of MB.

        Raises:
            BankError: a text is too long, or the bank has more references than a file can hold.
        """
        return file_format.pack(self._record)

    @classmethod
    def from_bytes(cls, data: bytes | bytearray) -> MemoryBank:
        """Read a bank from its file's bytes; a bytearray is not copied: do not change it.

        Raises:
            BankError: the bytes are damaged or not a memory bank.
        """
        return cls._of(file_format.unpack(data))

    def save(self, path: str | Path) -> None:
        """Write the bank to a file, atomically.

        Raises:
            BankError: the file cannot be written.
        """
        path, data = Path(path), self.to_bytes()
        try:
            # Not tempfile, whose files only their owner can read.
            write_whole(path, data, path.with_name(f".{path.name}.{new_reference_id()}"))
        except (OSError, ValueError) as error:
            raise BankError(
                f"Cannot write the memory bank {path} ({error}); give a file in a folder that you "
                "may write to and that has room."
            ) from error

    @classmethod
    def load(cls, path: str | Path) -> MemoryBank:
        """Read a bank's file.

        The file's recipe names networks by hub id or path, which are loaded when the recipe is
        used. Inspect ``recipe`` before you use a file that you do not trust.

        Raises:
            BankError: the file is missing, damaged or not a memory bank.
        """
        return cls._of(file_format.read(Path(path)))

    @classmethod
    def _of(cls, record: BankRecord) -> MemoryBank:
        bank = cls(record.fingerprint, record.recipe)
        bank._record = record
        return bank

    def _class(self, label: str) -> ClassMemory:
        if label not in self._record.classes:
            more = ["..."] if len(self.classes) > 10 else []
            held = ", ".join([*self.classes[:10], *more]) or "none"
            raise BankError(f"The bank holds no class {label!r}; its classes are {held}.")
        return self._record.classes[label]

    def _ids(self) -> set[str]:
        return {stored.id for *_, stored in self.entries()}

    def _store(
        self, features: Tensor, provenances: Provenances, reading: int
    ) -> list[StoredReference]:
        channels = self.fingerprint.channels
        rows = features[None] if features.ndim == 1 else features
        if rows.ndim != 2 or rows.shape[1] != channels:
            raise BankError(
                f"Features of shape {tuple(features.shape)} do not fit the bank: "
                f"the encoder {self.fingerprint.name} gives (n, {channels})."
            )
        rows = rows.detach().to("cpu", torch.float32)
        if not (rows.abs() <= LARGEST_VALUE).all():
            raise BankError(
                f"A feature holds a value that is not finite or beyond {LARGEST_VALUE:g}; leave "
                "its reference out."
            )
        if provenances is None:
            provenances = [Provenance()] * len(rows)
        elif isinstance(provenances, Provenance):
            provenances = [provenances]
        if len(provenances) != len(rows):
            raise BankError(f"{len(rows)} features came with {len(provenances)} provenances.")
        # Cloned, so that a row neither keeps the caller's tensor alive nor changes with it.
        return [
            StoredReference(new_reference_id(), provenance, row.clone(), reading)
            for provenance, row in zip(provenances, rows, strict=True)
        ]

    def _changed(self) -> None:
        self._record.version = self._record.version % MAX_VERSION + 1
        self._units = None
