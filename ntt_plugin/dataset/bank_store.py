"""Memory banks in a dataset, as FiftyOne custom runs; no moment of a crash loses one.

A bank is written whole under a key of its own, and only then takes the key of its name; one that
has that key is first moved aside, by its key alone, and deleted last: FiftyOne deletes in several
steps. So what has the key of a name is whole. After a crash a whole bank may be left under the key
of its own: it is the bank if none has the key of its name, else it is of no use. What was moved
aside never is. The next change of that name tidies both up.

Other processes change banks too, and FiftyOne keeps what it once read of a dataset's runs: each
function here first looks at what the database has, and changes are made under the name's lock.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bson import ObjectId
from mongoengine.errors import MongoEngineException  # type: ignore[import-untyped]
from pymongo.errors import PyMongoError

from ..engine.memory import MemoryBank
from ..errors import BankError, DatasetError, RecipeError
from . import run_results
from .bank_info import BankInfo, bank_info, from_facts, to_facts
from .bank_lock import BankLock
from .checks import dataset_of, listed, quoted, require_name

METHOD = "ntt_memory_bank"
KEY_PREFIX = "ntt_bank_"
_UNFINISHED = "ntt_unfinished_bank_"
_DISCARDED = "ntt_discarded_bank_"

# The facts lie in one MongoDB document of 16 MB at most. A bank with more keeps none, and is read
# whole when they are asked for.
_MOST_FACTS = 4_000_000

# A change takes about a tenth of a second; features that were computed for it would be lost.
_PATIENCE = 10.0


def names(dataset: Any) -> list[str]:
    """Names of the banks in a dataset, sorted.

    Raises:
        DatasetError: the dataset was deleted.
    """
    run_results.catch_up(dataset)
    keys = dataset.list_runs(method=METHOD)
    found = {key.removeprefix(KEY_PREFIX) for key in keys if key.startswith(KEY_PREFIX)}
    for key in keys:
        name = key.removeprefix(_UNFINISHED)
        if name != key and name not in found and _results(dataset, key) is not None:
            found.add(name)
    return sorted(found)


def require_bank(dataset: Any, name: str) -> Any:
    """The dataset of a collection of samples, which has a bank of that name.

    Raises:
        DatasetError: it has no such bank; names those it has.
    """
    dataset = dataset_of(dataset)
    found = names(dataset)
    if name not in found:
        raise DatasetError(
            f"{dataset.name!r} has no memory bank {quoted(name)}; it has {listed(found) or 'none'}."
        )
    return dataset


def require_free(dataset: Any, name: str, overwrite: bool) -> Any:
    """The dataset of a collection of samples, in which a bank may be saved under a name.

    Raises:
        DatasetError: the name is unusable, or taken and ``overwrite`` is False.
    """
    dataset = dataset_of(dataset)
    require_name(name, "memory bank")
    if not overwrite:
        _require_none(dataset, name)
    return dataset


def read(dataset: Any, name: str) -> MemoryBank:
    """The bank of a name that ``names`` gave.

    Raises:
        BankError: the bank is damaged.
    """
    results = _results(dataset, _key(dataset, name))
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


def state(dataset: Any, name: str) -> ObjectId:
    """What is another one whenever a bank that ``names`` gave was written again; reads nothing."""
    identity: ObjectId = dataset._doc.runs[_key(dataset, name)].id
    return identity


def read_info(dataset: Any, name: str) -> BankInfo:
    """What the bank of a name is made of, from the facts beside it if they are there.

    Raises:
        BankError: the bank is damaged.
    """
    config = dataset.get_run_info(_key(dataset, name)).config
    try:
        return from_facts(name, config.facts)
    except (AttributeError, KeyError, TypeError, ValueError, RecipeError):
        bank = read(dataset, name)
        return bank_info(name, bank, len(bank.to_bytes()))


def read_digest(dataset: Any, name: str) -> str | None:
    """The digest of the bank of a name; None if none was kept."""
    return getattr(dataset.get_run_info(_key(dataset, name)).config, "digest", None)


def write(dataset: Any, name: str, bank: MemoryBank, overwrite: bool = True) -> None:
    """Save a bank under a name, in the place of one that has it.

    Raises:
        DatasetError: another process changes the bank of that name at this moment, or there is
            one and ``overwrite`` is False.
        BankError: the database did not take it; the former one is as it was.
    """
    with _saving(dataset, name), BankLock(dataset, name):
        if not overwrite:
            _require_none(dataset, name)
        _write(dataset, name, bank)


def change(dataset: Any, name: str, edit: Callable[[MemoryBank], bool]) -> MemoryBank:
    """Change a saved bank as it is at this moment; nobody else changes it meanwhile.

    Args:
        dataset: the dataset.
        name: the bank's name.
        edit: changes the bank that it is given, fast, and tells whether it did. What it raises
            leaves the saved bank as it was.

    Returns:
        The bank, as it is saved now.

    Raises:
        DatasetError: the bank is gone, or another process was changing it for too long.
        BankError: the bank is damaged, or the database did not take it.
    """
    with _saving(dataset, name), BankLock(dataset, name, _PATIENCE):
        bank = read(require_bank(dataset, name), name)
        if edit(bank):
            _write(dataset, name, bank)
    return bank


def _write(dataset: Any, name: str, bank: MemoryBank) -> None:
    """Save a bank in the place of one that has its name, under the name's lock."""
    data = bank.to_bytes()
    info = bank_info(name, bank, len(data))
    facts = to_facts(info)
    kept = {"facts": facts} if len(json.dumps(facts)) <= _MOST_FACTS else {}
    config = dataset.init_run(digest=info.digest, **kept)
    config.method = METHOD
    unfinished = _UNFINISHED + name
    run_results.catch_up(dataset)
    _settle(dataset, name)
    dataset.register_run(unfinished, config)
    results = dataset.init_run_results(unfinished, bank=base64.b64encode(data).decode("ascii"))
    dataset.save_run_results(unfinished, results, cache=False)
    if dataset.has_run(KEY_PREFIX + name):
        dataset.rename_run(KEY_PREFIX + name, _DISCARDED + name)
    dataset.rename_run(unfinished, KEY_PREFIX + name)
    _settle(dataset, name)


