"""A dataset's memory banks among its runs: their keys, their leftovers, the JSON of their results.

A bank is the run that the dataset lists under ``ntt_bank_<name>``. Its results hold the bank's
file in base64, as FiftyOne would write them, encoded and decoded piece by piece.
"""

from __future__ import annotations

import base64
import binascii
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from bson import ObjectId, json_util
from pymongo.errors import PyMongoError

from ...errors import DatasetError
from ..database import custom_runs
from ..database.custom_runs import RESULTS_CLASS
from ..database.fiftyone_internals import datasets_with_runs
from ..database.locks import is_held

METHOD = "ntt_memory_bank"
KEY_PREFIX = "ntt_bank_"
FORMER_PREFIX = "ntt_former_bank_"
"""Under this key a dataset lists the state of a bank before its last change."""

_START, _END = (
    part.encode() for part in json.dumps({"cls": RESULTS_CLASS, "bank": "@"}).rsplit("@", 1)
)


def datasets_with_bank(name: object) -> list[str]:
    """Names of the datasets that have a bank of a name: a clone of a view, for one, has none."""
    return datasets_with_runs(f"{KEY_PREFIX}{name}", exactly=True)


def bank_runs(dataset: Any) -> dict[str, ObjectId]:
    """The run of each bank, by name.

    Raises:
        DatasetError: the dataset was deleted.
    """
    banks = {
        key: run for key, run in custom_runs.listed(dataset).items() if key.startswith(KEY_PREFIX)
    }
    known = [key for key in custom_runs.known_keys(dataset) if key.startswith(KEY_PREFIX)]
    custom_runs.remember(dataset, {**dict.fromkeys(known), **banks})
    configs = custom_runs.configs(banks.values(), "method")
    return {
        key.removeprefix(KEY_PREFIX): run
        for key, run in banks.items()
        if not _is_foreign(configs.get(run))
    }


def bank_run(dataset: Any, name: object) -> ObjectId | None:
    """The run of the bank of a name; None if there is none.

    Raises:
        DatasetError: the dataset was deleted, or keeps a run of another kind under that key.
    """
    if not isinstance(name, str) or not name.isidentifier():
        return None
    key = KEY_PREFIX + name
    run = custom_runs.listed(dataset, key).get(key)
    custom_runs.remember(dataset, {key: run})
    if run is None:
        return None
    if _is_foreign(custom_runs.configs([run], "method").get(run)):
        raise DatasetError(
            f"{dataset.name!r} keeps a run {key!r} that is no memory bank; choose another "
            "name, or delete that run."
        )
    return run


def former_run(dataset: Any, name: str) -> ObjectId | None:
    """The run of a bank's state before its last change; None if none is kept."""
    return custom_runs.listed_run(dataset, FORMER_PREFIX + name)


def _is_foreign(config: Mapping[str, Any] | None) -> bool:
    """Whether a run is of another kind; one that was just replaced has no config."""
    return config is not None and config.get("method") != METHOD


def tidy(dataset: Any, locked: Sequence[str]) -> None:
    """Delete what killed and overtaken changes of banks left.

    What another process may be writing at this moment is under its lock, and is left alone.

    ``locked`` are the names of the banks whose locks the caller holds.
    """
    try:
        # In this order: a run that is listed after the first query is not taken for a leftover.
        written = custom_runs.written(dataset, METHOD)
        runs = custom_runs.listed(dataset)
        whole = {run["_id"] for run in written if not run[custom_runs.PENDING]}
        for run in written:
            now, name = runs.get(run["key"]), run["key"].removeprefix(KEY_PREFIX)
            if run["_id"] in runs.values():
                continue
            if name not in locked and is_held(dataset, f"bank/{name}"):
                continue
            # A listed draft may be undone, and the run that it replaced be listed again.
            if now is None or now in whole:
                custom_runs.discard(run["_id"], run["results"], run[custom_runs.PENDING])
    except PyMongoError:
        # The bank itself is saved; the next change tidies up.
        return


def to_results(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The JSON of the results that hold a bank's file, given in pieces."""
    yield _START
    # Base64 takes bytes in threes: the remainder goes on to the next piece.
    rest = b""
    for piece in pieces:
        data = rest + piece
        count = len(data) // 3 * 3
        yield binascii.b2a_base64(memoryview(data)[:count], newline=False)
        rest = data[count:]
    yield binascii.b2a_base64(rest, newline=False)
    yield _END


def from_results(pieces: Iterator[bytes], length: int) -> bytearray:
    """The bytes of a bank's file.

    ``pieces`` are the JSON of its results, ``length`` bytes in all.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: there are none.
    """
    text = next(pieces, b"")
    if not text.startswith(_START):
        # FiftyOne wrote them anew, and may lay them out in another way.
        results = json_util.loads(b"".join([text, *pieces]).decode())
        return bytearray(_decode(results["bank"].encode()))
    # As one block: growing piece by piece would leave holes in memory.
    data, size, text = bytearray(3 * length // 4), 0, text[len(_START) :]
    while piece := next(pieces, b""):
        text += piece
        # Base64 decodes groups of 4 characters; the last ones wait, as they may hold the end.
        count = max(0, len(text) - len(_END)) // 4 * 4
        decoded = _decode(memoryview(text)[:count])
        data[size : size + len(decoded)] = decoded
        size += len(decoded)
        text = text[count:]
    if not text.endswith(_END):
        raise ValueError("its JSON is cut short")
    data[size:] = _decode(memoryview(text)[: -len(_END)])
    return data


def _decode(text: bytes | memoryview) -> bytes:
    if sys.version_info >= (3, 11):
        return binascii.a2b_base64(text, strict_mode=True)
    return base64.b64decode(bytes(text), validate=True)
