"""What a person chose to work on: a view, patches, samples or single labels; by click or Alt."""

from __future__ import annotations

from typing import Any

import fiftyone as fo
from fiftyone.operators.constants import ViewTarget

from ...dataset.inspect.inventory import image_slices
from ...dataset.labels.label_field import segmentation_fields
from ...dataset.samples.checks import listed, quoted
from ...dataset.samples.label_lookup import database_ids
from ...dataset.samples.label_selection import LabelKey, labels_in, select_labels
from ...dataset.samples.views import all_images, images_of, is_patches, patch_labels, whole_images
from ...errors import DatasetError
from .fields import Form, value_of

_ALT = "alt"


def target_name(ctx: Any) -> str | None:
    """Which of the targets of the form is chosen; None where nothing tells."""
    name = ctx.params.get("view_target") or ctx.request_params.get("view_target")
    return None if name is None else str(name)


def chosen_labels(ctx: Any, alt: bool | None = None) -> Any:
    """View of the chosen labels in their whole images; None if there are none.

    ``alt`` selects those chosen with Alt (True), without it (False; so are views) or both (None).
    """
    name = target_name(ctx)
    if name == ViewTarget.SELECTED_LABELS:
        labels = selected_keys(ctx, alt)
        if labels or alt is None:
            return select_labels(all_images(ctx.dataset), labels)
        return None
    view = ctx.target_view()
    if name == ViewTarget.SELECTED_SAMPLES and alt is not None:
        ids = _selected(ctx, alt)
        return whole_images(view.select(ids)) if ids else None
    return None if alt else whole_images(view)


def slices_of(ctx: Any) -> list[str] | None:
    """The group slices to work on: those chosen, all of a whole dataset, or None for the active.

    FiftyOne's choice of the whole dataset says "in all slices".
    """
    given = value_of(ctx, "group_slices")
    if given is not None:
        return list(given)
    everything = target_name(ctx) == ViewTarget.DATASET
    return image_slices(ctx.dataset) or None if everything else None


def chosen_images(ctx: Any) -> Any:
    """The chosen samples; of patches the images that they are cut from."""
    return images_of(ctx.target_view())


def field_of_selection(ctx: Any, alt: bool | None = None) -> str | None:
    """The field of the labels that are selected, or shown as patches; None if there are none.

    Evaluation patches show two fields: if both hold a chosen label, predictions come first.
    ``alt`` as for ``chosen_labels``.
    """
    if target_name(ctx) == ViewTarget.SELECTED_LABELS:
        return next((entry["field"] for entry in _selected_labels(ctx, alt)), None)
    return _field_of_patches(ctx, alt) if is_patches(ctx.view) else None


def was_given_images(ctx: Any) -> bool:
    """Whether whoever opened the form named images of its own: those of an earlier run."""
    return bool(ctx.params.get("custom_view_target"))


def target_of_images(form: Form) -> None:
    """The choice of whole images where FiftyOne's own would not do: of patches, of a former run."""
    patches = is_patches(form.ctx.view)
    choices = {ViewTarget.DATASET: "Whole dataset"}
    if patches or form.ctx.has_custom_view:
        shown = "Images of these patches" if patches else "Current view"
        choices[ViewTarget.CURRENT_VIEW] = shown
    if form.ctx.selected:
        chosen = "Images of the selected patches" if patches else "Selected samples"
        choices[ViewTarget.SELECTED_SAMPLES] = chosen
    if was_given_images(form.ctx):
        choices[ViewTarget.CUSTOM_VIEW_TARGET] = "Images that were segmented before"
    default = list(choices)[-1]
    form.ctx.request_params.setdefault("view_target", default)
    form.choice("view_target", choices, "Images", "Whole images are worked on.", default, False)


def _field_of_patches(ctx: Any, alt: bool | None) -> str | None:
    shown = list(ctx.view.get_field_schema(embedded_doc_type=fo.Label))
    ids = _selected(ctx, alt) if target_name(ctx) == ViewTarget.SELECTED_SAMPLES else []
    if ids and len(shown) > 1:
        held = patch_labels(ctx.view.select(ids))
        shown = [field for field in shown if held[field]] or shown
    made = segmentation_fields(ctx.dataset)
    return next((field for field in shown if field in made), next(iter(shown), None))


def _selected(ctx: Any, alt: bool | None) -> list[str]:
    with_alt = {entry["id"] for entry in ctx.selected_samples if _is_meant(entry, True)}
    return [key for key in ctx.selected if alt is None or (key in with_alt) == alt]


def selected_keys(ctx: Any, alt: bool | None = None) -> list[LabelKey]:
    """What names each of the selected labels; arguments as for ``chosen_labels``.

    Of a label that is selected in a patch the App may tell the patch in place of the sample: it is
    looked up by its id in its field then.
    """
    keys = [
        LabelKey(entry["sample_id"], entry["field"], entry["label_id"])
        for entry in _selected_labels(ctx, alt)
    ]
    images = all_images(ctx.dataset)
    there = set(images.select(database_ids(key.sample for key in keys)).values("id"))
    found = [key for key in keys if key.sample in there]
    for field in dict.fromkeys(key.field for key in keys if key.sample not in there):
        ids = {key.label for key in keys if key.field == field and key.sample not in there}
        found += [key for key in labels_in(images, field) if key.label in ids]
    return found


def _selected_labels(ctx: Any, alt: bool | None) -> list[Any]:
    """The selected labels as the App tells them, each of a field that holds labels.

    Raises:
        DatasetError: the field of one is gone, or holds none.
    """
    entries = [entry for entry in ctx.selected_labels if _is_meant(entry, alt)]
    schema = all_images(ctx.dataset).get_field_schema(embedded_doc_type=fo.Label)
    for field in dict.fromkeys(entry["field"] for entry in entries):
        if field not in schema:
            raise DatasetError(
                f"The selected labels are of the field {quoted(field)}, and {ctx.dataset.name!r} "
                f"has no such field of labels; it has {listed(schema) or 'none'}. Select labels "
                "again."
            )
    return entries


def _is_meant(entry: Any, alt: bool | None) -> bool:
    return alt is None or (isinstance(entry, dict) and entry.get("type") == _ALT) == alt
