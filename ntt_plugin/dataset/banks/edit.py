"""Changing saved banks: adding and removing references, duplicating and merging banks."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

import torch

from ...engine.bank.memory_bank import MemoryBank, StoredReference
from ...engine.recipe import changed_settings
from ...engine.references import may_be_same
from ...errors import BankError, DatasetError
from ...worker.tasks.networks import SegmenterLike
from ..database import custom_runs
from ..database.errors import database_errors
from ..references.choose import choose_references
from ..runtime.progress_bar import Progress
from ..samples.checks import as_names, dataset_of, listed, quoted
from ..samples.views import whole_images
from . import store
from .bank_runs import former_run, from_results
from .estimate_thresholds import try_to_estimate
from .learn import BankChange, learn_labels


@database_errors("the memory bank is whole, with the change or without; look when it is back.")
def update_memory_bank(
    samples: Any,
    label_field: str,
    name: str,
    tag: str | None = None,
    classes: Iterable[str] | None = None,
    device: str | torch.device | None = None,
    progress: Progress = None,
    *,
    negatives: bool = False,
    from_references: bool = False,
    sample_tag: str | None = None,
    group_slices: str | Iterable[str] | None = None,
    segmenter: SegmenterLike | None = None,
    estimate: bool = False,
) -> BankChange:
    """Teach a saved bank labels that it does not hold yet: more references, or new classes.

    Nothing that it holds is computed again; it goes on with the recipe it was built with. A label
    is known by its sample, field and id: one that the bank holds is left alone, one that it holds
    as the other kind or under another class moves there with its feature. If its mask was drawn
    anew since, take it out with ``remove_references`` first. Labels that cannot serve are left
    out and named.

    Labels are learnt where they are. Those of a field that a run will replace are copied first
    by ``add_references``.

    Args:
        samples: a dataset or view of images, or a patches view.
        label_field: a field of ``Detections`` with ``mask`` or ``mask_path``, or of filled or
            closed ``Polylines``.
        name: the bank's name in the dataset.
        tag: only labels with this label tag; all labels if None.
        classes: only these classes; all if None.
        device: where to run; the best there is if None.
        progress: FiftyOne's: True, False, a callback, or None for the configured default. What a
            callback raises ends the work, and the bank is as it was.
        negatives: learn them as negatives of their classes (recipe, section 5): what is taken
            for the class and is not.
        from_references: whether labels that the bank holds as references may become negatives;
            they are refused otherwise.
        sample_tag: only labels of samples with this tag; of all samples if None.
        group_slices: slices to take of a grouped dataset; its active one if None.
        segmenter: an engine ``Segmenter`` to use in place of the bank's recipe and ``device``.
        estimate: estimate its thresholds anew, as ``estimate_thresholds``, unless it keeps some
            that were not estimated. That they cannot be is logged, and no error.

    Returns:
        What was changed.

    Raises:
        DatasetError: there is no such bank, no label is asked for, or another process was
            changing the bank for too long.
        ReferenceRefusedError: nothing could be learnt; names the first label and the reason.
        BankError: the bank is damaged, or another encoder made it than the segmenter has.

    Example:
        >>> change = ntt.update_memory_bank(dataset, "ground_truth", "animals", classes=["cat"])
        >>> change.added, change.already
        ({'cat': 2}, 2)
    """
    dataset = store.require_bank(samples, name)
    chosen = choose_references(
        whole_images(samples),
        label_field,
        tag,
        classes,
        sample_tag=sample_tag,
        group_slices=group_slices,
    )
    change = learn_labels(
        dataset,
        name,
        chosen,
        negatives,
        device,
        progress,
        segmenter,
        from_references=from_references,
    )
    if estimate:
        try_to_estimate(dataset, name, device, segmenter)
    return change


@database_errors("the memory bank is whole, with the change or without; look when it is back.")
def remove_references(
    dataset: Any, name: str, references: Iterable[str] = (), classes: Iterable[str] = ()
) -> BankChange:
    """Take references, negatives or whole classes out of a saved bank.

    With its last reference a class goes, and its negatives with it. Labels and their tags stay.

    Args:
        dataset: the dataset, or a view of it.
        name: the bank's name in the dataset.
        references: ids of references or negatives, or of the labels that they came from; the id
            of labels of several fields or samples is ambiguous.
        classes: classes to take out whole.

    Returns:
        What was changed.

    Raises:
        DatasetError: there is no such bank, it holds none of an id or a class, an id is that of
            several labels, or nothing would be left of it.
        BankError: the bank is damaged.

    Example:
        >>> ntt.remove_references(dataset, "animals", classes=["bird"]).removed
        {'bird': 2}
    """
    ids, names = as_names("references", references), as_names("classes", classes)
    if not ids and not names:
        raise DatasetError("Nothing was named to be taken out; name references or classes.")
    removed: Counter[str] = Counter()

    def edit(bank: MemoryBank) -> bool:
        before = Counter(entry.label for entry in bank.entries())
        for stored in _named(bank, name, ids):
            # It may have been removed with its class.
            if any(stored == entry.stored.id for entry in bank.entries()):
                bank.remove_reference(stored)
        for label in names:
            if label not in before:
                raise DatasetError(
                    f"The memory bank {name!r} has no class {quoted(label)}; its classes are "
                    f"{listed(before)}."
                )
            if label in bank.classes:
                bank.remove(label)
        if not bank.classes:
            raise DatasetError(
                f"Nothing would be left of the memory bank {name!r}; keep a reference, or delete "
                "the bank with delete_memory_bank()."
            )
        removed.update(before - Counter(entry.label for entry in bank.entries()))
        return True

    dataset = store.require_bank(dataset, name)
    version = store.change(dataset, name, edit).version
    return BankChange(name, {}, {}, 0, dict(removed), (), version)


@database_errors("the copy is there whole or not at all; start again when it is back.")
def duplicate_memory_bank(dataset: Any, name: str, new_name: str) -> None:
    """Save a copy of a bank under another name, to try a change on.

    Raises:
        DatasetError: there is no such bank, or the new name is taken or unusable.
        BankError: the bank is damaged, or the database did not take the copy.

    Example:
        >>> ntt.duplicate_memory_bank(dataset, "animals", "trial")
    """
    dataset = store.require_bank(dataset, name)
    store.require_free(dataset, new_name, overwrite=False)
    store.write(dataset, new_name, store.read(dataset, name), overwrite=False)


@database_errors("the new memory bank is there whole or not at all; start again when it is back.")
def merge_memory_banks(
    dataset: Any, names: Iterable[str], new_name: str, *, overwrite: bool = False
) -> MemoryBank:
    """Save what several banks hold as one bank.

    Classes stand side by side, references of the same class together. A label that several banks
    hold is taken once. The banks themselves stay.

    Args:
        dataset: the dataset, or a view of it.
        names: two banks or more; the recipe is the first one's.
        new_name: what to call the new one.
        overwrite: replace a bank of that name, which may be one of those merged.

    Returns:
        The new bank.

    Raises:
        DatasetError: there is no such bank, fewer than two are named, or the new name is taken
            or unusable.
        BankError: the banks were made by different encoders, or one is damaged.

    Example:
        >>> bank = ntt.merge_memory_banks(dataset, ["cats", "dogs"], "pets")
        >>> bank.classes
        ['cat', 'dog']
    """
    banks = as_names("names", names)
    if len(banks) < 2:
        raise DatasetError("Name two memory banks or more to be merged.")
    dataset = dataset_of(dataset)
    for name in banks:
        store.require_bank(dataset, name)
    store.require_free(dataset, new_name, overwrite)
    merged, state = store.read_with_state(dataset, banks[0])
    states = {banks[0]: state}
    for name in banks[1:]:
        bank, states[name] = store.read_with_state(dataset, name)
        try:
            merged.merge(bank)
        except BankError as error:
            raise BankError(f"{banks[0]!r} and {name!r} cannot be merged. {error}") from error
    for stored in _doubles(merged):
        merged.remove_reference(stored)
    # If a merged bank is replaced, it must not have changed since it was read.
    store.write(dataset, new_name, merged, overwrite, replaces=states.get(new_name))
    return merged


def _named(bank: MemoryBank, name: str, ids: Iterable[str]) -> list[str]:
    """Ids of the references and negatives that are named by their own or their labels' ids."""
    found: list[str] = []
    unknown: list[str] = []
    stored = [entry.stored for entry in bank.entries()]
    for wanted in ids:
        entries = [entry for entry in stored if wanted in (entry.id, entry.provenance.label)]
        places = {(entry.provenance.sample, entry.provenance.field) for entry in entries}
        if len(places) > 1:
            raise DatasetError(
                f"The memory bank {name!r} holds references from {len(places)} labels with the id "
                f"{quoted(wanted)}, of different fields or samples; nothing was taken out. Name "
                f"the references by their own ids: {listed(entry.id for entry in entries)}."
            )
        meant = [entry.id for entry in entries]
        found.extend(meant)
        unknown.extend([] if meant else [wanted])
    if unknown:
        raise DatasetError(
            f"The memory bank {name!r} holds no reference {listed(unknown)}; nothing was taken "
            "out. It may be gone already: look at the bank again."
        )
    return found


