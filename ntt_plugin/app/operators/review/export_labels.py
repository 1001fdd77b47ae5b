"""Operator: write labels as a COCO or YOLO dataset."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fiftyone.operators.types as types

from ....errors import DatasetError
from ...forms.fields import Form
from ...runtime.operator import NttOperator
from ...runtime.progress import Report
from ...runtime.result_page import Outcome, notes_in_words
from ...text import number_of
from ..references import learning_form
from .accept_labels import clean

_FORMATS = {
    "coco": "COCO: one .json file, masks exact to the pixel",
    "yolo": "YOLO segmentation: a folder, one polygon an instance",
}
_OF_YOLO = ("copy_images",)


class ExportLabels(NttOperator):
    """Form of ``export_coco`` and ``export_yolo_seg``.

    Its parameter ``format`` chooses: ``coco`` or ``yolo``; ``copy_images`` is YOLO's alone.
    """

    uses = "export_coco"
    operator_name = "export_labels"
    title = "Export labels"
    about = (
        "Write labels with their masks to files, as COCO or YOLO. Use it when the labels are good, "
        "to train a network of your own."
    )
    icon = "file_download"
    risk = types.RiskLevel.HIGH
    parameters = (
        "field",
        "path",
        "format",
        "classes",
        "clean",
        "only_approved",
        "copy_images",
        "overwrite",
        "group_slices",
    )
    seldom = ("classes", "clean", "only_approved")
    submit = "Export"
    doing = "Exporting labels"

    def build_form(self, form: Form) -> None:
        from ...forms import target

        images = target.target(form, "Export labels of")
        field, counts = target.labels_with_masks(
            form, images, "The labels to export.", name="field"
        )
        if field is None:
            return
        kind = form.choice("format", _FORMATS, "Format", "What to write.", "coco", required=False)
        what_for = "A file that ends in .json." if kind == "coco" else "A folder, new or empty."
        form.text("path", "Path", what_for, _path_at_first(form, kind, field), required=True)
        if kind == "yolo":
            what_for = (
                "YOLO's trainers look for labels beside their images; without copies a list names "
                "the images where they are, and the labels are not found beside them."
            )
            form.tick("copy_images", "Copy the images too", what_for, default=form.is_of_app)
        if form.advanced(self.seldom):
            form.classes(counts.classes, "Only these, with ids in this order; all if none.")
            clean(form)
            what_for = "Labels that a review approved; else all."
            form.tick("only_approved", "Only approved ones", what_for)
        path = form.at_first("path", _path_at_first(form, kind, field))
        if path is None or kind is None:
            return
        there = _there(path)
        if there is None:
            form.mark("path", "This path cannot be used; give another.")
            return
        form.notice(
            "will_do",
            f"Will write up to {_how_many(form, images, field, counts.classes)} of "
            f"{number_of('image', len(images))}; the dataset stays as it is.",
        )
        if there:
            form.overwrite(f"There is something at {path!r} already.")

    def run(self, ctx: Any, progress: Report) -> Outcome:
        from .... import export_coco, export_yolo_seg
        from ...forms import target

        arguments = self.arguments(ctx)
        kind = arguments.pop("format", "coco")
        if kind not in _FORMATS:
            raise DatasetError(f"There is no format {kind!r}; give 'coco' or 'yolo'.")
        if kind == "coco":
            arguments.pop("copy_images", None)
        export = export_coco if kind == "coco" else export_yolo_seg
        report = export(target.target_of(ctx), **arguments, progress=progress)
        total = sum(report.instances.values())
        facts = {
            "Images": report.images,
            "Labels": learning_form.in_words(report.instances),
            "Left out": len(report.failed),
        }
        return Outcome(
            f"{number_of('label', total)} of {report.label_field!r} written to {report.path!r}.",
            {name: value for name, value in facts.items() if value},
            notes_in_words(report),
        )


def _how_many(form: Form, images: Any, field: str, classes: Mapping[str, int]) -> str:
    """How many labels can be written, in words: those chosen, before any is left out."""
    from ...forms import target

    wanted = form.value("classes") or list(classes)
    if not form.ctx.params.get("only_approved"):
        return number_of("label", sum(classes.get(label, 0) for label in wanted))
    approved = target.asked_once(form, images, _approved, field)
    return number_of("approved label", sum(approved.get(label, 0) for label in wanted))


def _approved(images: Any, field: str) -> dict[str, int]:
    from ....dataset.review.queue import review_queue

    return {
        label: counts.approved for label, counts in review_queue(images, field).by_class.items()
    }


def _path_at_first(form: Form, kind: str | None, field: str) -> str:
    """A path below the home folder, of a name that is free."""
    end = ".json" if kind == "coco" else ""
    name = "".join(c if c.isalnum() or c in "-_" else "_" for c in f"{form.dataset.name}_{field}")
    return str(Path.home() / "ntt_exports" / f"{name}{end}")


def _there(path: str) -> bool | None:
    """Whether something lies at a path; None if there can be no such path."""
    try:
        file = Path(path).expanduser()
        return any(file.iterdir()) if file.is_dir() else file.exists()
    except (OSError, RuntimeError, ValueError):
        return None
