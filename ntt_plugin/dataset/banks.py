"""Memory banks that live with a dataset, as FiftyOne custom runs, and building them from labels."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import fiftyone as fo
import torch

from ..engine.config import Recipe
from ..engine.memory import MemoryBank, Refused
from ..errors import BankError, DatasetError, ReferenceRefusedError
from .checks import dataset_of, listed, require_name
from .references import choose_references, read_references
from .segmenters import SegmenterLike, as_recipe, get_segmenter

METHOD = "ntt_memory_bank"
_PREFIX = "ntt_bank_"

Progress = bool | Callable[[Any], None] | None


@dataclass(frozen=True)
class BankInfo:
    """What a saved bank is made of.

    Attributes:
        name: its name in the dataset.
        shots: number of references by class.
        recipe: the recipe it was built with, as the bank itself keeps it.
        encoder: the encoder's name.
        digest: digest of its features; equal for banks that give equal results by one recipe.
        created: when it was built, ISO 8601 in UTC.
        version: number of changes since.
        refused: number of references that were left out.
    """

    name: str
    shots: dict[str, int]
    recipe: Recipe
    encoder: str
    digest: str
    created: str
    version: int
    refused: int


def build_memory_bank(
    samples: Any,
    label_field: str,
    name: str,
    tag: str | None = None,
    classes: Iterable[str] | None = None,
    preset: str | Recipe = "paper",
    device: str | torch.device | None = None,
    progress: Progress = None,
    *,
    overwrite: bool = False,
    segmenter: SegmenterLike | None = None,
) -> MemoryBank:
    """Build a memory bank from labels with masks and save it with their dataset.

    Labels that cannot serve (no mask, an image that cannot be read, a mask that vanishes on the
    patch grid) are left out and listed with their reasons in the bank's ``refused``.

    Args:
        samples: a dataset or view of images.
        label_field: a field of ``Detections`` with ``mask`` or ``mask_path``.
        name: the bank's name in the dataset: letters, digits, underscores.
        tag: only labels with this label tag; all labels if None.
        classes: only these classes; all if None.
        preset: a preset's name, or a recipe.
        device: where to run; the best there is if None.
        progress: FiftyOne's: True, False, a callback, or None for the configured default.
        overwrite: replace a bank of the same name.
        segmenter: an engine ``Segmenter`` to use in place of ``preset`` and ``device``.

    Raises:
        DatasetError: the name is taken or unusable, or there is nothing to learn from.
        ReferenceRefusedError: no reference of a class could be used; names class and reason.
    """
    dataset = dataset_of(samples)
    _require_free(dataset, name, overwrite)
    chosen = choose_references(samples, label_field, tag, classes)
    segmenter = segmenter or get_segmenter(as_recipe(preset), device)
    bank = MemoryBank(segmenter.fingerprint, segmenter.recipe)
    total = chosen.count(f"{label_field}.detections")
    with fo.ProgressBar(total=total, progress=progress, iters_str="references") as bar:
        for reference in bar(read_references(chosen, label_field, bank.refused)):
            if reference is None:
                continue
            try:
                feature = segmenter.reference_feature(reference)
            except ReferenceRefusedError as error:
                bank.refused.append(Refused(reference.label, reference.provenance, str(error)))
                continue
            bank.add(reference.label, feature, reference.provenance)
    _require_each_class(bank)
    save_memory_bank(dataset, name, bank, overwrite=overwrite)
    return bank


def save_memory_bank(
    dataset: Any,
    name: str,
    bank: MemoryBank,
    *,
    overwrite: bool = False,
) -> None:
    """Save a bank, with its recipe, in a dataset: one made elsewhere, or one that was changed.

    Args:
        dataset: the dataset, or a view of it.
        name: the bank's name in the dataset.
        bank: the bank.
        overwrite: replace a bank of the same name.

    Raises:
        DatasetError: the name is taken or unusable.
    """
    dataset = dataset_of(dataset)
    _require_free(dataset, name, overwrite)
    # Nothing else is written beside the bank: a second copy could come to differ from it.
    config = dataset.init_run(digest=bank_digest(bank))
    config.method = METHOD
    key = _PREFIX + name
    data = base64.b64encode(bank.to_bytes()).decode("ascii")
    dataset.register_run(key, config, overwrite=overwrite)
    results = dataset.init_run_results(key, bank=data)
    dataset.save_run_results(key, results, overwrite=True, cache=False)


def list_memory_banks(dataset: Any) -> list[str]:
    """Names of the banks saved with a dataset, sorted."""
    keys = dataset_of(dataset).list_runs(method=METHOD)
    return sorted(key.removeprefix(_PREFIX) for key in keys)


def get_memory_bank_info(dataset: Any, name: str) -> BankInfo:
    """What a saved bank is made of.

    Raises:
        DatasetError: the dataset has no such bank; names those it has.
        BankError: the bank is damaged.
    """
    bank = load_memory_bank(dataset, name)
    return BankInfo(
        name=name,
        shots={label: bank.shots(label) for label in bank.classes},
        recipe=bank.recipe,
        encoder=bank.fingerprint.name,
        digest=bank_digest(bank),
        created=bank.created,
        version=bank.version,
        refused=len(bank.refused),
    )


def saved_name(dataset: Any, bank: MemoryBank) -> str | None:
    """The name under which a bank with the same features is saved with a dataset, if any."""
    digest = bank_digest(bank)
    for name in list_memory_banks(dataset):
        config = dataset_of(dataset).get_run_info(_PREFIX + name).config
        if getattr(config, "digest", None) == digest:
            return name
    return None


def load_memory_bank(dataset: Any, name: str) -> MemoryBank:
    """A bank saved with a dataset.

    Raises:
        DatasetError: the dataset has no such bank; names those it has.
        BankError: the bank is damaged.
    """
    dataset = dataset_of(dataset)
    results = dataset.load_run_results(_key(dataset, name), cache=False, load_view=False)
    if results is None:
        raise BankError(
            f"The memory bank {name!r} of {dataset.name!r} was not saved to its end; "
            "delete it and build it again."
        )
    try:
        return MemoryBank.from_bytes(base64.b64decode(results.bank, validate=True))
    except (AttributeError, TypeError, ValueError) as error:
        raise BankError(
            f"The memory bank {name!r} of {dataset.name!r} is damaged ({error}); "
            "delete it and build it again."
        ) from error


def rename_memory_bank(dataset: Any, name: str, new_name: str) -> None:
    """Give a saved bank another name.

    Raises:
        DatasetError: there is no such bank, or the new name is taken or unusable.
    """
    key = _key(dataset, name)
    _require_free(dataset_of(dataset), new_name, overwrite=False)
    dataset_of(dataset).rename_run(key, _PREFIX + new_name)


def delete_memory_bank(dataset: Any, name: str) -> None:
    """Delete a saved bank. What was segmented with it stays.

    Raises:
        DatasetError: there is no such bank.
    """
    dataset_of(dataset).delete_run(_key(dataset, name))


def bank_digest(bank: MemoryBank) -> str:
    """Digest of a bank's classes, features and negatives, 16 hex digits."""
    digest = hashlib.sha256(repr((bank.fingerprint.digest, bank.fingerprint.size)).encode())
    for label in bank.classes:
        for features in (bank.features(label), bank.negatives(label)):
            digest.update(repr((label, tuple(features.shape))).encode())
            digest.update(features.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _key(dataset: Any, name: str) -> str:
    names = list_memory_banks(dataset)
    if name not in names:
        raise DatasetError(
            f"{dataset_of(dataset).name!r} has no memory bank {name!r}; "
            f"it has {listed(names) or 'none'}. One that another process has just built "
            "appears after dataset.reload()."
        )
    return _PREFIX + name


def _require_free(dataset: Any, name: str, overwrite: bool) -> None:
    require_name(name, "memory bank")
    if not overwrite and name in list_memory_banks(dataset):
        raise DatasetError(
            f"{dataset.name!r} already has a memory bank {name!r}; choose another name, "
            "delete it, or pass overwrite=True."
        )


def _require_each_class(bank: MemoryBank) -> None:
    for refused in bank.refused:
        if refused.label not in bank.classes:
            count = sum(entry.label == refused.label for entry in bank.refused)
            raise ReferenceRefusedError(
                f"None of the {count} references of class {refused.label!r} can be used; the "
                f"first, label {refused.provenance.label}: {refused.reason} "
                "Choose others, or leave the class out."
            )
    if not bank.classes:
        raise DatasetError("There is no reference to learn from; choose labels with masks.")