def _doubles(bank: MemoryBank) -> list[str]:
    """Ids of references, and of negatives, that repeat a label of their class."""
    found = []
    seen: dict[tuple[str, bool, str | None, str], list[StoredReference]] = defaultdict(list)
    for label, negative, stored in bank.entries():
        source = stored.provenance
        if source.label is None:
            continue
        before = seen[label, negative, source.sample, source.label]
        if any(_is_double(stored, other) for other in before):
            found.append(stored.id)
        else:
            before.append(stored)
    return found


def _is_double(entry: StoredReference, other: StoredReference) -> bool:
    """Whether two references of equal sample and label ids came from one label.

    An unknown field may be any. A clone of a dataset has the same ids, and labels that may have
    been changed since: they are one if they look the same.
    """
    one, two = entry.provenance, other.provenance
    if not may_be_same(one, two):
        return False
    return one.dataset == two.dataset or bool(torch.equal(entry.feature, other.feature))


@database_errors("the memory bank is whole, as it was or as it was before; look when it is back.")
def undo_memory_bank(dataset: Any, name: str) -> BankChange:
    """Take back the last change of a saved bank: it is as it was before. Once more brings it back.

    Args:
        dataset: the dataset, or a view of it.
        name: the bank's name in the dataset.

    Thresholds count for no change: they go with the state that they were found for.

    Returns:
        What it gained and lost by it, and which settings changed.

    Raises:
        DatasetError: there is no such bank, or no former state of it is kept.
        BankError: the bank is damaged.

    Example:
        >>> change = ntt.remove_references(dataset, "animals", classes=["bird"])
        >>> ntt.undo_memory_bank(dataset, "animals").added
        {'bird': 2}
    """
    dataset = store.require_bank(dataset, name)
    return _difference(name, *store.undo(dataset, name))


