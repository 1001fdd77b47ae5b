"""A saved bank with another recipe; where its encoder changes, its references are learnt again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...engine.bank.memory_bank import MemoryBank
from ...engine.bank.recipe_change import with_recipe
from ...engine.recipe import Recipe, recipe_of_text
from ...errors import ReferenceRefusedError
from ...worker.tasks.networks import SegmenterLike
from ..database.errors import database_errors
from ..networks import get_segmenter
from ..references.choose import ChosenReferences, ReadReference, read_references
from ..references.reference_images import entries_here
from ..runtime.progress_bar import Progress, progress_bar
from ..samples.checks import require_labels
from ..samples.label_selection import LabelKey, select_labels
from ..samples.views import all_images
from . import store


@dataclass(frozen=True)
class RecipeChange:
    """What ``change_recipe`` did.

    Attributes:
        name: the bank's name.
        recipe: what the bank is used with from now on.
        version: the bank's version.
        learnt_again: references and negatives whose features were computed again.
        left_out: references and negatives that could not be learnt again, each with the reason.
        notes: what a person should know, a sentence each.
    """

    name: str
    recipe: Recipe
    version: int
    learnt_again: int = 0
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@database_errors("the memory bank is whole, with the change or without; look when it is back.")
def change_recipe(
    samples: Any,
    name: str,
    preset: str | Recipe,
    device: str | torch.device | None = None,
    progress: Progress = None,
) -> RecipeChange:
    """Use a saved bank with another recipe from now on, such as the one ``compare_recipes`` found.

    With the same encoder and context ratio its features stay. Otherwise its references and
    negatives are learnt again from their labels, which this dataset must hold. Its thresholds
    stay, though they were found with the former recipe.

    Args:
        samples: the dataset, or a view of it.
        name: the bank's name.
        preset: a recipe, or its text as ``compare_recipes`` takes it.
        device: where to run; the best there is if None.
        progress: FiftyOne's: True, False, a callback, or None for the configured default.

    Raises:
        DatasetError: there is no such bank, or another process was changing it.
        RecipeError: there is no such recipe.
        ReferenceRefusedError: a class would lose all its references; names it and says why.

    Example:
        >>> ntt.change_recipe(dataset, "animals", "own rescoring=diffusion").recipe.rescoring
        'diffusion'
    """
    dataset = store.require_bank(samples, name)
    bank, state = store.read_with_state(dataset, name)
    recipe = preset if isinstance(preset, Recipe) else recipe_of_text(preset, bank.recipe)
    segmenter = get_segmenter(recipe, device)
    changed, left_out = bank_for(dataset, bank, segmenter, progress)
    gone = [label for label in bank.classes if label not in changed.classes]
    if gone:
        raise ReferenceRefusedError(
            f"The memory bank {name!r} stays as it is: with {recipe.name!r} it would lose the "
            f"class {gone[0]!r}, as its references cannot be learnt again. {left_out[0]}"
        )
    store.write(dataset, name, changed, replaces=state)
    again = 0 if bank.fingerprint.same(changed.fingerprint) else sum(1 for _ in changed.entries())
    notes = []
    if changed.thresholds:
        notes.append("Its thresholds were found with the former recipe; find them again.")
    return RecipeChange(name, recipe, changed.version, again, tuple(left_out), tuple(notes))


def bank_for(
    dataset: Any, bank: MemoryBank, segmenter: SegmenterLike, progress: Progress = False
) -> tuple[MemoryBank, list[str]]:
    """A bank as a segmenter needs it, with its recipe; and what was left out, a sentence each.

    Where the encoder is another one than the bank's, each reference and negative whose label the
    dataset holds is learnt again.

    Raises:
        ReferenceRefusedError: none of them could be learnt again.
        NoFileHandlesError: no image can be opened, whichever it is.
    """
    if bank.fingerprint.same(segmenter.fingerprint):
        return with_recipe(bank, segmenter.recipe, segmenter.fingerprint), []
    ids: dict[LabelKey, list[str]] = {}
    for entries in entries_here(dataset, bank).values():
        for entry, key in entries:
            ids.setdefault(key, []).append(entry.stored.id)
    features, reasons = _learn_again(dataset, ids, segmenter, progress)
    left_out = [
        f"A reference of {entry.label!r} was left out: "
        + reasons.get(entry.stored.id, "this dataset does not hold its label.")
        for entry in bank.entries()
        if entry.stored.id not in features
    ]
    if not features:
        raise ReferenceRefusedError(
            "None of the bank's references can be learnt again, which another encoder or context "
            f"ratio needs. {left_out[0]}"
        )
    return with_recipe(bank, segmenter.recipe, segmenter.fingerprint, features), left_out


def _learn_again(
    dataset: Any,
    ids: Mapping[LabelKey, Sequence[str]],
    segmenter: SegmenterLike,
    progress: Progress,
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The features of labels by the ids of the references; and why others have none."""
    features: dict[str, Tensor] = {}
    reasons: dict[str, str] = {}
    with progress_bar(len(ids), progress, "references") as bar:
        for chosen in _chosen(dataset, list(ids)):
            for read in read_references(chosen):
                source = read.provenance
                key = LabelKey(str(source.sample), str(source.field), str(source.label))
                feature, problem = _feature(read, segmenter)
                if feature is None:
                    reasons |= dict.fromkeys(ids[key], problem)
                else:
                    features |= dict.fromkeys(ids[key], feature)
                bar.update()
    return features, reasons


def _feature(read: ReadReference, segmenter: SegmenterLike) -> tuple[Tensor | None, str]:
    if read.reference is None:
        return None, read.problem
    try:
        return segmenter.reference_feature(read.reference), ""
    except ReferenceRefusedError as error:
        return None, str(error)


def _chosen(dataset: Any, keys: list[LabelKey]) -> list[ChosenReferences]:
    """Labels, field by field, as they are read."""
    images = all_images(dataset)
    found = []
    for field in sorted({key.field for key in keys}):
        path = require_labels(images, field)
        view = select_labels(images.select_fields(field), [k for k in keys if k.field == field])
        found.append(ChosenReferences(view, path))
    return found
