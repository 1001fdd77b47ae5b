"""Memory banks saved with a dataset: building, saving, finding and describing them."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import fiftyone as fo
import torch

from ...engine.bank.memory_bank import MemoryBank, Refused
from ...engine.recipe import Recipe
from ...errors import BankError, DatasetError, ReferenceRefusedError
from ...worker.tasks.networks import SegmenterLike
from ..database.errors import database_errors
from ..networks import as_recipe, get_segmenter
from ..references.choose import choose_references
from ..runtime.progress_bar import Progress
from ..samples.checks import dataset_of, listed, quoted
from ..samples.label_lookup import find_labels
from ..samples.label_selection import select_labels
from ..samples.views import all_images
from . import store
from .estimate_thresholds import try_to_estimate
from .files import is_bank_file, read_bank_file
from .info import BankInfo, bank_digest
from .learn import learn_references

logger = logging.getLogger(__name__)


@database_errors("no memory bank was saved; build it again when it is back.")
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
    sample_tag: str | None = None,
    group_slices: str | Iterable[str] | None = None,
    overwrite: bool = False,
    segmenter: SegmenterLike | None = None,
    estimate: bool = False,
) -> MemoryBank:
    """Build a memory bank from labels with masks and save it with their dataset.

    Labels that cannot serve (a box without a mask, a line, an image that cannot be
    read, a mask that vanishes on the patch grid, ...) are left out and listed with their reasons
    in the bank's ``refused``. How unusual images of references were read (few grey levels, an
    animation's first frame, ...) is listed in its ``notes``.

    Args:
        samples: a dataset or view of images. Labels that a view leaves out are not learnt from,
            so a view of selected samples or selected labels chooses references too.
        label_field: a field of ``Detections`` with ``mask`` or ``mask_path``, or of filled or
            closed ``Polylines``.
        name: the bank's name in the dataset: letters, digits, underscores.
        tag: only labels with this label tag; all labels if None.
        classes: only these classes; all if None.
        preset: a preset's name, or a recipe.
        device: where to run; the best there is if None.
        progress: FiftyOne's: True, False, a callback, or None for the configured default. What a
            callback raises ends the building, and nothing is saved.
        sample_tag: only labels of samples with this tag; of all samples if None.
        group_slices: slices to take of a grouped dataset; its active one if None.
        overwrite: replace a bank of the same name, which stays if this one cannot be built.
        segmenter: an engine ``Segmenter`` to use in place of ``preset`` and ``device``.
        estimate: estimate its thresholds, as ``estimate_thresholds``, and keep them with it. That
            they cannot be is logged, and no error.

    Raises:
        DatasetError: the name is taken or unusable, there is nothing to learn from, or the
            database does not answer.
        ReferenceRefusedError: no reference of a class could be used; names class and reason.
        BankError: the database did not take the bank.

    Example:
        >>> bank = ntt.build_memory_bank(
        ...     dataset, "ground_truth", "pets", "reference", classes=["cat", "dog"], preset="tiny"
        ... )
        >>> bank.classes
        ['cat', 'dog']
    """
    dataset = store.require_free(samples, name, overwrite)
    repeats: list[str] = []
    chosen = choose_references(
        samples,
        label_field,
        tag,
        classes,
        sample_tag=sample_tag,
        group_slices=group_slices,
        notes=repeats,
    )
    segmenter = segmenter or get_segmenter(as_recipe(preset), device)
    bank = MemoryBank(segmenter.fingerprint, segmenter.recipe)
    bank.notes.extend(repeats)
    learn_references(bank, chosen, segmenter, progress)
    _require_each_class(bank)
    if bank.refused:
        logger.warning("%s", describe_refused(bank.refused))
    for note in bank.notes:
        logger.warning("%s", note)
    store.write(dataset, name, bank, overwrite)
    if estimate and try_to_estimate(dataset, name, device, segmenter):
        return store.read(dataset, name)
    return bank


def describe_refused(refused: Sequence[Refused], most: int = 10) -> str:
    """References that were left out, in words: class, reason, file, label and sample of each.

    Args:
        refused: a bank's ``refused``.
        most: how many to describe.

    Example:
        >>> bank = ntt.load_memory_bank(dataset, "animals")
        >>> print(ntt.describe_refused(bank.refused))
        0 references are left out:
    """
    lines = [f"{len(refused)} references are left out:"]
    for entry in refused[:most]:
        source = entry.provenance
        ids = f"label {source.label}, sample {source.sample}"
        lines.append(f"- {quoted(entry.label)}: {entry.reason} [{ids}]")
    if len(refused) > most:
        lines.append(f"- and {len(refused) - most} more")
    return "\n".join(lines)


@database_errors("no memory bank was saved; save it again when it is back.")
def save_memory_bank(dataset: Any, name: str, bank: MemoryBank, *, overwrite: bool = False) -> None:
    """Save a bank, with its recipe, in a dataset: one made elsewhere, or one that was changed.

    Args:
        dataset: the dataset, or a view of it.
        name: the bank's name in the dataset.
        bank: the bank.
        overwrite: replace a bank of the same name; it stays if the new one cannot be saved.

    Raises:
        DatasetError: the name is taken or unusable, or ``bank`` is no memory bank.
        BankError: the database did not take the bank.

    Example:
        >>> bank = ntt.load_memory_bank(dataset, "animals")
        >>> bank.remove("bird")
        >>> ntt.save_memory_bank(dataset, "pets", bank)
    """
    dataset = store.require_free(dataset, name, overwrite)
    if not isinstance(bank, MemoryBank):
        raise DatasetError(
            f"{quoted(bank)} is no memory bank; give a MemoryBank, such as load_memory_bank gives."
        )
    store.write(dataset, name, bank, overwrite)


@database_errors("nothing was changed; start again when it is back.")
def list_memory_banks(dataset: Any) -> list[str]:
    """Names of the banks saved with a dataset, sorted.

    Example:
        >>> ntt.list_memory_banks(dataset)
        ['animals', 'cats', 'dogs']
    """
    return store.names(dataset_of(dataset))


@database_errors("nothing was changed; start again when it is back.")
def get_memory_bank_info(dataset: Any, name: str) -> BankInfo:
    """What a saved bank is made of. Reads no feature and loads no network.

    Raises:
        DatasetError: the dataset has no such bank; names those it has.
        BankError: the bank is damaged.

    Example:
        >>> ntt.get_memory_bank_info(dataset, "animals").shots
        {'cat': 2, 'dog': 2, 'bird': 2}
    """
    return store.read_info(dataset_of(dataset), name)


@database_errors("nothing was changed; start again when it is back.")
def memory_bank_infos(
    dataset: Any, names: Collection[str] | None = None
) -> dict[str, BankInfo | BankError]:
    """What each saved bank is made of, by name, sorted; of a damaged one the error.

    Asks the database twice, however many banks there are.

    ``names`` are the banks wanted, all if None; unknown ones are left out.
    """
    return store.read_infos(dataset_of(dataset), names)


@database_errors("nothing was changed; start again when it is back.")
def load_memory_bank(dataset: Any, name: str) -> MemoryBank:
    """A bank saved with a dataset.

    Raises:
        DatasetError: the dataset has no such bank; names those it has.
        BankError: the bank is damaged.

    Example:
        >>> bank = ntt.load_memory_bank(dataset, "animals")
        >>> bank.features("cat").shape[0]
        2
    """
    return store.read(dataset_of(dataset), name)


@database_errors(
    "the memory bank is whole under one of the two names; start again when it is back."
)
def rename_memory_bank(dataset: Any, name: str, new_name: str) -> None:
    """Give a saved bank another name.

    Raises:
        DatasetError: there is no such bank, or the new name is taken or unusable.

    Example:
        >>> ntt.rename_memory_bank(dataset, "cats", "kittens")
    """
    dataset = store.require_bank(dataset, name)
    store.require_free(dataset, new_name, overwrite=False)
    store.rename(dataset, name, new_name)


@database_errors("the memory bank is whole or deleted; start again when it is back.")
def delete_memory_bank(dataset: Any, name: str) -> None:
    """Delete a saved bank. What was segmented with it stays.

    Raises:
        DatasetError: there is no such bank.

    Example:
        >>> ntt.delete_memory_bank(dataset, "cats")
    """
    store.delete(store.require_bank(dataset, name), name)


@database_errors("nothing was changed; start again when it is back.")
def load_references_view(dataset: Any, name: str) -> Any:
    """The samples that a saved bank's references came from, with these labels alone.

    Returns:
        A view of whole samples; of a grouped dataset, of its images.

    Raises:
        DatasetError: there is no such bank, or none of its references is in this dataset.
        BankError: the bank is damaged.

    Example:
        >>> view = ntt.load_references_view(dataset, "animals")
        >>> view.count("ground_truth.detections")
        6
    """
    dataset = store.require_bank(dataset, name)
    bank = store.read(dataset, name)
    sources = [entry.stored.provenance for entry in bank.entries() if not entry.negative]
    labels = [key for key in find_labels(sources, dataset) if key is not None]
    view = select_labels(all_images(dataset), labels)
    if len(view) == 0:
        origins = sorted({source.dataset for source in sources if source.dataset})
        raise DatasetError(
            f"None of the {len(sources)} references of the memory bank {name!r} is a label of "
            f"{dataset.name!r}; they came from {listed(origins) or 'no dataset'}."
        )
    return view


def resolve_bank(
    dataset: Any, bank: MemoryBank | str | Path, bank_dataset: Any = None
) -> tuple[str, MemoryBank]:
    """A bank that is given itself, by name or by file; and its name.

    Args:
        dataset: the dataset that is worked on, or a view of it.
        bank: a bank, the name of a saved one, or its file: a path, or a text that ends in
            ``.safetensors``.
        bank_dataset: the dataset with the bank of that name, or that dataset's name; ``dataset``
            if None.

    Raises:
        DatasetError: there is no such bank or dataset.
        BankError: the bank or its file is damaged or missing.
    """
    by_file = is_bank_file(bank)
    if bank_dataset is not None and (by_file or not isinstance(bank, str)):
        raise DatasetError(
            "bank_dataset tells which dataset keeps the bank of a name, but the bank was given "
            f"{'as a file' if by_file else 'itself'}; leave bank_dataset out."
        )
    if isinstance(bank, MemoryBank):
        digest = bank_digest(bank)
        return name_of_digest(dataset, digest) or f"unsaved_{digest}", bank
    if by_file:
        return Path(bank).stem, read_bank_file(bank)
    if not isinstance(bank, str):
        raise DatasetError(
            "A bank is a MemoryBank, the name of a saved one or a file, not of the type "
            f"{type(bank).__name__}."
        )
    keeper = dataset if bank_dataset is None else _other_dataset(bank_dataset)
    return bank, load_memory_bank(keeper, bank)


def name_of_digest(dataset: Any, digest: str) -> str | None:
    """The name under which a bank with a digest is saved with a dataset, if any."""
    return store.name_of_digest(dataset_of(dataset), digest)


def _other_dataset(dataset: Any) -> Any:
    if not isinstance(dataset, str):
        return dataset_of(dataset)
    if not fo.dataset_exists(dataset):
        raise DatasetError(
            f"There is no dataset {quoted(dataset)} to take the memory bank from; there are "
            f"{listed(fo.list_datasets()) or 'none'}."
        )
    return fo.load_dataset(dataset)


def _require_each_class(bank: MemoryBank) -> None:
    for refused in bank.refused:
        if refused.label not in bank.classes:
            count = sum(entry.label == refused.label for entry in bank.refused)
            raise ReferenceRefusedError(
                f"None of the {count} references of class {quoted(refused.label)} can be used; "
                f"the first, label {refused.provenance.label}: {refused.reason} "
                "Choose others, or leave the class out."
            )
    if not bank.classes:
        raise DatasetError("There is no reference to learn from; choose labels with masks.")
