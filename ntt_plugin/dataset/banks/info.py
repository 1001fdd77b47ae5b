"""What a memory bank holds: its entries, its digest, and the summary that is kept beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ...engine.bank.memory_bank import MemoryBank
from ...engine.recipe import Recipe
from ..class_names import look_alike_notes

_BY_CLASS = ("shots", "negatives", "thresholds", "expected_recalls")
_SEVERAL = ("sources", "reading_notes")


@dataclass(frozen=True)
class BankInfo:
    """What a saved bank is made of.

    Attributes:
        name: its name in the dataset.
        shots: number of references by class.
        negatives: number of negatives by class.
        recipe: the recipe it was built with, as the bank itself keeps it.
        made_by: the encoder that made its features: name, weights, input size, channels, context.
        digest: digest of its features; equal for banks that give equal results by one recipe.
        created: when it was built, ISO 8601 in UTC.
        version: number of changes since.
        refused: number of references that were left out.
        sources: names of the datasets that its references came from.
        size: length of its file in bytes.
        thresholds: saved confidence thresholds by class, of the classes that have one.
        expected_recalls: by class, of the thresholds that were estimated, the share of objects
            that is expected above each.
        reading_notes: remarks on how images of its references were read, a sentence each.
    """

    name: str
    shots: dict[str, int]
    negatives: dict[str, int]
    recipe: Recipe
    made_by: str
    digest: str
    created: str
    version: int
    refused: int
    sources: tuple[str, ...]
    size: int
    thresholds: dict[str, float] = field(default_factory=dict)
    expected_recalls: dict[str, float] = field(default_factory=dict)
    reading_notes: tuple[str, ...] = ()

    @property
    def segmenter(self) -> str:
        """The segmenter of the bank's recipe: hub id, folder or file."""
        return self.recipe.segmenter

    @property
    def encoder(self) -> str:
        """The encoder of the bank's recipe: hub id, folder or file."""
        return self.recipe.encoder

    @property
    def notes(self) -> list[str]:
        """Remarks for people, a sentence each: class names that look alike, unusual images."""
        return [*look_alike_notes(self.shots), *self.reading_notes]


def bank_info(name: str, bank: MemoryBank, size: int) -> BankInfo:
    """What a bank is made of; ``size`` is the length of its file in bytes."""
    datasets = {entry.stored.provenance.dataset for entry in bank.entries()}
    return BankInfo(
        name=name,
        shots={label: bank.shots(label) for label in bank.classes},
        negatives={label: len(bank.negative_references(label)) for label in bank.classes},
        recipe=bank.recipe,
        made_by=bank.fingerprint.describe(),
        digest=bank_digest(bank),
        created=bank.created,
        version=bank.version,
        refused=len(bank.refused),
        sources=tuple(sorted(filter(None, datasets))),
        size=size,
        thresholds=bank.thresholds,
        expected_recalls=bank.expected_recalls,
        reading_notes=tuple(bank.notes),
    )


def to_facts(info: BankInfo) -> dict[str, Any]:
    """An info without its name, as values for MongoDB; class names may be any text."""
    facts = asdict(info)
    del facts["name"]
    # MongoDB's keys may hold neither dots nor dollars.
    facts.update({name: [list(pair) for pair in facts[name].items()] for name in _BY_CLASS})
    facts.update({name: list(facts[name]) for name in _SEVERAL})
    return facts


def from_facts(name: str, facts: Mapping[str, Any]) -> BankInfo:
    """The info that ``to_facts`` was given.

    Raises:
        TypeError, ValueError, KeyError, RecipeError: another version wrote the facts.
    """
    values = dict(facts)
    values.update({name: dict(values.get(name, ())) for name in _BY_CLASS})
    values.update({name: tuple(values[name]) for name in _SEVERAL})
    values["recipe"] = Recipe(**values["recipe"])
    return BankInfo(name=name, **values)


def bank_digest(bank: MemoryBank) -> str:
    """Digest of a bank's classes, features and negatives, 16 hex digits."""
    digest = hashlib.sha256(repr((bank.fingerprint.digest, bank.fingerprint.size)).encode())
    for label in bank.classes:
        for features in (bank.features(label), bank.negatives(label)):
            digest.update(repr((label, tuple(features.shape))).encode())
            digest.update(features.contiguous().numpy().data)
    return digest.hexdigest()[:16]
