"""What is kept of a field's runs with the dataset, as a FiftyOne custom run; whole at any moment.

The facts of a run (its bank, its recipe) are the custom run's config, its report is the custom
run's results.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import fiftyone.core.odm as foo

from ..engine.config import Recipe
from ..engine.proposal_key import AFTER_PROPOSALS
from ..errors import DatasetError
from . import run_results
from .checks import dataset_of

METHOD = "ntt_segmentation"
_PREFIX = "ntt_segment_"


def keep_record(dataset: Any, field: str, facts: dict[str, Any]) -> None:
    """Keep the facts of a field's run, in place of those of the run before."""
    key = _PREFIX + field
    config = dataset.init_run(label_field=field, **facts)
    config.method = METHOD
    if dataset.has_run(key):
        dataset.update_run_config(key, config)
    else:
        dataset.register_run(key, config)


def keep_results(dataset: Any, field: str, **results: Any) -> None:
    """Keep the results of a field's run, in place of the former ones, in one step.

    Args:
        dataset: the dataset; ``keep_record`` was called for the field.
        field: the field that the run writes.
        **results: what JSON can hold.
    """
    run_results.replace(dataset, _PREFIX + field, **results)


def read_results(dataset: Any, field: str) -> dict[str, Any] | None:
    """The results kept of a field's last run, whichever process wrote them; None if there are none.

    Raises:
        DatasetError: they are damaged.
    """
    dataset = dataset_of(dataset)
    try:
        return run_results.read(dataset, _PREFIX + field)
    except (TypeError, ValueError) as error:
        raise DatasetError(
            f"The report kept of the run into {field!r} of {dataset.name!r} is damaged "
            f"({error}); the labels are not. A new run replaces it."
        ) from error


def read_facts(dataset: Any, field: str) -> dict[str, Any]:
    """The facts kept of a field's last run, whichever process wrote them; empty if none are."""
    document = run_results.document_of(dataset_of(dataset), _PREFIX + field)
    return {} if document is None else dict(document.config)


def is_segmentation_by(facts: Mapping[str, Any], recipe: Recipe) -> bool:
    """Whether facts are of a segmentation that made the proposals that a recipe makes.

    What comes after the proposals may differ, and so may device and versions.
    """
    others = {"boxes", "suggestions"} & facts.keys()
    kept = _before_proposals(facts.get("recipe") or {})
    return not others and kept == _before_proposals(asdict(recipe))


def recorded_fields(dataset: Any) -> list[str]:
    """The fields that runs wrote, also those deleted since, whichever process wrote them."""
    wanted = {"_id": dataset_of(dataset)._doc.id}
    stored = foo.get_db_conn().datasets.find_one(wanted, {"runs": 1}) or {}
    keys = stored.get("runs") or {}
    return [key.removeprefix(_PREFIX) for key in keys if key.startswith(_PREFIX)]


def catch_up(dataset: Any, field: str) -> None:
    """Reload a dataset that does not know what another process made of a field meanwhile.

    Raises:
        DatasetError: the dataset was deleted.
    """
    stored = foo.get_db_conn().datasets.find_one(
        {"_id": dataset._doc.id}, {"sample_fields.name": 1, "runs": 1}
    )
    if stored is None:
        raise DatasetError(f"The dataset {dataset.name!r} was deleted.")
    fields = {entry["name"] for entry in stored["sample_fields"]}
    key = _PREFIX + field
    # As the dataset's own document has it, not as a grouped dataset's active slice does.
    known = {entry.name for entry in dataset._doc.sample_fields}
    if (field in fields) != (field in known) or (key in stored["runs"]) != dataset.has_run(key):
        dataset.reload()


def is_stored(dataset_id: Any, field: str) -> bool:
    """Whether the database has a dataset, by its id, and a field in it, at this moment."""
    wanted = {"_id": dataset_id, "sample_fields.name": field}
    return foo.get_db_conn().datasets.find_one(wanted, {"_id": 1}) is not None


def _before_proposals(recipe: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in recipe.items() if name not in AFTER_PROPOSALS}
