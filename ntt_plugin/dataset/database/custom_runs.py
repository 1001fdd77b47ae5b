"""FiftyOne's custom runs as the database has them, replaced by compare and swap.

FiftyOne's own calls do not suit concurrent work: a dataset object caches its run documents, all
threads share one file cursor a document, results are deleted before new ones are written, and each
call walks all runs. The functions here ask the database each time, open a GridFS handle of their
own, and change what a dataset lists in one conditional update of the dataset's document: it
either finds what the caller read before, or changes nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any, NamedTuple, TypeVar

import fiftyone.constants as foc
import fiftyone.core.odm as foo
import fiftyone.core.runs as focr
from bson import DBRef, ObjectId, json_util
from gridfs.errors import CorruptGridFile, NoFile
from mongoengine.fields import GridFSProxy  # type: ignore[import-untyped]
from pymongo import ReturnDocument
from pymongo.errors import PyMongoError

from ...errors import DatasetError
from . import grid_files
from .fiftyone_internals import dataset_id, datasets, reload_runs, stored_dataset
from .fiftyone_internals import runs as stored_runs

RESULTS_CLASS = f"{focr.RunResults.__module__}.{focr.RunResults.__name__}"
_T = TypeVar("_T")

PENDING = "pending"
"""In a run's config: it is a draft, which its dataset does not list yet."""

_DISCARDED = "ntt_discarded"


class Draft(NamedTuple):
    """A run that is written, but that its dataset does not list."""

    run: ObjectId
    file: ObjectId


def replace(dataset: Any, key: str, **results: Any) -> None:
    """Keep the results of a dataset's custom run, in place of the former ones, in one step.

    ``results`` are what JSON can hold.
    """
    document = dataset._doc.runs[key]
    fresh = ObjectId()
    grid_files.put(fresh, [encode(results)])
    former = stored_runs().find_one_and_update(
        {"_id": document.id}, {"$set": {"results": fresh}}, {"results": 1}
    )
    document.results = GridFSProxy(grid_id=fresh, key="results", instance=document)
    document._clear_changed_fields()
    if former is None:
        # The run was deleted meanwhile.
        grid_files.delete(fresh)
    elif former.get("results") is not None:
        grid_files.delete(former["results"])


def encode(results: Mapping[str, Any]) -> bytes:
    """Results as FiftyOne's ``RunResults.serialize`` writes them.

    Values of theirs, and of mappings in them, may have a method ``json``: long lists of ids make
    their own text, which is a hundred times faster.
    """
    texts: dict[str, str] = {}

    def plain(values: Mapping[str, Any], depth: int) -> dict[str, Any]:
        found = {}
        for name, value in values.items():
            if hasattr(value, "json"):
                mark = uuid.uuid4().hex
                texts[f'"{mark}"'], value = value.json(), mark
            elif depth and isinstance(value, Mapping):
                value = plain(value, depth - 1)
            found[name] = value
        return found

    encoded = json_util.dumps(plain({"cls": RESULTS_CLASS, **results}, 1))
    for mark, text in texts.items():
        encoded = encoded.replace(mark, text, 1)
    return encoded.encode()


def read(dataset: Any, key: str) -> dict[str, Any] | None:
    """The results of a custom run, whichever process wrote them; None if there are none.

    Raises:
        TypeError, ValueError: they are damaged.
    """
    seen = None
    while True:
        results = (stored_run(dataset, key) or {}).get("results")
        if results is None:
            return None
        data = grid_files.read(results)
        if data is not None:
            return dict(json_util.loads(data.decode()))
        if results == seen:
            raise ValueError("the database has lost their file")
        # It was replaced between the two questions.
        seen = results


def stored_run(dataset: Any, key: str) -> dict[str, Any] | None:
    """The database's document of a custom run, whichever process wrote it; None if none."""
    run = listed_run(dataset, key)
    return None if run is None else stored_runs().find_one({"_id": run})


def listed_run(dataset: Any, key: str) -> ObjectId | None:
    """The run that a dataset lists under a key, if any; its document may be gone."""
    if not key.isidentifier():
        return None  # no run has such a key, and MongoDB takes some of them for paths
    try:
        return listed(dataset, key).get(key)
    except DatasetError:
        return None  # the dataset was deleted


