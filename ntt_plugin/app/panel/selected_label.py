"""A selected prediction beside the reference that it is most like: why it was found."""

from __future__ import annotations

from typing import Any, NamedTuple

import fiftyone as fo
import fiftyone.operators.types as types

from ...dataset.banks.banks import list_memory_banks, load_memory_bank
from ...dataset.inspect.thumbnails import label_thumbnail, reference_thumbnail
from ...dataset.labels.label_field import segmentation_fields
from ...dataset.runtime.caching import remembered
from ...dataset.samples.views import all_images, is_patches, patch_labels
from ...engine.references import Provenance, may_be_same
from ..text import escaped
from . import widgets
from .banks import bank_in_words
from .events import Clicks

_SIDE = 160
_VERDICTS = {
    "add_negatives": "Wrong: add as negative",
    "promote_references": "Right: promote to reference",
}
_BESIDE = {"item": {"sx": {"width": f"{_SIDE + 60}px"}}}


class Selected(NamedTuple):
    """A label that is selected."""

    sample: Any
    field: str
    label: fo.Detection


def draw(page: types.Object, ctx: Any, clicks: Clicks) -> None:
    """The prediction that was selected last and its reference; nothing where none is selected."""
    found = selected(ctx)
    if found is None:
        return
    sample, field, label = found
    card = widgets.card(page, "cause")
    widgets.text(card, "title", f"**Why {escaped(label.label)}?** {_numbers(ctx.dataset, label)}")
    row = widgets.row(card, "beside", align_y="top")
    path = label_thumbnail(sample, label, _SIDE)
    _picture(row, "label", path, "This prediction")
    source = _source(ctx.dataset, label)
    path = reference_thumbnail(source, _SIDE, ctx.dataset) if source.sample else None
    _picture(row, "reference", path, "The reference that it is most like")
    there = list_memory_banks(ctx.dataset)
    if not there:
        return
    bank = {"bank": label["bank"]} if label["bank"] in there else {}
    buttons = widgets.row(card, "buttons")
    for operator, words in _VERDICTS.items():
        widgets.operator_button(buttons, operator, clicks, words, label_field=field, **bank)


def selected(ctx: Any) -> Selected | None:
    """The prediction of ours that was selected last, in a sample or as a patch, if there is one."""
    ours = segmentation_fields(ctx.dataset)
    for entry in reversed(ctx.selected_labels or []):
        if entry.get("field") in ours:
            return _read(ctx.dataset, entry["sample_id"], entry["field"], entry["label_id"])
    if ctx.selected and is_patches(ctx.view):
        return _of_patch(ctx.dataset, ctx.view.select(ctx.selected[-1]), ours)
    return None


def _of_patch(dataset: Any, patch: Any, ours: list[str]) -> Selected | None:
    for field, labels in patch_labels(patch).items():
        if field in ours and labels:
            return _read(dataset, labels[0].sample, field, labels[0].label)
    return None


def _read(dataset: Any, sample_id: str, field: str, label_id: str) -> Selected | None:
    try:
        sample = all_images(dataset)[sample_id]
    except KeyError:
        return None
    held = sample[field]
    labels = [] if held is None else held.detections
    found = next((label for label in labels if label.id == label_id), None)
    if found is None or not _value(found, "bank"):
        return None
    return Selected(sample, field, found)


def _source(dataset: Any, label: fo.Detection) -> Provenance:
    """Where the label's reference came from, with its box if the bank still knows it."""
    bank, named = label["bank"], _value(label, "reference")
    told = Provenance(
        _value(label, "reference_dataset"),
        _value(label, "reference_sample"),
        named,
        field=_value(label, "reference_field"),
    )
    if named is not None and bank in list_memory_banks(dataset):
        found = remembered(dataset, bank, load_memory_bank)
        for *_, reference in found.entries():
            # Labels of former runs name no field.
            if reference.id == named or may_be_same(reference.provenance, told):
                return reference.provenance
    return told


def _numbers(dataset: Any, label: fo.Detection) -> str:
    """What is known of how it was found; a label that went through other hands may lack some."""
    names = {"confidence": "score", "margin": "margin to the next class"}
    values = {words: _value(label, name) for name, words in names.items()}
    known = [f"{words} {value:.2f}" for words, value in values.items() if value is not None]
    bank = bank_in_words(dataset, label["bank"], _value(label, "bank_version"))
    return " · ".join(filter(None, [", ".join(known), f"bank {bank}"]))


def _value(label: fo.Detection, name: str) -> Any:
    return label[name] if name in label.field_names else None


def _picture(row: types.Object, name: str, path: Any, words: str) -> None:
    column = widgets.column(row, name, gap=0.5, componentsProps=_BESIDE)
    widgets.picture(column, "picture", path, _SIDE, words)
    widgets.text(column, "words", words)
