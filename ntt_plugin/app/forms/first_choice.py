"""What a form offers before a person has chosen: what is selected, was last used, or fits."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Any

from ...dataset.banks.banks import get_memory_bank_info, list_memory_banks
from ...dataset.database.fiftyone_internals import stages_of
from ...dataset.database.run_record import read_facts
from ...dataset.inspect.inventory import fields_with_masks
from ...dataset.labels.label_field import segmentation_fields
from ...dataset.networks import missing_networks
from ...dataset.references.copies import KEPT_FIELD
from ...engine.recipe import PRESETS
from ...errors import NttError
from . import selection
from .fields import Form

_GROUND_TRUTH = "ground_truth"
_BY_DEFAULT = "paper"
_FOR_TESTS = "tiny"


class Wanted(Enum):
    """What the labels of a field are to be."""

    PREDICTIONS = "predictions"
    TRUE_MASKS = "true masks"


def field(form: Form, found: list[str], wanted: Wanted) -> str:
    """The field to offer first, of those that were found.

    The field of the selection or of the patches comes first, then one that the view filters, the
    one that this form last ran with, and one that is visible in the sidebar. Of several that are
    left the one that fits best is taken.
    """
    ranked = _ranked(form.dataset, found, wanted)
    fitting = [name for name in ranked if _fits(form.dataset, name, wanted)]
    offers = [selection.field_of_selection(form.ctx)]
    offers += _in_order(fitting, filtered_fields(form.ctx))
    offers += [form.last_used("label_field" if wanted is Wanted.PREDICTIONS else "gt_field")]
    offers += [form.last_used("label_field")]
    offers += _in_order(fitting, visible_fields(form.ctx))
    return next((name for name in offers if name in found), ranked[0])


def filtered_fields(ctx: Any) -> list[str]:
    """The fields that the sidebar or the view filters."""
    filters = ctx.request_params.get("filters")
    paths = [str(path) for path in filters] if isinstance(filters, dict) else []
    stages = [] if ctx.view is None else stages_of(ctx.view)
    paths += [str(stage.field) for stage in stages if hasattr(stage, "field")]
    return list(dict.fromkeys(path.partition(".")[0] for path in paths))


def visible_fields(ctx: Any) -> list[str]:
    """The fields that are ticked in the App's sidebar."""
    fields = ctx.request_params.get("active_fields")
    # A request written by hand may hold anything.
    names = fields if isinstance(fields, list) else []
    return [str(name).partition(".")[0] for name in names]


def newest_bank(dataset: Any, names: Iterable[str]) -> str | None:
    """The bank that was built last; a damaged one only if there is no other."""
    made = {}
    for name in names:
        try:
            made[name] = get_memory_bank_info(dataset, name).created
        except NttError:
            made[name] = ""
    return max(made, key=lambda name: made[name]) if made else None


def bank(form: Form, names: list[str]) -> str | None:
    """The bank to offer first: the one last used, else the newest; None if there is none."""
    used = form.last_used("bank", "name")
    return used if used in names else newest_bank(form.dataset, names)


def preset(form: Form) -> str:
    """The preset to offer first.

    The one last used with the dataset, that of its newest bank, the first whose networks are on
    this machine, or the SDK's default. A script that gives none gets the SDK's default.
    """
    if not form.is_of_app:
        return _BY_DEFAULT
    used = form.last_used("preset", anywhere=True)
    if used in PRESETS:
        return str(used)
    newest = newest_bank(form.dataset, list_memory_banks(form.dataset))
    if newest is not None:
        try:
            name = get_memory_bank_info(form.dataset, newest).recipe.name
        except NttError:
            name = ""
        if name in PRESETS:
            return name
    here = [name for name in PRESETS if name != _FOR_TESTS and not missing_networks(PRESETS[name])]
    return here[0] if here else _BY_DEFAULT


def _in_order(names: list[str], first: list[str]) -> list[str]:
    return [name for name in names if name in first]


def _ranked(dataset: Any, found: list[str], wanted: Wanted) -> list[str]:
    if wanted is Wanted.PREDICTIONS:
        made = segmentation_fields(dataset)
        return sorted(found, key=lambda name: (name not in made, _is_of_boxes(dataset, name)))
    made, masks = segmentation_fields(dataset), fields_with_masks(dataset)
    return sorted(
        found,
        key=lambda name: (
            name not in masks,
            name in made and not _is_of_boxes(dataset, name),
            name == KEPT_FIELD,
            name in made,
            name != _GROUND_TRUTH,
        ),
    )


def _fits(dataset: Any, name: str, wanted: Wanted) -> bool:
    if wanted is Wanted.PREDICTIONS:
        return name in segmentation_fields(dataset)
    return name in fields_with_masks(dataset) and (
        name not in segmentation_fields(dataset) or _is_of_boxes(dataset, name)
    )


def _is_of_boxes(dataset: Any, name: str) -> bool:
    """Whether masks from boxes made a field: no predictions, and as good as drawn."""
    return "boxes" in read_facts(dataset, name)