def document_of(dataset: Any, key: str) -> Any:
    """FiftyOne's document of a custom run, whichever process made it; None if there is none."""
    # Asked of the database: this process may have loaded the dataset before that run.
    kept = foo.RunDocument.objects(dataset_id=dataset_id(dataset), key=key)
    return kept.order_by("-id").first()


def catch_up(dataset: Any) -> None:
    """Reload a dataset's list of runs if another process changed it.

    Raises:
        DatasetError: the dataset was deleted.
    """
    known = {key: document.id for key, document in dataset._doc.runs.items()}
    if listed(dataset) != known:
        reload_runs(dataset)


def listed(dataset: Any, *keys: str) -> dict[str, ObjectId]:
    """Ids of the runs that a dataset lists in the database, by key.

    All runs, or those under ``keys`` if any is given.

    Raises:
        DatasetError: the dataset was deleted.
    """
    wanted = [f"runs.{key}" for key in keys] or ["runs"]
    return dict(stored_dataset(dataset, *wanted).get("runs") or {})


def configs(ids: Iterable[ObjectId], *names: str) -> dict[ObjectId, dict[str, Any]]:
    """Some values of the configs of runs, by the runs' ids, without runs that are gone.

    It is one question to the database, and no result is read.
    """
    wanted = {f"config.{name}": 1 for name in names}
    found = stored_runs().find({"_id": {"$in": list(ids)}}, wanted)
    return {document["_id"]: document.get("config") or {} for document in found}


def load(run: ObjectId, decode: Callable[[Iterator[bytes], int], _T]) -> _T | None:
    """Results of a run, decoded from the pieces of their JSON and its length in bytes.

    None if the run or its file is missing or incomplete.
    """
    results = file_of(run)
    if results is None:
        return None
    try:
        return decode(grid_files.read_pieces(results), grid_files.length_of(results))
    except (NoFile, CorruptGridFile):
        return None


def file_of(run: ObjectId) -> ObjectId | None:
    """The file of a run's results; None if the run has none, or is not there."""
    document = stored_runs().find_one({"_id": run}, {"results": 1})
    return (document or {}).get("results")


def register(dataset: Any, key: str, config: Mapping[str, Any]) -> bool:
    """Make a custom run as FiftyOne does; False if another process was faster."""
    # What is listed may name a document that is gone.
    former = listed_run(dataset, key)
    run = insert(dataset, key, config)
    is_listed = False
    try:
        is_listed = swap(dataset, {key: (former, run)}) is not None
    finally:
        if not is_listed:
            stored_runs().delete_one({"_id": run})
    return is_listed


def insert(dataset: Any, key: str, config: Mapping[str, Any], **more: Any) -> ObjectId:
    """Write the document of a run that the dataset does not list yet; gives its id."""
    run = ObjectId()
    stored_runs().insert_one(
        {
            "_id": run,
            "_dataset_id": dataset_id(dataset),
            "key": key,
            "version": foc.VERSION,
            "timestamp": datetime.now(timezone.utc).replace(tzinfo=None),
            "config": dict(config),
            "results_meta": {},
            **more,
        }
    )
    return run


def draft(
    dataset: Any, key: str, method: str, config: Mapping[str, Any], results: Iterable[bytes]
) -> Draft:
    """Write a whole run that the dataset does not list yet; ``swap`` lists it.

    Its document comes first, so that whatever a killed process leaves can be found by it.

    Args:
        dataset: the dataset.
        key: the key that ``swap`` will list it under.
        method: marks runs of its kind.
        config: what is to be found without reading the results.
        results: their JSON, piece by piece.
    """
    file = ObjectId()
    serialized = focr.RunConfig(**config).serialize()
    run = insert(dataset, key, {**serialized, "method": method, PENDING: True}, results=file)
    try:
        grid_files.put(file, results)
    except Exception:
        # Most likely the disk is full: what was written is of no use.
        abandon(Draft(run, file))
        raise
    return Draft(run, file)


