"""Learning labels into a bank; only what a saved bank does not hold yet is computed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from ...engine.bank.memory_bank import MemoryBank, Refused
from ...engine.bank.records import BankEntry
from ...engine.references import Provenance, may_be_same
from ...errors import BankError, ReferenceRefusedError
from ...worker.tasks.networks import SegmenterLike
from ..networks import get_segmenter
from ..references.choose import ChosenReferences, ReadReference, read_references
from ..runtime.progress_bar import Progress, progress_bar
from ..samples.checks import dataset_of, quoted
from ..samples.label_lookup import redrawn_labels
from ..samples.label_selection import LabelKey
from . import store

# A thousand images may all have the same remark.
_MOST_NOTES = 50


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
        settings: fields of the recipe that changed, with the values before and after, as
            ``change_recipe`` takes them.
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
    settings: Mapping[str, tuple[str, str]] = field(default_factory=dict)

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
        parts += [f"settings changed: {self.settings_in_words()}"] if self.settings else []
        parts += [f"{self.already} there already"] if self.already else []
        parts += [f"{len(self.refused)} left out"] if self.refused else []
        return f"{self.name!r}: {', '.join(parts) or 'nothing to change'}; version {self.version}"

    def settings_in_words(self) -> str:
        """What settings changed, from what to what; empty if none did."""
        return ", ".join(
            f"{name} from {one} to {other}" for name, (one, other) in self.settings.items()
        )


@dataclass(frozen=True)
class _Wanted:
    """A label and what a bank is to hold it as.

    Attributes:
        source: the label that it is a copy of.
        fields: the dataset's fields.
        redrawn: it was changed since a bank learnt the label of the same id in a clone.
    """

    key: LabelKey
    label: str
    provenance: Provenance
    negative: bool
    source: LabelKey | None
    fields: Collection[str]
    redrawn: bool = False

    def held_in(self, by_label: Mapping[str, list[BankEntry]]) -> list[BankEntry]:
        """A bank's entries of this label, or of the label that it is a copy of."""
        return [
            entry
            for key in (self.key, self.source)
            if key is not None
            for entry in by_label.get(key.label, [])
            if is_label(entry.stored.provenance, key, self.fields)
            and not (self.redrawn and entry.stored.provenance.dataset != self.provenance.dataset)
        ]


def learn_references(
    bank: MemoryBank, chosen: ChosenReferences, segmenter: SegmenterLike, progress: Progress
) -> None:
    """Add chosen labels to a bank; those that cannot serve are noted in its ``refused``."""
    with progress_bar(chosen.count, progress, "references") as bar:
        for read in bar(read_references(chosen)):
            _learn(bank, read, segmenter)


def _learn(bank: MemoryBank, read: ReadReference, segmenter: SegmenterLike) -> None:
    if read.reference is None:
        bank.refused.append(read.refused(read.problem))
        return
    try:
        feature = segmenter.reference_feature(read.reference)
        bank.add(read.label, feature, read.reference.provenance)
    except (ReferenceRefusedError, BankError) as error:
        bank.refused.append(read.refused(str(error)))
        return
    for text in read.notes:
        note = f"{read.filepath}: {text}"
        if note not in bank.notes and len(bank.notes) < _MOST_NOTES:
            bank.notes.append(note)


