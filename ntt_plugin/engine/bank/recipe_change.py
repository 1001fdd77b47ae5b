"""A bank's references under another recipe, and under another encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from ...errors import BankError
from ..recipe import Recipe
from .memory_bank import MemoryBank
from .records import Fingerprint, StoredReference
from .schema import MAX_VERSION


def with_recipe(
    bank: MemoryBank,
    recipe: Recipe,
    fingerprint: Fingerprint,
    features: Mapping[str, Tensor] | None = None,
) -> MemoryBank:
    """A bank's references and negatives under another recipe; the bank itself stays.

    Ids, provenances, thresholds and notes are kept; the version is the next one.

    Args:
        bank: whose references.
        recipe: what the new bank is to be used with.
        fingerprint: the encoder of that recipe.
        features: what that encoder gives for each reference, float (C,), by the reference's id;
            one without a feature is left out, and a class without references. None if the encoder
            is the bank's own.

    Raises:
        BankError: the encoder is another one and there are no features, or none of a reference.
    """
    if features is None:
        bank.require_encoder(fingerprint)

    def kept(stored: Sequence[StoredReference]) -> list[StoredReference]:
        if features is None:
            return list(stored)
        return [
            replace(one, feature=features[one.id].detach().to("cpu").float().clone())
            for one in stored
            if one.id in features
        ]

    classes = {}
    for label, memory in bank._record.classes.items():
        references = kept(memory.references)
        if references:
            negatives = kept(memory.negatives)
            classes[label] = replace(memory, references=references, negatives=negatives)
    if not classes:
        raise BankError("None of the bank's references has a feature under the new encoder.")
    record = replace(
        bank._record,
        fingerprint=fingerprint,
        recipe=recipe,
        version=bank._record.version % MAX_VERSION + 1,
        classes=classes,
        refused=list(bank._record.refused),
        notes=list(bank._record.notes),
    )
    return MemoryBank._of(record)
