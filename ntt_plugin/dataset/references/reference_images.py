"""The images that a bank's references lie in: what is annotated there, and the bank without them.

Matching each of them with a bank that lacks its references, and those of its copies, shows what
the bank finds, without any ground truth.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ...engine.bank.memory_bank import MemoryBank
from ...engine.bank.records import BankEntry
from ...engine.images.load import shown_size
from ...engine.matching.leave_one_out import Annotated
from ...engine.proposals.cache import file_facts
from ...errors import DatasetError, ImageError
from ..samples.label_lookup import find_labels
from ..samples.label_selection import LabelKey
from ..samples.views import all_images, load_sample
from .choose import label_geometry

HeldEntries = Sequence[tuple[BankEntry, LabelKey]]


def entries_here(dataset: Any, bank: MemoryBank) -> dict[str, HeldEntries]:
    """A bank's references and negatives whose labels a dataset holds, by id of their sample."""
    entries = list(bank.entries())
    keys = find_labels([entry.stored.provenance for entry in entries], dataset)
    there = set(all_images(dataset).values("id"))
    found: dict[str, list[tuple[BankEntry, LabelKey]]] = defaultdict(list)
    for entry, key in zip(entries, keys, strict=True):
        if key is not None and key.sample in there:
            found[key.sample].append((entry, key))
    return dict(found)


def held_with_copies(dataset: Any, held: Mapping[str, HeldEntries]) -> dict[str, set[str]]:
    """Ids of the entries that lie in each image or in a copy of it, by id of their sample.

    A copy is a sample with the same file, or with a file of the same bytes. What a bank knows of
    one, it knows of the other.

    Args:
        dataset: the dataset.
        held: what ``entries_here`` gives.
    """
    images = all_images(dataset).select(list(held))
    pictures = {
        sample_id: _picture(filepath)
        for sample_id, filepath in zip(*images.values(["id", "filepath"]), strict=True)
        if isinstance(filepath, str)
    }
    ids: dict[str, set[str]] = defaultdict(set)
    for sample_id, entries in held.items():
        ids[pictures.get(sample_id, sample_id)] |= {entry.stored.id for entry, _ in entries}
    return {sample_id: set(ids[pictures.get(sample_id, sample_id)]) for sample_id in held}


def _picture(filepath: str) -> str:
    """What is equal for copies of an image: its digest, or its path where it cannot be read."""
    try:
        return file_facts(filepath).digest
    except ImageError:
        return filepath


def annotated_labels(
    dataset: Any, sample_id: str, filepath: str, entries: HeldEntries
) -> list[Annotated]:
    """The labels that a bank learnt of a sample, as they are now.

    Raises:
        NttError: the sample or a label of it cannot be read.
    """
    fields = sorted({key.field for _, key in entries})
    try:
        sample = load_sample(all_images(dataset).select_fields(fields), sample_id)
    except KeyError as error:
        raise DatasetError("The sample was deleted.") from error
    size = shown_size(filepath)
    labels = {
        (name, label.id): label
        for name in fields
        if sample[name] is not None
        for label in getattr(sample[name], "detections", None) or sample[name].polylines
    }
    return [
        Annotated(
            entry.label, label_geometry(labels[key.field, key.label], size)[1], entry.negative
        )
        for entry, key in entries
        if (key.field, key.label) in labels
    ]


def bank_without(bank: MemoryBank, ids: Collection[str]) -> MemoryBank:
    """A bank that lacks some references and negatives; a class without any is gone."""
    rest = MemoryBank(bank.fingerprint, bank.recipe)
    for label, negative, stored in bank.entries():
        if stored.id in ids or (negative and label not in rest.classes):
            continue
        add = rest.add_negatives if negative else rest.add
        add(label, stored.feature, stored.provenance, stored.reading)
    return rest