def preview_undo(dataset: Any, name: str) -> BankChange | None:
    """What ``undo_memory_bank`` would do now; None where no former state of the bank is kept.

    Raises:
        DatasetError: there is no such bank.
        BankError: one of its two states is damaged.
    """
    dataset = store.require_bank(dataset, name)
    run = former_run(dataset, name)
    data = None if run is None else custom_runs.load(run, from_results)
    if data is None:
        return None
    return _difference(name, store.read(dataset, name), MemoryBank.from_bytes(data))


def _difference(name: str, before: MemoryBank, after: MemoryBank) -> BankChange:
    lost, gained = _entry_ids(before), _entry_ids(after)
    return BankChange(
        name=name,
        added=_count(after, False, gained - lost),
        negatives=_count(after, True, gained - lost),
        already=0,
        removed=dict(
            Counter(one.label for one in before.entries() if one.stored.id in lost - gained)
        ),
        refused=(),
        version=after.version,
        settings=changed_settings(before.recipe, after.recipe),
    )


def _entry_ids(bank: MemoryBank) -> set[str]:
    return {entry.stored.id for entry in bank.entries()}


def _count(bank: MemoryBank, negative: bool, ids: set[str]) -> dict[str, int]:
    entries = (entry for entry in bank.entries() if entry.stored.id in ids)
    return dict(Counter(entry.label for entry in entries if entry.negative == negative))
