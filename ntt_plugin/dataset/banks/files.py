"""Memory banks as files: out of a dataset and into another, read without loading any network."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeGuard

from ...engine.bank.memory_bank import MemoryBank
from ...errors import BankError, DatasetError
from ..database.errors import database_errors
from ..samples.checks import as_path, quoted
from . import store

SUFFIX = ".safetensors"


@database_errors("no file was written; export the memory bank again when it is back.")
def export_memory_bank(
    dataset: Any, name: str, path: str | Path, *, overwrite: bool = False
) -> Path:
    """Write a saved bank to a file, all of it or, if that fails, nothing.

    Args:
        dataset: the dataset, or a view of it.
        name: the bank's name in the dataset.
        path: the file, ending in ``.safetensors``; or a folder, for ``<name>.safetensors`` in it.
        overwrite: replace a file that is there.

    Returns:
        The file.

    Raises:
        DatasetError: there is no such bank, or the path is taken or unusable.
        BankError: the bank is damaged, or the file cannot be written.

    Example:
        >>> path = ntt.export_memory_bank(dataset, "animals", "animals.safetensors")
    """
    dataset = store.require_bank(dataset, name)
    path = export_path(name, path)
    if path.exists() and not overwrite:
        raise DatasetError(
            f"There is a file {path} already; choose another path, or pass overwrite=True to "
            "replace the file."
        )
    store.read(dataset, name).save(path)
    return path


def export_path(name: str, path: str | Path) -> Path:
    """The file that a bank would be written to; writes nothing, and the file may exist.

    ``path`` ends in ``.safetensors``, or is a folder, for ``<name>.safetensors`` in it.

    Raises:
        DatasetError: no file can be written there; says what to do.
    """
    what = "a memory bank"
    path = as_path(path, what)
    if path.is_dir():
        path = as_path(path / f"{name}{SUFFIX}", what)
    if path.suffix != SUFFIX:
        raise DatasetError(f"{path} is neither a folder nor a name that ends in {SUFFIX!r}.")
    if not path.parent.is_dir():
        raise DatasetError(f"There is no folder {path.parent} to write {path.name!r} to; make it.")
    if path.is_dir():
        raise DatasetError(f"There is a folder {path} already; choose another path.")
    return path


@database_errors("no memory bank was saved; import the file again when it is back.")
def import_memory_bank(
    dataset: Any, path: str | Path, name: str | None = None, *, overwrite: bool = False
) -> MemoryBank:
    """Save a bank's file in a dataset.

    Loads nothing that the file names. The networks of its recipe are loaded when the bank is used:
    for a file that you do not trust, first inspect ``segmenter`` and ``encoder`` of
    ``get_memory_bank_info``.

    Args:
        dataset: the dataset, or a view of it.
        path: the file.
        name: the bank's name in the dataset; the file's name without its ending if None.
        overwrite: replace a bank of the same name; it stays if the new one cannot be saved.

    Raises:
        DatasetError: the name is taken or unusable, or the path is.
        BankError: the file is missing, damaged or not a memory bank's.

    Example:
        >>> path = ntt.export_memory_bank(dataset, "animals", "animals.safetensors")
        >>> bank = ntt.import_memory_bank(dataset, path, "again")
        >>> bank.classes
        ['cat', 'dog', 'bird']
    """
    path = as_path(path, "a memory bank")
    if name is None:
        name = path.stem
        if not name.isidentifier() or name.startswith("_"):
            raise DatasetError(
                f"The file's name {quoted(path.name)} cannot be the name of a memory bank; give "
                "one with name=: letters, digits and underscores, beginning with a letter."
            )
    dataset = store.require_free(dataset, name, overwrite)
    bank = read_bank_file(path)
    store.write(dataset, name, bank, overwrite)
    return bank


def is_bank_file(bank: object) -> TypeGuard[str | Path]:
    """Whether a bank is given by its file: a path, or a text that ends in ``.safetensors``."""
    return isinstance(bank, Path) or (isinstance(bank, str) and bank.endswith(SUFFIX))


def read_bank_file(path: str | Path) -> MemoryBank:
    """The bank in a file.

    Raises:
        DatasetError: there can be no such path.
        BankError: the file is missing, no ordinary file, damaged or not a memory bank's.
    """
    path = as_path(path, "a memory bank")
    if path.is_dir():
        raise BankError(f"{path} is a folder; name the memory bank's file in it.")
    # Reading a device or a pipe would never end.
    if path.exists() and not path.is_file():
        raise BankError(f"{path} is no ordinary file, so it cannot be a memory bank's.")
    return MemoryBank.load(path)
