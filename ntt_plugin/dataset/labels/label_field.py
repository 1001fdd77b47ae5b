"""The field that a run writes: which run made it, what it holds, what is left to do."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import fiftyone as fo

from ...engine.recipe import ADDED_LATER, Recipe
from ...errors import DatasetError
from ...worker.labels.kept_labels import KEPT
from ..database.dataset_locks import schema_lock
from ..database.fiftyone_internals import (
    add_fields,
    dataset_id,
    datasets,
    label_fields,
    samples_of,
    stream,
)
from ..database.run_record import is_stored, read_facts
from ..samples.checks import dataset_of, require_editable, require_name
from ..samples.sample_ids import SampleIds, ids_of
from .peoples_labels import count_touched

# Stored with the field, so that it is created, deleted, renamed and cloned with it.
_MARK = {"made_by": "ntt_plugin"}
_LOOKED_UP_AT_ONCE = 1000
_DECLARE_TRIES = 5

RunIds = str | Mapping[str, str]
"""A run's id: one for all its samples, or by sample id where it depends on what each holds."""


@dataclass(frozen=True)
class FieldState:
    """What a field holds in some samples, seen from one run.

    Attributes:
        foreign: the field exists and no run made it.
        to_do: ids of the samples without labels, in order.
        done: ids of the samples that hold labels of the run, in order.
        others: ids of the samples that hold labels of another run, or of a person, in order.
    """

    foreign: bool
    to_do: SampleIds
    done: SampleIds
    others: SampleIds


def run_id(digest: str, recipe: Recipe, with_candidates: bool = False) -> str:
    """Id of the labels that a bank (its digest) and a recipe give; 16 hex digits."""
    constants = asdict(recipe)
    del constants["point_batch"], constants["name"]
    if not with_candidates:
        del constants["box_points"]
    # Runs of versions without these fields keep their ids.
    for name, value in ADDED_LATER.items():
        if constants.get(name) == value:
            del constants[name]
    return hashlib.sha256(repr((digest, sorted(constants.items()))).encode()).hexdigest()[:16]


def run_of(run: RunIds, sample_id: str) -> str | None:
    """A run's id for one of its samples; None of one that was added since it began."""
    return run if isinstance(run, str) else run.get(sample_id)


def known_to(run: RunIds, sample_ids: SampleIds) -> SampleIds:
    """The samples of a run, in order, without those that were added since it began."""
    return sample_ids if isinstance(run, str) else SampleIds(filter(run.__contains__, sample_ids))


def segmentation_fields(dataset: Any) -> list[str]:
    """The fields of a dataset that runs made, in its order."""
    schema = dataset_of(dataset).get_field_schema()
    return [name for name, field in schema.items() if _is_marked(field)]


def field_state(samples: Any, field: str, run: RunIds) -> FieldState:
    """What a field holds in some samples, seen from one run.

    ``samples`` are not grouped, and may hide the field; the field need not exist.
    """
    found = dataset_of(samples).get_field(field)
    if found is None or not _is_marked(found):
        to_do = known_to(run, ids_of(samples))
        return FieldState(found is not None, to_do, SampleIds(), SampleIds())
    state = FieldState(False, SampleIds(), SampleIds(), SampleIds())
    for sample, found_run, filled in _made_by(samples, field):
        if run_of(run, sample) is None:
            continue
        if not filled:
            state.to_do.append(sample)
        elif found_run == run_of(run, sample):
            state.done.append(sample)
        else:
            state.others.append(sample)
    return state


def require_writable(
    samples: Any,
    field: str,
    run: RunIds,
    overwrite: bool,
    made_with: tuple[str, int] | None = None,
) -> FieldState:
    """Make sure that a run may write a field of these samples; returns what the field holds.

    ``made_with`` is the bank of the run, and its version.

    Raises:
        DatasetError: the name cannot be used, something else made the field, or it holds labels
            of another run and ``overwrite`` is False, or is read-only.
    """
    require_name(field, "label field")
    require_editable(samples, field)
    state = field_state(samples, field, run)
    if state.foreign:
        # FiftyOne's own fields cannot be deleted.
        own = field in fo.Sample(filepath="any").field_names
        raise DatasetError(
            f"The field {field!r} of {dataset_of(samples).name!r} was not made by a "
            "segmentation, so it is not touched; choose another field name"
            + ("." if own else ", or delete the field first.")
        )
    if state.others and not overwrite:
        count = sum(map(len, (state.to_do, state.done, state.others)))
        makers = "other boxes or another segmenter made"
        if isinstance(run, str):
            makers = _makers(read_facts(samples, field), made_with)
        people = count_touched(dataset_of(samples), field, state.others)
        peoples = f" People made or changed {people} of these labels." if people else ""
        raise DatasetError(
            f"{len(state.others)} of {count} samples hold labels in {field!r} that {makers}."
            f"{peoples} Choose another field, or pass overwrite=True to replace them: what people "
            "made or changed stays."
        )
    return state


