"""Collections of samples as collections of images: what can be worked on, and what cannot.

Facts of FiftyOne 1.22 that matter to whoever reads and writes through such a collection, tried:

- A flattened view of a grouped dataset (``select_group_slices``) reads, writes, tags, filters,
  clears and evaluates like a view of plain images, whether it holds one slice or several, and
  ``dataset[id]`` finds a sample of any slice. **A view of the grouped dataset does not**:
  ``dataset.select_fields(field)[id]`` knows the active slice only. Use ``all_images`` there.
- ``dataset.values()``, ``count()`` and ``clear_sample_field()`` of a grouped dataset see its
  active slice only; ask the flattened view.
- A frames view is one of images, but its samples belong to no dataset: fields, runs and
  ``dataset[id]`` are the video dataset's and do not know them. So it is refused; its clone is an
  ordinary dataset of images.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import fiftyone as fo
import fiftyone.core.media as fom
from fiftyone.core.patches import EvaluationPatchesView, PatchesView
from fiftyone.core.video import FramesView

from ..errors import DatasetError
from .checks import dataset_of, listed

_REMEDIES = {
    fom.VIDEO: "Make images of the videos with to_frames(sample_frames=True).clone(), use those.",
    fom.MIXED: "Choose slices that hold images.",
}


def image_view(samples: Any, group_slices: str | Iterable[str] | None = None) -> Any:
    """The image samples of a collection: itself, or the slices of a grouped one, flattened.

    Args:
        samples: a dataset or view.
        group_slices: name or names of the slices to take from a grouped collection; its active
            slice if None.

    Returns:
        A dataset or view of images, at least one, in the collection's order.

    Raises:
        DatasetError: it is empty, holds patches, frames, dynamic groups, videos, 3D scenes or
            other media, or has no such slice; says what to do.
    """
    name = dataset_of(samples).name
    if is_patches(samples):
        raise DatasetError(
            f"This is a patches view of {name!r}; use the view of whole images that it came from."
        )
    if isinstance(samples, FramesView):
        raise DatasetError(
            f"This is a view of the frames of {name!r}, whose labels FiftyOne keeps with the "
            "videos; clone() it, and use the clone."
        )
    if samples.media_type == fom.GROUP:
        return _flattened(samples, name, group_slices)
    if group_slices is not None:
        raise DatasetError(
            f"The samples of {name!r} are not grouped, so they have no slices; leave out "
            "group_slices."
        )
    _require_samples(samples, name)
    if samples.media_type != fom.IMAGE:
        remedy = _REMEDIES.get(samples.media_type, "Choose a dataset of images.")
        raise DatasetError(
            f"{name!r} holds {samples.media_type} samples; only images can be used. {remedy}"
        )
    return samples


def all_images(dataset: Any) -> Any:
    """Every image of a dataset, of whichever slice, as a collection that finds each by its id."""
    if dataset.media_type != fom.GROUP:
        return dataset
    return dataset.select_group_slices(media_type=fom.IMAGE)


def is_patches(samples: Any) -> bool:
    """Whether a collection's samples are patches, of labels or of an evaluation."""
    return isinstance(samples, (PatchesView, EvaluationPatchesView))


def images_of(samples: Any) -> Any:
    """Of a patches view the whole images that its patches are cut from; else the collection."""
    if not is_patches(samples):
        return samples
    return all_images(dataset_of(samples)).select(list(set(samples.values("sample_id"))))


def whole_images(samples: Any) -> Any:
    """Of a patches view the whole images with the labels that it shows; else the collection."""
    if not is_patches(samples):
        return samples
    ids = [label for labels in patch_labels(samples).values() for label in labels]
    return all_images(dataset_of(samples)).select_labels(ids=ids)


def patch_labels(samples: Any) -> dict[str, list[str]]:
    """The ids of the labels that a patches view shows, by field, those without any too."""
    held = {}
    for field, kind in samples.get_field_schema(embedded_doc_type=fo.Label).items():
        # Patches of labels hold one in a field, patches of an evaluation a list.
        many = getattr(kind.document_type, "_LABEL_LIST_FIELD", None)
        found = samples.values(f"{field}.{many}.id" if many else f"{field}.id", unwind=True)
        held[field] = [label for label in found if label is not None]
    return held


def _flattened(samples: Any, name: str, group_slices: str | Iterable[str] | None) -> Any:
    media = samples.group_media_types
    if media is None:
        raise DatasetError(
            f"This view of {name!r} was grouped with group_by(); flatten() it, or use the view "
            "that it came from."
        )
    if group_slices is None:
        slices = [samples.group_slice]
    else:
        slices = [group_slices] if isinstance(group_slices, str) else list(group_slices)
    images = [label for label, kind in media.items() if kind == fom.IMAGE]
    offers = f"its slices of images are {listed(images)}" if images else "none of them holds images"
    if not slices:
        raise DatasetError(f"No slice of {name!r} was named; {offers}.")
    unknown = [label for label in slices if label not in media]
    if unknown:
        raise DatasetError(f"{name!r} has no group slice {listed(unknown)}; {offers}.")
    for label in slices:
        if media[label] != fom.IMAGE:
            raise DatasetError(
                f"The group slice {label!r} of {name!r} holds {media[label]} samples; only images "
                f"can be used, and {offers}: name them with group_slices."
            )
    flat = samples.select_group_slices(slices)
    _require_samples(flat, name)
    return flat


def _require_samples(samples: Any, name: str) -> None:
    # Not len(): a dataset's is MongoDB's estimate, which can be 0 after the server was killed.
    if not samples.limit(1).values("id"):
        if dataset_of(samples)._sample_collection.find_one({}, {"_id": 1}) is None:
            raise DatasetError(f"{name!r} has no images yet; add some first.")
        raise DatasetError(f"The view of {name!r} holds no sample; widen it or add samples.")