def learn_labels(
    dataset: Any,
    name: str,
    chosen: ChosenReferences,
    negatives: bool,
    device: str | torch.device | None,
    progress: Progress,
    segmenter: SegmenterLike | None,
    sources: Mapping[LabelKey, LabelKey] | None = None,
    from_references: bool = False,
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
        sources: for copies of labels, the labels they were made from: the bank may hold either.
        from_references: whether a reference of the bank may become a negative.

    Raises:
        DatasetError: there is no such bank, or another process was changing it for too long.
        ReferenceRefusedError: nothing could be learnt; names the first label and the reason.
        BankError: the bank is damaged, or another encoder made it than the segmenter has.
    """
    bank = store.read(dataset, name)
    held = _by_label(bank)
    labels = _wanted(chosen, negatives, sources or {}, held)
    new = [one for one in labels if not one.held_in(held) and not _no_class(bank, one)]
    learnt = MemoryBank(bank.fingerprint, bank.recipe)
    if new:
        segmenter = segmenter or get_segmenter(bank.recipe, device)
        bank.require_encoder(segmenter.fingerprint)
        learn_references(learnt, chosen.only(one.key for one in new), segmenter, progress)
    edit = _Edit(name, labels, learnt, from_references)
    version = store.change(dataset, name, edit).version
    return edit.result(version)


def is_label(provenance: Provenance, key: LabelKey, fields: Collection[str]) -> bool:
    """Whether a reference was learnt from a label.

    A part of ``provenance`` that is unknown may be any; a field that is not among the dataset's
    ``fields`` any more was renamed.
    """
    field = provenance.field if provenance.field in fields else None
    named = Provenance(sample=key.sample, label=key.label, field=key.field)
    return may_be_same(replace(provenance, field=field), named)


class _Edit:
    """The change of a bank that makes it hold the wanted labels; counts what it does."""

    def __init__(
        self, name: str, labels: Iterable[_Wanted], learnt: MemoryBank, from_references: bool
    ) -> None:
        self._name = name
        self._from_references = from_references
        self._labels = labels
        self._learnt = learnt
        self._features = {_key(entry.stored.provenance): entry.stored for entry in learnt.entries()}
        self._reasons = {_key(entry.provenance): entry for entry in learnt.refused}
        self._added: dict[bool, Counter[str]] = {False: Counter(), True: Counter()}
        self._removed: Counter[str] = Counter()
        self._already = 0
        self._refused: list[Refused] = []
        self._done: list[LabelKey] = []

    def __call__(self, bank: MemoryBank) -> bool:
        bank.require_encoder(self._learnt.fingerprint)
        held = _by_label(bank)
        for wanted in self._labels:
            self._hold(bank, wanted, wanted.held_in(held))
        changed = any(self._added.values())
        if not changed and self._refused and not self._already:
            raise ReferenceRefusedError(
                f"None of the {len(self._refused)} labels could be learnt into the memory bank "
                f"{self._name!r}, which is as it was; {describe_first(self._refused)}"
            )
        if changed:
            _note_refused(bank, self._refused)
            bank.notes.extend(note for note in self._learnt.notes if note not in bank.notes)
        return changed

    def result(self, version: int) -> BankChange:
        return BankChange(
            name=self._name,
            added=dict(self._added[False]),
            negatives=dict(self._added[True]),
            already=self._already,
            removed=dict(self._removed),
            refused=tuple(self._refused),
            version=version,
            label_ids=tuple(key.label for key in self._done),
            labels=tuple(self._done),
        )

    def _hold(self, bank: MemoryBank, wanted: _Wanted, held: list[BankEntry]) -> None:
        if any((entry.label, entry.negative) == (wanted.label, wanted.negative) for entry in held):
            self._already += 1
            return
        reason = _no_class(bank, wanted) or _last_one(bank, wanted, held)
        if not self._from_references:
            reason = reason or _is_reference(wanted, held)
        if reason:
            self._refused.append(Refused(wanted.label, wanted.provenance, reason))
            return
        stored = held[0].stored if held else self._features.get(wanted.key)
        if stored is None:
            self._refused.append(self._why_not(wanted))
            return
        add = bank.add_negatives if wanted.negative else bank.add
        add(wanted.label, stored.feature, stored.provenance, stored.reading)
        self._added[wanted.negative][wanted.label] += 1
        self._done.append(wanted.key)
        for entry in held:
            bank.remove_reference(entry.stored.id)
            self._removed[entry.label] += 1

    def _why_not(self, wanted: _Wanted) -> Refused:
        gone = "It was deleted, or taken out of the bank, meanwhile; learn it again if it is there."
        known = self._reasons.get(wanted.key)
        return known or Refused(wanted.label, wanted.provenance, gone)


def describe_first(refused: Sequence[Refused]) -> str:
    """The first of some refused labels in words: its id, class and the reason."""
    first = refused[0]
    return (
        f"the first, label {first.provenance.label} of class {quoted(first.label)}: {first.reason}"
    )


def _wanted(
    chosen: ChosenReferences,
    negatives: bool,
    sources: Mapping[LabelKey, LabelKey],
    held: Mapping[str, list[BankEntry]],
) -> list[_Wanted]:
    dataset = dataset_of(chosen.view)
    fields = set(dataset.get_field_schema())
    labels = [
        _Wanted(key, label, chosen.provenance(key), negatives, sources.get(key), fields)
        for key, label in chosen.keys().items()
    ]
    known = [entry.stored.provenance for wanted in labels for entry in wanted.held_in(held)]
    redrawn = redrawn_labels(known, dataset)
    return [replace(wanted, redrawn=wanted.key in redrawn) for wanted in labels]


def _key(provenance: Provenance) -> LabelKey:
    return LabelKey(str(provenance.sample), str(provenance.field), str(provenance.label))


def _by_label(bank: MemoryBank) -> Mapping[str, list[BankEntry]]:
    """A bank's entries by the ids of the labels that they were learnt from."""
    found: dict[str, list[BankEntry]] = defaultdict(list)
    for entry in bank.entries():
        if entry.stored.provenance.label is not None:
            found[entry.stored.provenance.label].append(entry)
    return found


def _no_class(bank: MemoryBank, wanted: _Wanted) -> str:
    """Why a bank can hold no such negative; empty if it can."""
    if not wanted.negative or wanted.label in bank.classes:
        return ""
    return (
        f"The bank has no class {quoted(wanted.label)}, so nothing can be taken for it by mistake; "
        "add references of it first."
    )


def _is_reference(wanted: _Wanted, held: list[BankEntry]) -> str:
    """Why a label that a bank learnt as right is not to become wrong; empty if it may."""
    if not wanted.negative or all(entry.negative for entry in held):
        return ""
    return (
        "The bank holds it as a reference, so it is right; negatives are predictions that are "
        "wrong. If it is wrong after all, pass from_references=True."
    )


def _last_one(bank: MemoryBank, wanted: _Wanted, held: list[BankEntry]) -> str:
    """Why a reference cannot become a negative of its class; empty if it can."""
    if not wanted.negative:
        return ""
    ids = {entry.stored.id for entry in held}
    if {stored.id for stored in bank.references(wanted.label)} - ids:
        return ""
    return (
        f"It is all that the bank knows of the class {quoted(wanted.label)}; add other references "
        "of it first, or remove the class."
    )


def _note_refused(bank: MemoryBank, refused: Iterable[Refused]) -> None:
    """Add to a bank's refused labels: each once, and none that it holds now."""
    fresh = {_key(entry.provenance): entry for entry in refused}
    known = set(fresh)
    for entries in _by_label(bank).values():
        known |= {_key(entry.stored.provenance) for entry in entries}
    bank.refused[:] = [entry for entry in bank.refused if not _is_known(entry.provenance, known)]
    bank.refused.extend(fresh.values())


def _is_known(provenance: Provenance, known: Collection[LabelKey]) -> bool:
    if provenance.field is not None:
        return _key(provenance) in known
    # Banks that the engine alone built may not know the field.
    return (str(provenance.sample), str(provenance.label)) in {
        (key.sample, key.label) for key in known
    }