def swap(
    dataset: Any, changes: Mapping[str, tuple[ObjectId | None, ObjectId | None]]
) -> dict[str, ObjectId] | None:
    """Atomically change which runs a dataset lists, if it still lists what the caller expects.

    ``changes`` has by key the run that must be listed now, and the one to be listed in its
    place; None stands for no run.

    Returns:
        All runs that it lists now, by key; None if it listed others, and nothing was changed.

    Raises:
        DatasetError: the dataset was deleted.
    """
    wanted: dict[str, Any] = {"_id": dataset_id(dataset)}
    fresh: dict[str, Any] = {"last_modified_at": datetime.now(timezone.utc)}
    gone = {}
    for key, (expected, value) in changes.items():
        wanted[f"runs.{key}"] = {"$exists": False} if expected is None else expected
        if value is not None:
            fresh[f"runs.{key}"] = value
        elif expected is not None:
            gone[f"runs.{key}"] = ""
    # A change that was reported must outlive the database's process.
    stored = datasets().find_one_and_update(
        wanted,
        {"$set": fresh, **({"$unset": gone} if gone else {})},
        {"runs": 1},
        return_document=ReturnDocument.AFTER,
    )
    if stored is None:
        listed(dataset)
        return None
    runs = dict(stored.get("runs") or {})
    remember(dataset, {key: runs.get(key) for key in changes})
    return runs


def settle(run: ObjectId) -> bool:
    """Mark a listed draft as final; False if it was discarded in the meantime."""
    kept = {"_id": run, "key": {"$ne": _DISCARDED}}
    done = stored_runs().update_one(kept, {"$unset": {f"config.{PENDING}": ""}})
    return bool(done.matched_count)


def set_key(run: ObjectId, key: str) -> None:
    """Give a run's document the key under which its dataset lists it."""
    stored_runs().update_one({"_id": run}, {"$set": {"key": key}})


def written(dataset: Any, method: str) -> list[dict[str, Any]]:
    """The runs written of a kind, listed or not: ``_id``, ``key``, ``results``, ``pending``."""
    wanted = {"_dataset_id": dataset_id(dataset), "config.method": method}
    fields = {"key": 1, "results": 1, f"config.{PENDING}": 1}
    return [
        {**document, PENDING: bool((document.get("config") or {}).get(PENDING))}
        for document in stored_runs().find(wanted, fields)
    ]


def discard(run: ObjectId, file: ObjectId | None, pending: bool = False) -> None:
    """Delete a run that no dataset lists, and its file; ``pending``: only if still a draft."""
    wanted: dict[str, Any] = {"_id": run}
    if pending:
        wanted[f"config.{PENDING}"] = True
    # From here on it cannot be settled; its document goes last, for it alone names the file.
    if stored_runs().update_one(wanted, {"$set": {"key": _DISCARDED}}).matched_count:
        if file is not None:
            grid_files.delete(file)
        stored_runs().delete_one({"_id": run})


def abandon(draft: Draft) -> None:
    """Delete a draft of one's own that did not take its place.

    Another process may have deleted it while this one was stopped, and this one then have written
    the rest of the file. A database that is gone keeps both; the next change tidies up.
    """
    with suppress(PyMongoError):
        grid_files.delete(draft.file)
        stored_runs().delete_one({"_id": draft.run})


def remember(dataset: Any, runs: Mapping[str, ObjectId | None]) -> None:
    """Update a dataset object's list of runs for some keys; None stands for no run.

    FiftyOne would read all runs for it, and calls references to replaced runs corrupt.
    """
    known = dataset._doc._data.get("runs")
    if not isinstance(known, dict):
        return
    held = {key: getattr(dict.get(known, key), "id", None) for key in runs}
    changed = {key: run for key, run in runs.items() if run != held[key]}
    if not changed:
        return
    documents: dict[Any, Any] = {run: DBRef("runs", run) for run in changed.values()}
    if getattr(known, "_dereferenced", False):
        documents = foo.RunDocument.objects.in_bulk([run for run in changed.values() if run])
    for key, run in changed.items():
        # Past mongoengine, which would save the list once more.
        if run in documents and run is not None:
            dict.__setitem__(known, key, documents[run])
        else:
            dict.pop(known, key, None)
        dataset._run_cache.pop(key, None)


def known_keys(dataset: Any) -> list[str]:
    """Keys of the runs that a dataset object believes to be listed."""
    return list(dataset._doc._data.get("runs") or {})
