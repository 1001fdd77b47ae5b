"""Which of a dataset's runs are its memory banks, and which are leftovers to be deleted.

A bank is the run that the dataset lists under ``ntt_bank_<name>``. Earlier versions wrote a bank
under ``ntt_unfinished_bank_<name>`` and then gave it its key; killed in between, they left it
there, or what it had replaced under ``ntt_discarded_bank_<name>``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bson import ObjectId
from pymongo.errors import PyMongoError

from ...errors import DatasetError
from ..database import custom_runs
from ..database.locks import is_held

METHOD = "ntt_memory_bank"
KEY_PREFIX = "ntt_bank_"
UNFINISHED = "ntt_unfinished_bank_"
DISCARDED = "ntt_discarded_bank_"
_PREFIXES = (KEY_PREFIX, UNFINISHED, DISCARDED)


class Place(NamedTuple):
    """Where a bank is: the key under which its dataset lists it, and the run with that id."""

    key: str
    run: ObjectId


def places(dataset: Any) -> dict[str, Place]:
    """Where each bank is, by name.

    Raises:
        DatasetError: the dataset was deleted.
    """
    runs = custom_runs.listed(dataset)
    known = {key: None for key in custom_runs.known_keys(dataset)}
    custom_runs.remember(
        dataset, {key: run for key, run in (known | runs).items() if key.startswith(_PREFIXES)}
    )
    banks = {key: run for key, run in runs.items() if key.startswith(KEY_PREFIX)}
    configs = custom_runs.configs(banks.values(), "method")
    found = {
        _name_in(key): Place(key, run)
        for key, run in banks.items()
        if not _is_foreign(configs.get(run))
    }
    for key, run in runs.items():
        name = _name_in(key)
        if key.startswith(UNFINISHED) and KEY_PREFIX + name not in runs:
            if custom_runs.has_results(run):
                found[name] = Place(key, run)
    return found


def place_of(dataset: Any, name: object) -> Place | None:
    """Where the bank of a name is; None if there is none.

    Raises:
        DatasetError: the dataset was deleted, or keeps a run of another kind under that key.
    """
    if not isinstance(name, str) or not name.isidentifier():
        return None
    key, unfinished = KEY_PREFIX + name, UNFINISHED + name
    runs = custom_runs.listed(dataset, key, unfinished)
    custom_runs.remember(dataset, {key: runs.get(key), unfinished: runs.get(unfinished)})
    if key in runs:
        if _is_foreign(custom_runs.configs([runs[key]], "method").get(runs[key])):
            raise DatasetError(
                f"{dataset.name!r} keeps a run {key!r} that is no memory bank; choose another "
                "name, or delete that run."
            )
        return Place(key, runs[key])
    if unfinished in runs and custom_runs.has_results(runs[unfinished]):
        return Place(unfinished, runs[unfinished])
    return None


def _is_foreign(config: Mapping[str, Any] | None) -> bool:
    """Whether a run is of another kind; one that is replaced at this moment has no config."""
    return config is not None and config.get("method") != METHOD


def tidy(dataset: Any, locked: Sequence[str]) -> None:
    """Delete what changes of banks left that were killed or beaten; ``locked`` are held here.

    What another process may be writing at this moment is under its lock, and is left alone.
    """
    try:
        # In this order: a run that is listed after the first question is not taken for a leftover.
        written = custom_runs.written(dataset, METHOD)
        runs = custom_runs.listed(dataset)
        whole = {run["_id"] for run in written if not run[custom_runs.PENDING]}
        for run in written:
            key = run["key"]
            now = runs.get(key)
            if run["_id"] in runs.values() or _in_use(dataset, key, locked):
                continue
            # What is listed may yet be taken back for the run that it replaced.
            if now is None or now in whole:
                custom_runs.discard(run["_id"], run["results"], run[custom_runs.PENDING])
        _tidy_older(dataset, runs, locked)
    except PyMongoError:
        # The bank itself is saved; the next change tidies up.
        return


def _tidy_older(dataset: Any, runs: dict[str, ObjectId], locked: Sequence[str]) -> None:
    """Delete what killed changes of earlier versions of this program left in the list."""
    for key, run in runs.items():
        name = _name_in(key)
        replaced = key.startswith(UNFINISHED) and KEY_PREFIX + name in runs
        broken = key.startswith(UNFINISHED) and not replaced and not custom_runs.has_results(run)
        if not (key.startswith(DISCARDED) or replaced or broken):
            continue
        if _in_use(dataset, key, locked):
            continue
        if custom_runs.swap(dataset, {key: (run, None)}) is not None:
            custom_runs.discard(run, custom_runs.file_of(run))


def _in_use(dataset: Any, key: str, locked: Sequence[str]) -> bool:
    name = _name_in(key)
    return name not in locked and is_held(dataset, f"bank/{name}")


def _name_in(key: str) -> str:
    for prefix in _PREFIXES:
        if key.startswith(prefix):
            return key.removeprefix(prefix)
    return key