@contextmanager
def _saving(dataset: Any, name: str) -> Iterator[None]:
    """Around saving a bank: what the database raises becomes an error of ours."""
    try:
        yield
    except (PyMongoError, MongoEngineException) as error:
        raise BankError(
            f"The database did not take the memory bank {name!r} of {dataset.name!r} ({error}); "
            "one that was saved under this name before is still there. See that the database "
            "runs and has room, and save it again, or export it to a file."
        ) from error


def rename(dataset: Any, name: str, new_name: str) -> None:
    """Give a bank another name, which no bank has.

    Raises:
        DatasetError: the new name is taken, the bank is gone, or another process changes one of
            the two at this moment.
    """
    with BankLock(dataset, name), BankLock(dataset, new_name):
        require_bank(dataset, name)
        _require_none(dataset, new_name)
        _settle(dataset, name)
        _settle(dataset, new_name)
        dataset.rename_run(KEY_PREFIX + name, KEY_PREFIX + new_name)


def delete(dataset: Any, name: str) -> None:
    """Delete a bank.

    Raises:
        DatasetError: the bank is gone, or another process changes it at this moment.
    """
    with BankLock(dataset, name):
        require_bank(dataset, name)
        _settle(dataset, name)
        dataset.rename_run(KEY_PREFIX + name, _DISCARDED + name)
        _settle(dataset, name)


def _require_none(dataset: Any, name: str) -> None:
    if name in names(dataset):
        raise DatasetError(
            f"{dataset.name!r} already has a memory bank {name!r}; choose another name, delete "
            "it, or pass overwrite=True."
        )


def _settle(dataset: Any, name: str) -> None:
    """Leave of a name what has its key, or else a whole bank under its own key; nothing beside."""
    final, unfinished, discarded = KEY_PREFIX + name, _UNFINISHED + name, _DISCARDED + name
    if dataset.has_run(discarded):
        dataset.delete_run(discarded)
    if not dataset.has_run(unfinished):
        return
    if not dataset.has_run(final) and _results(dataset, unfinished) is not None:
        dataset.rename_run(unfinished, final)
    else:
        dataset.rename_run(unfinished, discarded)
        dataset.delete_run(discarded)


def _key(dataset: Any, name: str) -> str:
    final = KEY_PREFIX + name
    return final if dataset.has_run(final) else _UNFINISHED + name


def _results(dataset: Any, key: str) -> Any:
    """A run's results; None if they were not written to their end, or are deleted in part."""
    try:
        return dataset.load_run_results(key, cache=False, load_view=False)
    except AttributeError:
        # What FiftyOne raises for results whose file in the database is gone.
        return None
