"""What this package uses of FiftyOne that FiftyOne does not promise: seen in version 1.22.

FiftyOne's public calls load, convert and save whole documents. A run has to ask the database
itself, and to change one document in one conditional step. ``custom_runs.py`` uses more: the list
of runs that a dataset object holds. ``tests/dataset/database/test_fiftyone_internals.py`` fails
first where a later version changes one of these, or where another folder uses one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import fiftyone as fo
import fiftyone.core.odm as foo
from pymongo import WriteConcern
from pymongo.errors import PyMongoError

from ...errors import DatasetError

JOURNALED = WriteConcern(w="majority", j=True)
"""For writes that must be on the disk, with all before them, before what follows is done."""


def root_dataset(samples: Any) -> Any:
    """The dataset of a view, the very object that the view has; a dataset itself."""
    # A deleted dataset has its document still, and no other attribute.
    return samples if isinstance(samples, fo.Dataset) else samples._root_dataset


def dataset_id(dataset: Any) -> Any:
    """The id of a dataset's document; ask while the dataset is there."""
    return dataset._doc.id


def samples_of(dataset: Any) -> Any:
    """The collection of MongoDB's that holds a dataset's samples."""
    return dataset._sample_collection


def stream(
    samples: Any, stages: Sequence[Mapping[str, Any]], at_once: int = 0
) -> Iterator[dict[str, Any]]:
    """What MongoDB's stages make of the samples of a collection, in its order, one by one.

    ``at_once`` are held in memory; 0 for as many as fit 16 MB, which are many times more here.
    """
    return iter(samples._aggregate(post_pipeline=list(stages)).batch_size(at_once))


def database() -> Any:
    """FiftyOne's database, as pymongo gives it."""
    return foo.get_db_conn()


def datasets() -> Any:
    """The collection of datasets' documents: a change outlives the database's process."""
    return database().datasets.with_options(write_concern=JOURNALED)


def runs() -> Any:
    """The collection of custom runs' documents: a change outlives the database's process."""
    return database().runs.with_options(write_concern=JOURNALED)


def reload_runs(dataset: Any) -> None:
    """Let a dataset object read its list of runs again.

    The list alone: reloading the dataset would undo what people changed in their samples.
    """
    dataset._doc.reload("runs")


def reload_held(dataset: Any, field: str, sample_ids: Iterable[str]) -> None:
    """Let whoever holds some samples in memory see what the database has in a field of them.

    What was changed in other fields, and is not saved yet, stays.
    Samples that nobody holds, that were deleted, or that FiftyOne cannot load are passed over.

    Raises:
        PyMongoError: the database does not answer.
    """
    # FiftyOne 1.22: a weak dictionary of samples by the name of their collection, and by id.
    held = fo.Sample._instances.get(dataset._sample_collection_name)
    for sample_id in sample_ids if held else ():
        sample = held.get(sample_id)
        if sample is not None:
            try:
                # Of a sample, FiftyOne's own ``reload`` takes all fields.
                sample._doc.reload(field, "last_modified_at")
            except PyMongoError:
                raise
            # A document may have any form, and what FiftyOne raises of it has no base of its own.
            except Exception:
                continue


def reload_samples(dataset: Any) -> None:
    """Let whoever holds samples of a dataset in memory see what the database has of them."""
    fo.Sample._reload_docs(dataset._sample_collection_name)


def add_fields(dataset: Any, schema: Mapping[str, fo.Field]) -> None:
    """Declare fields by their paths, all at once; existing ones stay.

    Each call of ``add_sample_field`` would rewrite the whole dataset document.

    Raises:
        ValueError: FiftyOne refuses one, or has one of another type.
    """
    dataset._merge_sample_field_schema(dict(schema))


