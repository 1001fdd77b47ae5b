"""Labels on their way into a bank that is there: only what it does not hold yet is computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from ...engine.bank.memory_bank import MemoryBank, Refused, StoredReference
from ...engine.references import Provenance, may_be_same
from ...errors import ReferenceRefusedError
from ..database.label_lookup import redrawn_labels
from ..references.choose import ChosenReferences, read_references
from ..runtime.progress_bar import Progress, progress_bar
from ..samples.checks import dataset_of, quoted
from ..samples.label_selection import LabelKey
from ..segmenters import SegmenterLike, get_segmenter
from . import store
from .banks import learn


@dataclass(frozen=True)
class BankChange:
    """What was changed in a saved bank.

    Attributes:
        name: the bank's name.
        added: number of references added by class.
        negatives: number of negatives added by class.
        already: number of labels that it held before as what they were to be.
        removed: number of references and negatives taken away by class.
        refused: labels that could not be learnt, each with the reason.
        version: the bank's version, the number of changes since it was built.
        label_ids: ids of the labels that were learnt now, as references or as negatives.
        labels: the same labels, each by its sample, field and id.
    """

    name: str
    added: dict[str, int]
    negatives: dict[str, int]
    already: int
    removed: dict[str, int]
    refused: tuple[Refused, ...]
    version: int
    label_ids: tuple[str, ...] = ()
    labels: tuple[LabelKey, ...] = ()

    def __str__(self) -> str:
        """The counts in words, for logs and messages."""
        parts = [
            f"{sum(counts.values())} {what}"
            for counts, what in (
                (self.added, "references added"),
                (self.negatives, "negatives added"),
                (self.removed, "taken away"),
            )
            if counts
        ]
        parts += [f"{self.already} there already"] if self.already else []
        parts += [f"{len(self.refused)} left out"] if self.refused else []
        return f"{self.name!r}: {', '.join(parts) or 'nothing to change'}; version {self.version}"


@dataclass(frozen=True)
class _Wanted:
    """A label and what a bank is to hold it as."""

    label: str
    provenance: Provenance
    negative: bool
    source: LabelKey | None
    fields: Collection[str]
    redrawn: bool = False

    @property
    def key(self) -> LabelKey:
        """What names it."""
        source = self.provenance
        return LabelKey(str(source.sample), str(source.field), str(source.label))

    def places(self, places: Mapping[str, list[_Place]]) -> list[_Place]:
        """Where it is among all places, as itself or as the label that it is a copy of."""
        return [
            place
            for key in (self.key, self.source)
            if key is not None
            for place in places.get(key.label, [])
            if is_label(place.stored.provenance, key, self.fields)
            # The bank learnt it in the dataset that this one is a clone of, as it was there.
            and not (self.redrawn and place.stored.provenance.dataset != self.provenance.dataset)
        ]


@dataclass(frozen=True)
class _Place:
    """Where a bank holds the feature of a label."""

    label: str
    negative: bool
    stored: StoredReference


def learn_labels(
    dataset: Any,
    name: str,
    chosen: ChosenReferences,
    negatives: bool,
    device: str | torch.device | None,
    progress: Progress,
    segmenter: SegmenterLike | None,
    sources: Mapping[LabelKey, LabelKey] | None = None,
) -> BankChange:
    """Make a saved bank hold labels, as references or as negatives of their classes.

    The networks run before the bank is locked, and only for labels that it does not hold by
    their samples, fields and ids. One that it holds as the other kind, or under another class,
    takes its feature along. Then the bank is read again, as other processes may have left it, and
    changed.

    Args:
        dataset: the dataset.
        name: the bank's name.
        chosen: the labels.
        negatives: whether they are negatives.
        device: where to run; the best there is if None.
        progress: FiftyOne's.
        segmenter: in place of the bank's recipe and ``device``.
        sources: of labels that are copies those they were made of: the bank may hold the one or
            the other.

    Raises:
        DatasetError: there is no such bank, or another process was changing it for too long.
        ReferenceRefusedError: nothing could be learnt; names the first label and the reason.
        BankError: the bank is damaged, or another encoder made it than the segmenter has.
    """
    bank = store.read(dataset, name)
    wanted = _wanted(chosen, negatives, sources or {})
    places = _places(bank)
    wanted = _told_redrawn(wanted, places, dataset)
    new = [entry for entry in wanted if not entry.places(places) and not _no_class(bank, entry)]
    learnt = MemoryBank(bank.fingerprint, bank.recipe)
    if new:
        segmenter = segmenter or get_segmenter(bank.recipe, device)
        bank.require_encoder(segmenter.fingerprint)
        part = chosen.only(entry.key for entry in new)
        with progress_bar(part.count, progress, "references") as bar:
            for read in bar(read_references(part)):
                learn(learnt, read, segmenter)
    edit = _Edit(wanted, learnt, bank_name=name)
    version = store.change(dataset, name, edit).version
    return edit.told(version)


def is_label(provenance: Provenance, key: LabelKey, fields: Collection[str]) -> bool:
    """Whether a reference was learnt from a label.

    Args:
        provenance: the reference's; what it does not tell is not asked for. Banks of earlier
            versions do not tell the field.
        key: the label.
        fields: the dataset's fields; one that is no longer there was renamed.
    """
    field = provenance.field if provenance.field in fields else None
    named = Provenance(sample=key.sample, label=key.label, field=key.field)
    return may_be_same(replace(provenance, field=field), named)


class _Edit:
    """The change of a bank that makes it hold what is wanted; counts what it does."""

    def __init__(self, wanted: Iterable[_Wanted], learnt: MemoryBank, bank_name: str) -> None:
        self._wanted = wanted
        self._learnt = learnt
        self._features = {
            _key(place.stored.provenance): place.stored
            for places in _places(learnt).values()
            for place in places
        }
        self._reasons = {_key(entry.provenance): entry for entry in learnt.refused}
        self._name = bank_name
        self._added: dict[bool, Counter[str]] = {False: Counter(), True: Counter()}
        self._removed: Counter[str] = Counter()
        self._already = 0
        self._refused: list[Refused] = []
        self._labels: list[LabelKey] = []

    def __call__(self, bank: MemoryBank) -> bool:
        bank.require_encoder(self._learnt.fingerprint)
        places = _places(bank)
        for entry in self._wanted:
            self._hold(bank, entry, entry.places(places))
        changed = any(self._added.values())
        if not changed and self._refused and not self._already:
            first = self._refused[0]
            raise ReferenceRefusedError(
                f"None of the {len(self._refused)} labels could be learnt into the memory bank "
                f"{self._name!r}, which is as it was; the first, label {first.provenance.label} "
                f"of class {quoted(first.label)}: {first.reason}"
            )
        if changed:
            _note_refused(bank, self._refused)
            bank.notes.extend(note for note in self._learnt.notes if note not in bank.notes)
        return changed

    def told(self, version: int) -> BankChange:
        return BankChange(
            name=self._name,
            added=dict(self._added[False]),
            negatives=dict(self._added[True]),
            already=self._already,
            removed=dict(self._removed),
            refused=tuple(self._refused),
            version=version,
            label_ids=tuple(key.label for key in self._labels),
            labels=tuple(self._labels),
        )

    def _hold(self, bank: MemoryBank, entry: _Wanted, places: list[_Place]) -> None:
        if any((place.label, place.negative) == (entry.label, entry.negative) for place in places):
            self._already += 1
            return
        reason = _no_class(bank, entry) or _last_one(bank, entry, places)
        if reason:
            self._refused.append(Refused(entry.label, entry.provenance, reason))
            return
        stored = places[0].stored if places else self._features.get(entry.key)
        if stored is None:
            self._refused.append(self._why_not(entry))
            return
        add = bank.add_negatives if entry.negative else bank.add
        add(entry.label, stored.feature, stored.provenance, stored.reading)
        self._added[entry.negative][entry.label] += 1
        self._labels.append(entry.key)
        for place in places:
            bank.remove_reference(place.stored.id)
            self._removed[place.label] += 1

    def _why_not(self, entry: _Wanted) -> Refused:
        gone = "It was deleted, or taken out of the bank, meanwhile; learn it again if it is there."
        known = self._reasons.get(entry.key)
        return known or Refused(entry.label, entry.provenance, gone)


def _wanted(
    chosen: ChosenReferences, negatives: bool, sources: Mapping[LabelKey, LabelKey]
) -> list[_Wanted]:
    dataset = dataset_of(chosen.view)
    fields = set(dataset.get_field_schema())
    wanted = []
    for key, label in chosen.keys().items():
        source = Provenance(dataset.name, key.sample, key.label, field=key.field)
        wanted.append(_Wanted(label, source, negatives, sources.get(key), fields))
    return wanted


def _told_redrawn(
    wanted: list[_Wanted], places: Mapping[str, list[_Place]], dataset: Any
) -> list[_Wanted]:
    held = [place.stored.provenance for entry in wanted for place in entry.places(places)]
    redrawn = redrawn_labels(held, dataset)
    return [replace(entry, redrawn=entry.key in redrawn) for entry in wanted]


def _key(provenance: Provenance) -> LabelKey:
    """What names the label that was learnt now."""
    return LabelKey(str(provenance.sample), str(provenance.field), str(provenance.label))


def _places(bank: MemoryBank) -> Mapping[str, list[_Place]]:
    """Where a bank holds labels, by the labels' ids."""
    found: dict[str, list[_Place]] = {}
    for label, negative, stored in bank.entries():
        if stored.provenance.label is not None:
            place = _Place(label, negative, stored)
            found.setdefault(stored.provenance.label, []).append(place)
    return found


