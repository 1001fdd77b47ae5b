"""The labels of a view that are references, chosen, and read as the engine's ``Reference``."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
from fiftyone import ViewField as F
from PIL import Image

from ...engine.bank.memory_bank import Refused
from ...engine.images.load import read_with_notes
from ...engine.references import Box, Provenance, Reference
from ...errors import DatasetError, ImageError, NoFileHandlesError
from ..class_names import look_alike_notes
from ..labels.convert import pixel_box
from ..labels.crowds import IS_CROWD, is_crowd_label
from ..labels.orientation import stored_pixels_problem
from ..labels.placed_masks import INVERTED, full_mask, seems_inverted
from ..labels.polylines import polyline_box, polyline_mask
from ..samples.checks import (
    dataset_of,
    listed,
    literals,
    quoted,
    require_classes,
    require_labels,
    require_tag,
)
from ..samples.label_selection import LabelKey, select_labels
from ..samples.views import image_view, load_sample

logger = logging.getLogger(__name__)

NO_MASK = (
    "It is a box and has no mask; make masks of its field with masks_from_boxes(), and learn from "
    "those."
)
NO_AREA = (
    "It is neither closed nor filled, or has no corners, so it covers nothing; set filled=True if "
    "its inside is meant."
)


@dataclass(frozen=True)
class ChosenReferences:
    """The labels to learn from.

    Attributes:
        view: whole images that hold these labels and nothing else.
        path: where in a sample they are: ``<field>.detections`` or ``<field>.polylines``.
    """

    view: Any
    path: str

    @property
    def count(self) -> int:
        """Number of labels."""
        return int(self.view.count(self.path))

    @property
    def field(self) -> str:
        """The field that they are in."""
        return self.path.rpartition(".")[0]

    def keys(self) -> dict[LabelKey, str]:
        """The class of each, in order."""
        columns = self.view.values(["id", f"{self.path}.id", f"{self.path}.label"])
        return {
            LabelKey(sample, self.field, key): label
            for sample, keys, labels in zip(*columns, strict=True)
            for key, label in zip(keys or [], labels or [], strict=True)
        }

    def provenance(self, key: LabelKey) -> Provenance:
        """Where a reference that is learnt from one of them comes from; its box is not read."""
        return Provenance(dataset_of(self.view).name, key.sample, key.label, field=key.field)

    def only(self, labels: Iterable[LabelKey]) -> ChosenReferences:
        """Some of them, in the same order."""
        return ChosenReferences(select_labels(self.view, labels), self.path)


@dataclass(frozen=True)
class ReadReference:
    """One label as it was read.

    Attributes:
        reference: what the engine learns from; None if it cannot be used.
        problem: why it cannot; empty if it can.
        notes: remarks on how the image was read, for people.
    """

    label: str
    provenance: Provenance
    filepath: str
    reference: Reference | None
    problem: str = ""
    notes: tuple[str, ...] = ()

    def refused(self, reason: str) -> Refused:
        """The record that this label was left out, with its file."""
        where = "" if self.filepath in reason else f" ({self.filepath})"
        return Refused(self.label, self.provenance, f"{reason}{where}")


def choose_references(
    samples: Any,
    label_field: str,
    tag: str | None = None,
    classes: Iterable[str] | None = None,
    *,
    sample_tag: str | None = None,
    group_slices: str | Iterable[str] | None = None,
    notes: list[str] | None = None,
) -> ChosenReferences:
    """The labels to learn from. What the view leaves out, of samples or labels, is left out.

    Args:
        samples: a dataset or view of images; of selected samples or labels too.
        label_field: a field of ``Detections`` with masks, or of filled or closed ``Polylines``.
        tag: only labels with this label tag; all if None.
        classes: only labels of these classes; all if None.
        sample_tag: only labels of samples with this tag; all if None.
        group_slices: slices to take of a grouped dataset; its active one if None.
        notes: remarks on the samples, for people, are appended here; logged if None.

    Raises:
        DatasetError: the field is of another type, a class is unknown, or nothing is left.
    """
    samples = image_view(samples, group_slices, notes)
    path = require_labels(samples, label_field)
    if sample_tag is not None:
        require_tag(sample_tag)
        samples = _with_tag(samples, sample_tag)
    wanted = require_classes(samples, [path], classes)
    for note in look_alike_notes(samples.distinct(f"{path}.label")):
        logger.warning(note)
    chosen = samples.select_fields(label_field)
    chosen = chosen.filter_labels(label_field, F("label").is_in(literals(wanted)))
    if tag is not None:
        chosen = chosen.filter_labels(label_field, F("tags").contains(literals([tag])))
        if len(chosen) == 0:
            raise DatasetError(
                f"No label in the field {label_field!r} of {dataset_of(samples).name!r} has the "
                f"tag {quoted(tag)}; tag references in the App, or with sample_references()."
            )
    if classes is not None:
        left = set(chosen.distinct(f"{path}.label"))
        missing = [label for label in wanted if label not in left]
        if missing:
            raise DatasetError(
                f"No label of class {listed(missing)} in the field {label_field!r} has the tag "
                f"{quoted(tag)}; tag references of it, or leave the class out."
            )
    return ChosenReferences(chosen, path)


def read_references(chosen: ChosenReferences) -> Iterator[ReadReference]:
    """Read chosen labels one by one; each image is read once for all of its labels.

    Raises:
        NoFileHandlesError: no image can be opened, whichever it is.
    """
    # Samples are fetched one at a time: a cursor held open between slow steps would expire.
    for sample_id in chosen.view.values("id"):
        try:
            sample = load_sample(chosen.view, sample_id)
        except KeyError:
            continue  # deleted, or its labels untagged, since the choice
        except DatasetError as error:
            yield from _unread(chosen, sample_id, str(error))
            continue
        image: Image.Image | None = None
        unreadable, notes = "", tuple[str, ...]()
        labels = sample.get_field(chosen.path)
        try:
            unreadable = stored_pixels_problem(sample, labels)
            if not unreadable:
                image, remarks = read_with_notes(Path(sample.filepath))
                notes = tuple(remarks)
        except ImageError as error:
            unreadable = str(error)
        for label in labels:
            source = chosen.provenance(LabelKey(sample_id, chosen.field, label.id))
            reference, problem = None, unreadable
            if image is not None:
                try:
                    reference = _reference(image, label, source)
                except NoFileHandlesError:
                    raise
                # A database holds what people put there, so reading it can fail in any way.
                except Exception as error:
                    problem = str(error) or type(error).__name__
            all_notes = (*notes, *_mask_notes(label, reference))
            yield ReadReference(label.label, source, sample.filepath, reference, problem, all_notes)


def label_geometry(
    label: fo.Detection | fo.Polyline, size: tuple[int, int]
) -> tuple[Box, np.ndarray[Any, Any]]:
    """A label's box, x1 y1 x2 y2 in pixels, and its mask, bool (H, W).

    The label has a mask, or is a filled or closed polyline; ``size`` is (H, W) of its image.

    Raises:
        DatasetError: it has no mask, or box or mask cannot be used.
    """
    if isinstance(label, fo.Polyline):
        mask = polyline_mask(label, size)
        return polyline_box(label, size), mask
    if not label.has_mask:
        raise DatasetError(NO_MASK)
    return pixel_box(label, size), full_mask(label, size)


def _unread(chosen: ChosenReferences, sample_id: str, problem: str) -> Iterator[ReadReference]:
    view = chosen.view.select([sample_id])
    for filepath in view.values("filepath"):
        for key, label in ChosenReferences(view, chosen.path).keys().items():
            yield ReadReference(label, chosen.provenance(key), filepath, None, problem)


def _with_tag(samples: Any, tag: str) -> Any:
    tagged = samples.match_tags(tag)
    if len(tagged) == 0:
        raise DatasetError(
            f"No sample of {dataset_of(samples).name!r} in this view has the tag {quoted(tag)}; "
            f"its sample tags are {listed(samples.distinct('tags')) or 'none'}."
        )
    return tagged


def _mask_notes(label: fo.Detection | fo.Polyline, reference: Reference | None) -> list[str]:
    if reference is None or isinstance(label, fo.Polyline) or not seems_inverted(reference.mask):
        return []
    return [INVERTED.format(f"label {label.id}")]


def _reference(
    image: Image.Image, label: fo.Detection | fo.Polyline, provenance: Provenance
) -> Reference:
    if is_crowd_label(label):
        raise DatasetError(IS_CROWD)
    box, mask = label_geometry(label, (image.height, image.width))
    return Reference(
        image=image, mask=mask, label=label.label, box=box, provenance=replace(provenance, box=box)
    )
