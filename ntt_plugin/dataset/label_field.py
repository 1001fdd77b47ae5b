"""The field that a segmentation writes: whose it is, what it holds, what is left to do."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import Any

import fiftyone as fo
from fiftyone import ViewField as F

from ..engine.config import Recipe
from ..errors import DatasetError
from .checks import dataset_of, require_name

METHOD = "ntt_segmentation"
_PREFIX = "ntt_segment_"

_LABEL_ATTRIBUTES = {
    "margin": fo.FloatField,
    "proposal_iou": fo.FloatField,
    "reference": fo.StringField,
    "reference_sample": fo.StringField,
    "bank": fo.StringField,
}


def run_id(digest: str, recipe: Recipe) -> str:
    """Id of what a bank and a recipe compute: equal ids, equal labels; 16 hex digits."""
    constants = asdict(recipe)
    del constants["point_batch"], constants["name"]
    return hashlib.sha256(repr((digest, sorted(constants.items()))).encode()).hexdigest()[:16]


def check_field(samples: Any, field: str, run: str, overwrite: bool) -> None:
    """Make sure that a run may write a field of these samples; changes nothing.

    Raises:
        DatasetError: the name cannot be used, something else made the field, or it holds labels
            of another run and ``overwrite`` is False.
    """
    dataset = dataset_of(samples)
    require_name(field, "label field")
    if field not in dataset.get_field_schema():
        return
    if not _is_ours(dataset, field):
        raise DatasetError(
            f"The field {field!r} of {dataset.name!r} was not made by a segmentation, so it is "
            "not touched; choose another field name, or delete the field first."
        )
    if overwrite:
        return
    runs, filled = samples.values([F(f"{field}.run"), F(field).exists()])
    others = sum(done and made_by != run for made_by, done in zip(runs, filled, strict=True))
    if others:
        raise DatasetError(
            f"{others} of {len(filled)} samples hold labels in {field!r} that another memory "
            "bank, recipe or person made; choose another field, or pass overwrite=True to "
            "replace them."
        )


def prepare_field(
    samples: Any, field: str, run: str, record: dict[str, Any], overwrite: bool
) -> list[str]:
    """Make a checked field, or clear it to overwrite it, and tell which samples are to be done.

    Args:
        samples: the view to be segmented.
        field: the field to write; ``check_field`` has passed it.
        run: this run's id.
        record: what to keep of the run with the dataset.
        overwrite: clear what the field holds in these samples.

    Returns:
        Ids of the samples without labels, in the view's order.

    Raises:
        DatasetError: FiftyOne does not allow a field of that name.
    """
    dataset = dataset_of(samples)
    if field not in dataset.get_field_schema():
        _declare(dataset, field)
    elif overwrite:
        samples.clear_sample_field(field)
    _remember(dataset, field, run, record)
    ids, filled = samples.values(["id", F(field).exists()])
    return [sample for sample, done in zip(ids, filled, strict=True) if not done]


def save_report(dataset: Any, field: str, report: dict[str, Any]) -> None:
    """Keep the report of the field's last run with the dataset."""
    key = _PREFIX + field
    results = dataset.init_run_results(key, report=report)
    dataset.save_run_results(key, results, overwrite=True, cache=False)


def load_report(dataset: Any, field: str) -> dict[str, Any]:
    """The report of the last run that wrote a field, as ``SegmentReport``'s fields.

    Raises:
        DatasetError: no segmentation wrote that field, or none came to its end.
    """
    dataset = dataset_of(dataset)
    if _is_ours(dataset, field):
        results = dataset.load_run_results(_PREFIX + field, cache=False, load_view=False)
        if results is not None:
            return dict(results.report)
    raise DatasetError(f"{dataset.name!r} keeps no report of a segmentation into {field!r}.")


def _is_ours(dataset: Any, field: str) -> bool:
    return _PREFIX + field in dataset.list_runs(method=METHOD)


def _remember(dataset: Any, field: str, run: str, record: dict[str, Any]) -> None:
    config = dataset.init_run(label_field=field, run=run, **record)
    config.method = METHOD
    dataset.register_run(_PREFIX + field, config, overwrite=True)


def _declare(dataset: Any, field: str) -> None:
    try:
        dataset.add_sample_field(field, fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    except ValueError as error:
        raise DatasetError(f"The field {field!r} cannot be made: {error}.") from error
    dataset.add_sample_field(f"{field}.run", fo.StringField)
    for name, kind in _LABEL_ATTRIBUTES.items():
        dataset.add_sample_field(f"{field}.detections.{name}", kind)
