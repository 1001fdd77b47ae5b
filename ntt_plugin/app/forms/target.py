"""Which samples, which of their slices, which field of labels: the first part of most forms."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Mapping
from functools import lru_cache
from typing import Any, TypeVar

import fiftyone as fo
import fiftyone.core.media as fom
import fiftyone.operators.types as types
from fiftyone import ViewField as F

from ...dataset.database.fiftyone_internals import view_as_json, view_from_json
from ...dataset.evaluation.exclusions import missing_in
from ...dataset.inspect.inventory import FieldCounts, count_labels, image_slices, label_fields
from ...dataset.samples.checks import literals
from ...dataset.samples.views import all_images, image_view, is_patches
from ...errors import DatasetError
from ..text import number_of
from . import first_choice, selection
from .fields import Form
from .first_choice import Wanted

T = TypeVar("T")


def target(form: Form, action: str, labels: bool = False) -> Any:
    """The choice of samples: a view of images, flattened if the dataset is grouped.

    ``action`` is a verb for what will be done to them; with ``labels`` single selected labels can
    be the target too.

    Raises:
        DatasetError: there is no image to work on; says what to do.
    """
    if (is_patches(form.ctx.view) and not labels) or selection.was_given_images(form.ctx):
        selection.target_of_images(form)
    else:
        chosen = form.inputs.view_target(
            form.ctx,
            action_description=action,
            allow_selected_samples=True,
            allow_selected_labels=labels,
            selected_samples_label="Selected samples",
            current_view_label="Current view",
            dataset_label="Whole dataset",
        )
        # What the form shows as chosen is what runs, also where nobody has touched it.
        form.ctx.request_params.setdefault("view_target", chosen.default)
    offered = image_slices(form.dataset)
    if offered:
        every = selection.slices_of(form.ctx)
        alone = "all of them" if every else form.ctx.group_slice or offered[0]
        what_for = f"Slices to work on; if none is chosen, {alone}."
        form.several("group_slices", offered, "Group slices", what_for)
    view = target_of(form.ctx, labels)
    slices = selection.slices_of(form.ctx) if view.media_type == fom.GROUP else None
    notes: list[str] = []
    images = image_view(view, slices, notes)
    for note in notes:
        form.notice("repeats", note, types.Warning)
    return images


def target_of(ctx: Any, labels: bool = False) -> Any:
    """The samples that were chosen, as the SDK takes them; arguments as for ``target``."""
    return selection.chosen_labels(ctx) if labels else selection.chosen_images(ctx)


def include_missing(form: Form, label: str) -> None:
    """Whether samples in which a field was never written are worked on too."""
    form.inputs.bool(
        "include_missing",
        default=False,
        label=label,
        description="As images without such labels. Otherwise they are left out, and named.",
    )


def say_missing(form: Form, samples: Any, kinds: Mapping[str, str]) -> None:
    """Say how many samples will be skipped because a field was never written.

    ``kinds`` maps each field to the participle for the message, such as "segmented".
    """
    if form.ctx.params.get("include_missing"):
        return
    counts = {field: asked_once(form, samples, _count_missing, field) for field in kinds}
    parts = [
        f"{number_of('image', count)} never {kinds[field]} ({field!r} is None)"
        for field, count in counts.items()
        if count
    ]
    if parts:
        form.notice("missing", f"Left out: {'; '.join(parts)}.", types.Warning)


def _count_missing(samples: Any, field: str) -> int:
    return len(missing_in(samples, field))


def without_slices(view: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments for a view; one of single labels has no slices, whatever the form had chosen."""
    if view.media_type == fom.GROUP:
        return arguments
    return {name: value for name, value in arguments.items() if name != "group_slices"}


