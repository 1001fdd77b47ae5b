"""Memory banks in a dataset, as FiftyOne custom runs.

A bank is written whole as a run that the dataset does not list yet; one conditional update of the
list then replaces the run that the change started from. Renaming and deleting are one such update
too. So a bank is whole at each moment of a crash, and of two changes that start from the same bank
one raises. What killed and beaten changes leave is not listed; the next change deletes it.

A lock of the name keeps changes from starting together. It cannot guarantee more: a process that
was stopped for longer than the lock lives does not know it when it is woken.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from bson import ObjectId
from mongoengine.errors import MongoEngineException  # type: ignore[import-untyped]
from pymongo.errors import PyMongoError

from ...engine.bank.memory_bank import MemoryBank
from ...errors import BankError, DatasetError, RecipeError
from ..database import custom_runs
from ..database.dataset_locks import bank_lock
from ..database.locks import RunLock
from ..runtime.caching import Remembered
from ..samples.checks import dataset_of, listed, quoted, require_name
from .bank_runs import (
    FORMER_PREFIX,
    KEY_PREFIX,
    METHOD,
    bank_run,
    bank_runs,
    datasets_with_bank,
    former_run,
    from_results,
    tidy,
    to_results,
)
from .info import BankInfo, bank_info, from_facts, to_facts

# The facts lie in one MongoDB document of 16 MB at most. A bank with more keeps none, and is read
# whole when they are asked for.
_MOST_FACTS = 4_000_000

# A change takes about a tenth of a second; features that were computed for it would be lost.
_PATIENCE = 10.0

# A bank that is replaced while it is read is read again.
_LOOKS = 4
_LOOK_AGAIN_SECONDS = 0.1
_RESTORE = "import it from a file that was exported, or build it again, with overwrite=True."
_infos_without_facts: Remembered[BankInfo] = Remembered(64)


class _LostContent(Exception):
    """The database lists a bank, but does not give its content."""


def names(dataset: Any) -> list[str]:
    """Names of the banks in a dataset, sorted.

    Raises:
        DatasetError: the dataset was deleted.
    """
    return sorted(bank_runs(dataset))


def require_bank(dataset: Any, name: str) -> Any:
    """The dataset of a collection of samples, which has a bank of that name.

    Raises:
        DatasetError: it has no such bank; names those it has.
    """
    dataset = dataset_of(dataset)
    if bank_run(dataset, name) is None:
        raise _no_bank(dataset, name)
    return dataset


def require_free(dataset: Any, name: str, overwrite: bool) -> Any:
    """The dataset of a collection of samples, in which a bank may be saved under a name.

    Raises:
        DatasetError: the name is unusable, or taken and ``overwrite`` is False.
    """
    dataset = dataset_of(dataset)
    require_name(name, "memory bank")
    if not overwrite and bank_run(dataset, name) is not None:
        raise _taken(dataset, name)
    return dataset


def read(dataset: Any, name: str) -> MemoryBank:
    """A saved bank, as it is at this moment.

    Raises:
        DatasetError: there is no such bank.
        BankError: the bank is damaged, or cannot be read at this moment.
    """
    return read_with_state(dataset, name)[0]


def read_with_state(dataset: Any, name: str) -> tuple[MemoryBank, ObjectId]:
    """Read a saved bank, and its ``state``.

    Raises:
        DatasetError: there is no such bank.
        BankError: the bank is damaged, or cannot be read at this moment.
    """
    try:
        data, run = _load(dataset, name)
        return MemoryBank.from_bytes(data), run
    except _LostContent as error:
        raise BankError(
            f"The content of the memory bank {name!r} of {dataset.name!r} is not to be found in "
            f"the database at this moment. If it stays so, {_RESTORE}"
        ) from error
    except (BankError, MemoryError, AttributeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, MemoryError) or isinstance(error.__cause__, MemoryError):
            raise BankError(
                f"There is not enough memory to read the memory bank {name!r} of "
                f"{dataset.name!r}, which may well be sound; close other programs."
            ) from error
        reason = f"{error!s:.400}".rstrip(".")
        raise BankError(
            f"The memory bank {name!r} of {dataset.name!r} is damaged ({reason}); {_RESTORE}"
        ) from error


def state(dataset: Any, name: str) -> ObjectId:
    """The id of a bank's run, which changes whenever the bank is saved; reads no bank.

    Raises:
        DatasetError: there is no such bank.
    """
    run = bank_run(dataset, name)
    if run is None:
        raise _no_bank(dataset, name)
    return run


def read_info(dataset: Any, name: str) -> BankInfo:
    """What the bank of a name is made of, from the facts beside it if they are there.

    Raises:
        DatasetError: there is no such bank.
        BankError: the bank is damaged, or cannot be read at this moment.
    """
    run = state(dataset, name)
    return _info(dataset, name, run, custom_runs.configs([run], "facts").get(run, {}))


def read_infos(
    dataset: Any, wanted: Collection[str] | None = None
) -> dict[str, BankInfo | BankError]:
    """Summaries of a dataset's banks by name; the error for a damaged one.

    Asks the database twice, however many banks there are, and reads no bank that has its facts
    beside it.

    ``wanted`` are the names of the banks asked for, all if None; unknown ones are left out.
    """
    runs = {
        name: run for name, run in bank_runs(dataset).items() if wanted is None or name in wanted
    }
    configs = custom_runs.configs(runs.values(), "facts")
    found: dict[str, BankInfo | BankError] = {}
    for name, run in sorted(runs.items()):
        try:
            found[name] = _info(dataset, name, run, configs.get(run, {}))
        except BankError as error:
            found[name] = error
        except DatasetError:
            continue  # deleted meanwhile
    return found


def name_of_digest(dataset: Any, digest: str) -> str | None:
    """The first name under which a bank of a digest is saved, if any; reads no bank."""
    runs = bank_runs(dataset)
    configs = custom_runs.configs(runs.values(), "digest")
    found = [name for name, run in runs.items() if configs.get(run, {}).get("digest") == digest]
    return min(found, default=None)


def write(
    dataset: Any,
    name: str,
    bank: MemoryBank,
    overwrite: bool = True,
    replaces: ObjectId | None = None,
) -> None:
    """Save a bank under a name, replacing a bank of that name.

    ``replaces`` is the state of the bank that this one was made from, if it is to replace that
    one; it must not have changed since.

    Raises:
        DatasetError: another process changes the bank of that name at this moment or did so
            meanwhile, or there is one and ``overwrite`` is False.
        BankError: the database did not take it; the former one is as it was.
    """
    with _saving(dataset, name), bank_lock(dataset, name) as lock:
        run = bank_run(dataset, name)
        if run is not None and not overwrite:
            raise _taken(dataset, name)
        if replaces is not None and run != replaces:
            raise _changed_meanwhile(dataset, name)
        _write(dataset, name, bank, lock, run)


def change(
    dataset: Any, name: str, edit: Callable[[MemoryBank], bool], to_undo: bool = True
) -> MemoryBank:
    """Load, change and save a bank under its lock; the bank as it is saved now.

    Args:
        dataset: the dataset.
        name: the bank's name.
        edit: changes the bank that it is given, fast, and tells whether it did. What it raises
            leaves the saved bank as it was.
        to_undo: whether ``undo`` takes this change back; if not, the one before it.

    Raises:
        DatasetError: the bank is gone, another process was changing it for too long, or did so
            while this one was stopped.
        BankError: the bank is damaged, or the database did not take it.
    """
    with _saving(dataset, name), bank_lock(dataset, name, _PATIENCE) as lock:
        bank, run = read_with_state(dataset, name)
        if edit(bank):
            _write(dataset, name, bank, lock, run, to_undo)
    return bank


def undo(dataset: Any, name: str) -> tuple[MemoryBank, MemoryBank]:
    """Exchange a bank with its state before its last change; gives it as it was and as it is.

    Raises:
        DatasetError: the bank is gone, no former state of it is kept, or another process changes
            it at this moment.
        BankError: one of the two is damaged.
    """
    with bank_lock(dataset, name, _PATIENCE) as lock:
        run, former = state(dataset, name), former_run(dataset, name)
        if former is None:
            raise DatasetError(f"No former state of the memory bank {name!r} is kept.")
        before = read(dataset, name)
        lock.require()
        swapped = {KEY_PREFIX + name: (run, former), FORMER_PREFIX + name: (former, run)}
        if custom_runs.swap(dataset, swapped) is None:
            raise _changed_meanwhile(dataset, name)
        return before, read(dataset, name)


def rename(dataset: Any, name: str, new_name: str) -> None:
    """Give a bank another name, which no bank has.

    Raises:
        DatasetError: the new name is taken, the bank is gone, or another process changes one of
            the two at this moment.
    """
    with bank_lock(dataset, name) as lock, bank_lock(dataset, new_name) as new_lock:
        tidy(dataset, (name, new_name))
        run = state(dataset, name)
        if name == new_name or bank_run(dataset, new_name) is not None:
            raise _taken(dataset, new_name)
        key, new_key = KEY_PREFIX + name, KEY_PREFIX + new_name
        former, left = former_run(dataset, name), former_run(dataset, new_name)
        moved = {key: (run, None), new_key: (None, run)}
        moved |= {FORMER_PREFIX + name: (former, None), FORMER_PREFIX + new_name: (left, former)}
        lock.require()
        new_lock.require()
        if custom_runs.swap(dataset, moved) is None:
            raise _changed_meanwhile(dataset, name)
        custom_runs.set_key(run, new_key)


def delete(dataset: Any, name: str) -> None:
    """Delete a bank.

    Raises:
        DatasetError: the bank is gone, or another process changes it at this moment.
    """
    with bank_lock(dataset, name) as lock:
        run = state(dataset, name)
        lock.require()
        former = former_run(dataset, name)
        gone = {KEY_PREFIX + name: (run, None), FORMER_PREFIX + name: (former, None)}
        if custom_runs.swap(dataset, gone) is None:
            raise _changed_meanwhile(dataset, name)
        tidy(dataset, (name,))


def _write(
    dataset: Any,
    name: str,
    bank: MemoryBank,
    lock: RunLock,
    run: ObjectId | None,
    to_undo: bool = True,
) -> None:
    """Save a bank in place of the run that it was made from, which is kept to be undone."""
    size, pieces = bank.to_pieces()
    info = bank_info(name, bank, size)
    facts = to_facts(info)
    kept = {"facts": facts} if len(json.dumps(facts)) <= _MOST_FACTS else {}
    key = KEY_PREFIX + name
    text = to_results(pieces)
    fresh = custom_runs.draft(dataset, key, METHOD, {"digest": info.digest, **kept}, text)
    former = former_run(dataset, name)
    left = run if to_undo else former
    try:
        lock.require()
        changes = {key: (run, fresh.run), FORMER_PREFIX + name: (former, left)}
        landed = custom_runs.swap(dataset, changes) is not None
    except DatasetError:
        custom_runs.abandon(fresh)
        raise
    if landed and not custom_runs.settle(fresh.run):
        # While this process was stopped, another one deleted its draft. Either it did so before
        # the draft took its place, which is undone, or after it had gone on from there.
        changes = {key: (fresh.run, run), FORMER_PREFIX + name: (left, former)}
        landed = custom_runs.swap(dataset, changes) is None
    if not landed:
        custom_runs.abandon(fresh)
        raise _changed_meanwhile(dataset, name)
    tidy(dataset, (name,))


@contextmanager
def _saving(dataset: Any, name: str) -> Iterator[None]:
    """Around saving a bank: what the database raises becomes an error of ours."""
    try:
        yield
    except (PyMongoError, MongoEngineException) as error:
        raise BankError(
            f"The database did not take the memory bank {name!r} of {dataset.name!r} ({error}); "
            "one that was saved under this name before is there, or the new one is. See that the "
            "database runs and has room, and save it again, or export it to a file."
        ) from error
    except MemoryError as error:
        raise BankError(
            f"There is not enough memory to save the memory bank {name!r} of {dataset.name!r}; "
            "nothing was changed. Close other programs, and save it again."
        ) from error


def _load(dataset: Any, name: str) -> tuple[bytearray, ObjectId]:
    """The bytes of a bank's file; read again where a change came between."""
    before, looks = None, 0
    while True:
        run = state(dataset, name)
        data = custom_runs.load(run, from_results)
        if data is not None:
            return data, run
        looks = looks + 1 if run == before else 0
        if looks >= _LOOKS:
            raise _LostContent
        before = run
        time.sleep(_LOOK_AGAIN_SECONDS)


def _info(dataset: Any, name: str, run: ObjectId, config: dict[str, Any]) -> BankInfo:
    try:
        return from_facts(name, config["facts"])
    except (AttributeError, KeyError, TypeError, ValueError, RecipeError):
        pass

    def make() -> BankInfo:
        bank = read(dataset, name)
        return bank_info(name, bank, bank.to_pieces()[0])

    info = _infos_without_facts.get(run, make)
    return replace(info, name=name)


def _no_bank(dataset: Any, name: object) -> DatasetError:
    has, where = listed(names(dataset)) or "none", datasets_with_bank(name)
    text = f"{dataset.name!r} has no memory bank {quoted(name)}; it has {has}."
    return DatasetError(text + (f" One of that name is in {listed(where[:3])}." if where else ""))


def _taken(dataset: Any, name: str) -> DatasetError:
    return DatasetError(
        f"{dataset.name!r} already has a memory bank {name!r}; choose another name, delete it, or "
        "pass overwrite=True."
    )


def _changed_meanwhile(dataset: Any, name: str) -> DatasetError:
    return DatasetError(
        f"The memory bank {name!r} of {dataset.name!r} was changed meanwhile by another process; "
        "that change is kept, and this one was not made. Start again."
    )
