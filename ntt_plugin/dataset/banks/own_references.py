"""Which labels are references of a bank already."""

from __future__ import annotations

from typing import Any

from ..samples.checks import dataset_of
from ..samples.label_lookup import find_labels
from .banks import load_memory_bank


def own_references(samples: Any, field: str, bank: str) -> int:
    """The number of labels of a field, in some images, that a bank learnt as references.

    Args:
        samples: a dataset or view of images; of a view that filters labels, those it shows.
        field: a field of ``Detections`` or ``Polylines``.
        bank: the name of a bank of the dataset.

    Raises:
        DatasetError: there is no such bank.
        BankError: the bank is damaged.
    """
    dataset = dataset_of(samples)
    known = load_memory_bank(dataset, bank)
    learnt = [
        reference.provenance for name in known.classes for reference in known.references(name)
    ]
    there = {key.label for key in find_labels(learnt, dataset) if key and key.field == field}
    if not there:
        return 0
    path = "polylines" if samples.get_field(f"{field}.polylines") is not None else "detections"
    shown = samples.values(f"{field}.{path}.id", unwind=True)
    return sum(label in there for label in shown)