def label_field(
    form: Form,
    samples: Any,
    label: str,
    description: str,
    name: str = "label_field",
    polylines: bool = False,
    wanted: Wanted = Wanted.TRUE_MASKS,
    prefer: str | None = None,
    leave_out: str | None = None,
) -> tuple[str | None, FieldCounts]:
    """The choice of a field of labels, with what it holds in the chosen samples.

    ``wanted`` says which field to offer first, ``prefer`` names one; ``leave_out`` makes no sense
    here.

    Returns:
        The field and its counts; None and no counts while there is none.

    Raises:
        DatasetError: the dataset has no such field; says what to do.
    """
    found = [field for field in label_fields(form.dataset, polylines) if field != leave_out]
    if not found:
        if leave_out:
            raise DatasetError(
                f"There is nothing to compare {leave_out!r} with: {form.dataset.name!r} has no "
                "other field of Detections. Segment it first, or import the other labels."
            )
        kinds = "Detections or Polylines" if polylines else "Detections"
        raise DatasetError(
            f"{form.dataset.name!r} has no field of {kinds}. Add labels first: import annotations, "
            "or draw them in the App."
        )
    default = prefer if prefer in found else first_choice.field(form, found, wanted)
    chosen = form.choice(name, found, label, description, default)
    if chosen is None:
        return None, FieldCounts({}, {}, 0, 0)
    counts = counted(form, samples, chosen)
    form.describe(name, f"{description} {said(counts)}")
    if counts.labels == 0:
        form.mark(
            name,
            f"{chosen!r} holds no label in the {number_of('image', len(samples))} chosen; choose "
            "another field or more images.",
        )
    return chosen, counts


def labels_with_masks(
    form: Form,
    samples: Any,
    description: str,
    wanted: Wanted = Wanted.TRUE_MASKS,
    name: str = "label_field",
) -> tuple[str | None, FieldCounts]:
    """The choice of a field to learn from; one that holds boxes alone is marked.

    Arguments, what is returned and raised as for ``label_field``.
    """
    field, counts = label_field(
        form, samples, "Labels", description, name, polylines=True, wanted=wanted
    )
    if field is not None and counts.labels and not counts.masks:
        form.mark(
            name,
            f"No label in {field!r} has a mask here. Fill masks into a new field first with the "
            "operator Masks from boxes, or choose another field.",
        )
    return field, counts


def said(counts: FieldCounts) -> str:
    """Counts in a sentence."""
    return (
        f"It holds {number_of('label', counts.labels)} of "
        f"{number_of('class', len(counts.classes))} here, "
        f"{counts.masks:,} of them with a mask."
    )


def counted(form: Form, samples: Any, field: str) -> FieldCounts:
    """What a field holds in some samples, counted once for as long as a form is open."""
    return asked_once(form, samples, count_labels, field)


def of_wanted_classes(form: Form, samples: Any, field: str, counts: FieldCounts) -> FieldCounts:
    """Counts of a field's labels, restricted to the classes that the form asks for."""
    names = form.value("classes")
    if names is None:
        return counts
    return counted(form, samples.filter_labels(field, F("label").is_in(literals(names))), field)


def asked_once(form: Form, samples: Any, question: Callable[..., T], *arguments: Hashable) -> T:
    """Result of ``question(samples, *arguments)``, cached while the form is open.

    FiftyOne rebuilds a form on every keystroke, and a pass over the samples takes seconds.
    ``question`` must be a module-level function.
    """
    if form.ctx.prompt_id is None:
        return question(samples, *arguments)
    stages = json.dumps(view_as_json(samples), default=str, sort_keys=True)
    found: T = _answer(form.ctx.prompt_id, str(form.dataset.name), stages, question, arguments)
    return found


@lru_cache(maxsize=64)
def _answer(
    prompt: str, dataset: str, stages: str, question: Callable[..., Any], arguments: Any
) -> Any:
    view = view_from_json(fo.load_dataset(dataset), json.loads(stages))
    return question(view, *arguments)


def labels_view(dataset: Any, field: str, condition: Any) -> Any:
    """The labels of a field that meet a condition, in samples of any slice."""
    return all_images(dataset).filter_labels(field, condition)