def _no_class(bank: MemoryBank, entry: _Wanted) -> str:
    """Why a bank can hold no such negative; empty if it can."""
    if not entry.negative or entry.label in bank.classes:
        return ""
    return (
        f"The bank has no class {quoted(entry.label)}, so nothing can be taken for it by mistake; "
        "add references of it first."
    )


def _last_one(bank: MemoryBank, entry: _Wanted, places: list[_Place]) -> str:
    """Why a reference cannot become a negative of its class; empty if it can."""
    if not entry.negative:
        return ""
    ids = {place.stored.id for place in places}
    if {stored.id for stored in bank.references(entry.label)} - ids:
        return ""
    return (
        f"It is all that the bank knows of the class {quoted(entry.label)}; add other references "
        "of it first, or remove the class."
    )


def _note_refused(bank: MemoryBank, refused: Iterable[Refused]) -> None:
    """Keep with a bank what it refused, each label once, and none that it holds by now."""
    fresh = {_key(entry.provenance): entry for entry in refused}
    known = set(fresh)
    for places in _places(bank).values():
        known |= {_key(place.stored.provenance) for place in places}
    bank.refused[:] = [entry for entry in bank.refused if not _is_known(entry.provenance, known)]
    bank.refused.extend(fresh.values())


def _is_known(provenance: Provenance, known: Collection[LabelKey]) -> bool:
    if provenance.field is not None:
        return _key(provenance) in known
    # An earlier version noted it, without the field.
    return (str(provenance.sample), str(provenance.label)) in {
        (key.sample, key.label) for key in known
    }