def _makers(facts: Mapping[str, Any], made_with: tuple[str, int] | None) -> str:
    """What made the labels of a field's last run, as the end of a sentence."""
    name, version = facts.get("bank"), facts.get("bank_version")
    if name is None:
        return "another kind of run made" if facts else "no run made"
    if made_with is None or made_with[0] != name:
        return f"the memory bank {name!r} made"
    if made_with[1] != version:
        return f"{name!r} made at its version {version}; it has changed to version {made_with[1]}"
    return f"{name!r} made with another recipe, or before it was built anew"


def declare(dataset: Any, field: str, attributes: Mapping[str, type[fo.Field]]) -> None:
    """Create a field of ``Detections`` with our mark, or complete one that a killed run left.

    Call it under the dataset's ``schema_lock``. Other programs add fields without it, and FiftyOne
    writes the whole list of fields each time, so the result is checked and written again.
    ``require_writable`` has passed the field.

    Raises:
        DatasetError: FiftyOne does not allow a field of that name, or the dataset was deleted.
    """
    for attempt in range(_DECLARE_TRIES):
        if attempt:
            dataset.reload()
        try:
            _declare(dataset, field, attributes)
        except ValueError as error:
            # Its attributes cannot be added where another program has just dropped it.
            if is_stored(dataset_id(dataset), field):
                raise _refused(field, error) from error
        else:
            if _is_declared(dataset, field):
                return
    raise DatasetError(
        f"The field {field!r} of {dataset.name!r} was deleted each time it was made: another "
        "program is changing the dataset's fields. Start again when it has ended."
    )


def declare_fields(dataset: Any, schema: Mapping[str, fo.Field]) -> None:
    """Declare fields by their paths, under the dataset's schema lock; existing ones stay.

    Raises:
        ValueError: FiftyOne refuses one, or has one of another type.
        DatasetError: another process has been changing the fields for too long.
    """
    with schema_lock(dataset):
        add_fields(dataset, schema)


def _declare(dataset: Any, field: str, attributes: Mapping[str, type[fo.Field]]) -> None:
    if dataset.get_field(field) is None:
        # All at once: each change rewrites the whole dataset document, and reads it twice.
        try:
            dataset.add_sample_field(
                field,
                fo.EmbeddedDocumentField,
                embedded_doc_type=fo.Detections,
                info=dict(_MARK),
                fields=label_fields(fo.Detections, {"run": fo.StringField}, attributes),
            )
        except ValueError as error:
            raise _refused(field, error) from error
    own = {f"{field}.detections.{name}": kind() for name, kind in attributes.items()}
    add_fields(dataset, {f"{field}.run": fo.StringField(), **own})


def _refused(field: str, error: ValueError) -> DatasetError:
    return DatasetError(f"The field {field!r} cannot be made: {error}.")


def _is_declared(dataset: Any, field: str) -> bool:
    """Whether the database has a field, marked and with its run, and this process knows it."""
    marked = {"name": field, "info.made_by": _MARK["made_by"], "fields.name": "run"}
    stored = {"_id": dataset_id(dataset), "sample_fields": {"$elemMatch": marked}}
    if datasets().find_one(stored, {"_id": 1}) is None:
        return False
    return dataset.get_field(f"{field}.run") is not None


def _made_by(samples: Any, field: str) -> Iterator[tuple[str, str | None, bool]]:
    """For each sample its id, the run that made its labels, and whether it has labels."""
    # Where only labels of people are, a run has its own to add.
    some = {"$gt": [f"${field}", None]}
    run, filled = f"${field}.run", {"$and": [some, {"$ne": [f"${field}.{KEPT}", True]}]}
    if samples.get_field(f"{field}.run") is not None:
        for found in stream(samples, [{"$project": {"run": run, "filled": filled}}]):
            yield str(found["_id"]), found.get("run"), found["filled"]
        return
    # The view hides the field, so look into the database; an ordered select would take minutes.
    ids, held = ids_of(samples), samples_of(dataset_of(samples))
    for start in range(0, len(ids), _LOOKED_UP_AT_ONCE):
        these = {"_id": {"$in": list(ids[start : start + _LOOKED_UP_AT_ONCE].object_ids())}}
        found_here = {
            str(found["_id"]): (found.get("run"), found["filled"])
            for found in held.aggregate(
                [{"$match": these}, {"$project": {"run": run, "filled": filled}}]
            )
        }
        for sample in ids[start : start + _LOOKED_UP_AT_ONCE]:
            if sample in found_here:
                yield sample, *found_here[sample]


def _is_marked(field: fo.Field) -> bool:
    return (field.info or {}).get("made_by") == _MARK["made_by"]
