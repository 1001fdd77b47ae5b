"""Which labels of a view are references, and reading them as the engine's ``Reference``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import fiftyone as fo
from fiftyone import ViewField as F
from PIL import Image

from ..engine.images import read_image
from ..engine.memory import Refused
from ..engine.references import Provenance, Reference
from ..errors import DatasetError, ImageError
from .checks import dataset_of, listed, require_classes, require_detections, require_images
from .labels import full_mask, pixel_box


def choose_references(
    samples: Any,
    label_field: str,
    tag: str | None = None,
    classes: Iterable[str] | None = None,
) -> Any:
    """The labels to learn from, as a view that holds these and nothing else.

    Args:
        samples: a dataset or view of images.
        label_field: a field of ``Detections`` with masks.
        tag: only labels with this label tag; all if None.
        classes: only labels of these classes; all if None.

    Raises:
        DatasetError: the field is of another type, a class is unknown, or nothing is left.
    """
    require_images(samples)
    require_detections(samples, label_field)
    wanted = require_classes(samples, label_field, classes)
    chosen = samples.select_fields(label_field)
    chosen = chosen.filter_labels(label_field, F("label").is_in(wanted))
    if tag is not None:
        chosen = chosen.filter_labels(label_field, F("tags").contains(tag))
        if len(chosen) == 0:
            raise DatasetError(
                f"No label in the field {label_field!r} of {dataset_of(samples).name!r} has the "
                f"tag {tag!r}; tag references in the App, or with sample_references()."
            )
    if classes is not None:
        left = set(chosen.distinct(f"{label_field}.detections.label"))
        missing = [label for label in wanted if label not in left]
        if missing:
            raise DatasetError(
                f"No label of class {listed(missing)} in the field {label_field!r} has the tag "
                f"{tag!r}; tag references of it, or leave the class out."
            )
    return chosen


def read_references(
    chosen: Any, label_field: str, refused: list[Refused]
) -> Iterator[Reference | None]:
    """Read chosen labels one by one; each image is read once, and forgotten after its labels.

    Args:
        chosen: what ``choose_references`` gave.
        label_field: its field of labels.
        refused: labels that cannot be read are added here, each with the reason.

    Yields:
        One reference for each label, None for one that was refused.
    """
    dataset = dataset_of(chosen).name
    # Samples are fetched one at a time: a cursor held open between slow steps would expire.
    for sample_id in chosen.values("id"):
        try:
            sample = chosen[sample_id]
        except KeyError:
            continue  # deleted, or its labels untagged, since the choice
        image: Image.Image | None = None
        problem = ""
        try:
            image = read_image(Path(sample.filepath))
        except ImageError as error:
            problem = str(error)
        for detection in sample[label_field].detections:
            provenance = Provenance(dataset, sample_id, detection.id)
            try:
                if image is None:
                    raise DatasetError(problem)
                yield _reference(image, detection, provenance)
            except DatasetError as error:
                refused.append(Refused(detection.label, provenance, str(error)))
                yield None


def _reference(image: Image.Image, detection: fo.Detection, provenance: Provenance) -> Reference:
    if detection.get_attribute_value("iscrowd", False):
        raise DatasetError("It is marked as a crowd (iscrowd), which is not one instance.")
    size = (image.height, image.width)
    box = pixel_box(detection, size)
    return Reference(
        image=image,
        mask=full_mask(detection, size),
        label=detection.label,
        box=box,
        provenance=Provenance(provenance.dataset, provenance.sample, provenance.label, box),
    )