def label_fields(
    kind: Any, own: Mapping[str, type[fo.Field]], of_labels: Mapping[str, type[fo.Field]]
) -> list[fo.Field]:
    """The fields of a list of labels such as ``fo.Detections``, with further ones.

    FiftyOne 1.22: ``add_sample_field`` adds to those of the type what it is given, whole fields.

    Args:
        kind: the type of the list.
        own: the list's further fields, and their types.
        of_labels: further fields of each label.
    """
    name = str(label_list(kind))
    label = kind._fields[name].field.document_type
    labels = foo.create_field(
        name,
        fo.ListField,
        subfield=fo.EmbeddedDocumentField,
        embedded_doc_type=label,
        fields=[foo.create_field(*field) for field in of_labels.items()],
    )
    return [labels, *(foo.create_field(*field) for field in own.items())]


def label_list(kind: Any) -> str | None:
    """Where a type of labels has its list, such as ``detections``; None if it is one label."""
    return getattr(kind, "_LABEL_LIST_FIELD", None)


def set_undeclared(samples: Any, path: str, expression: Any) -> Any:
    """A view in which an attribute that no schema needs to know has other values."""
    return samples.set_field(path, expression, _allow_missing=True)


def attach_samples(results: Any, samples: Any) -> None:
    """Let the results of an evaluation load other samples than those it was computed on."""
    results._samples = samples


def stages_of(samples: Any) -> Sequence[Any]:
    """The stages of a view; none of a dataset."""
    return () if isinstance(samples, fo.Dataset) else samples._stages


def view_as_json(samples: Any) -> list[Any]:
    """The stages of a view, or of a dataset's whole view, as JSON's values."""
    return list(samples.view()._serialize())


def view_from_json(dataset: Any, stages: list[Any]) -> Any:
    """The view that ``view_as_json`` was given."""
    return fo.DatasetView._build(dataset, stages)


def stored_dataset(dataset: Any, *fields: str) -> dict[str, Any]:
    """Fields of a dataset's document, whichever process changed them last.

    FiftyOne 1.22 loads the document once, and a dataset object keeps what it loaded.

    ``fields`` are their names in MongoDB, such as ``sample_fields.name``.

    Raises:
        DatasetError: the dataset was deleted.
    """
    dataset = root_dataset(dataset)
    wanted = dict.fromkeys(fields, 1)
    stored = datasets().find_one({"_id": dataset_id(dataset)}, wanted)
    if stored is None:
        raise DatasetError(f"The dataset {dataset.name!r} was deleted.")
    return dict(stored)


def datasets_with_runs(prefix: str, exactly: bool = False) -> list[str]:
    """Names of the datasets that have a run whose key begins so, or is it; sorted; one query."""
    # FiftyOne 1.22: a dataset's document has the ids of its custom runs in ``runs``, by key.
    documents = datasets().find({"runs": {"$ne": {}}}, {"name": 1, "runs": 1})
    return sorted(
        document["name"]
        for document in documents
        if any(
            key == prefix if exactly else key.startswith(prefix)
            for key in document.get("runs") or {}
        )
    )


def has_sample(dataset: Any, condition: dict[str, Any]) -> bool:
    """Whether a sample of a dataset, in any group slice, meets a condition of MongoDB's.

    FiftyOne 1.22 keeps the samples of all slices in one collection, ``_sample_collection``.
    """
    samples = samples_of(root_dataset(dataset))
    return samples.find_one(condition, {"_id": 1}) is not None


def show_color_scheme(dataset: Any) -> None:
    """Let the open App use a dataset's colour scheme; it reads it only when it opens a dataset.

    Only in the App's server: FiftyOne 1.22 has no operation for it, so its event is sent, as the
    App's own settings do. Where no App shows the dataset nothing is sent.
    """
    from fiftyone.core.session.events import SetColorScheme
    from fiftyone.server.events import dispatch_event, get_state

    shown = get_state().dataset
    scheme = dataset.app_config.color_scheme
    if shown is not None and shown.name == dataset.name and scheme is not None:
        sending = dispatch_event(None, SetColorScheme.from_odm(scheme))
        # Nothing in it waits: it ends at once, in whichever thread.
        with suppress(StopIteration):
            sending.send(None)
