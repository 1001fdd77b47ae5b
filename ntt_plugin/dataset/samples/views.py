"""Datasets and views as collections of images.

Facts of FiftyOne 1.22, each tried, that matter when samples are read and written through a view:

- A flattened view of a grouped dataset (``select_group_slices``) reads, writes, tags, filters,
  clears and evaluates like a view of plain images, whether it holds one slice or several, and
  ``dataset[id]`` finds a sample of any slice. **A view of the grouped dataset does not**:
  ``dataset.select_fields(field)[id]`` knows the active slice only. Use ``all_images`` there.
- ``dataset.values()``, ``count()`` and ``clear_sample_field()`` of a grouped dataset see its
  active slice only; ask the flattened view.
- ``select_group_slices`` of several slices, or of one that is not active, fetches the samples anew:
  stages before it choose groups, but what they do to labels is lost. ``image_view`` repeats them.
- A frames view is one of images, but its samples belong to no dataset: fields, runs and
  ``dataset[id]`` are the video dataset's and do not know them. So it is refused; its clone is an
  ordinary dataset of images.
- **``view1 + view2`` holds a sample twice that both views hold.** ``image_view`` gives it once.
- **A label's id is unique within a field of a sample, no further**: ``clone_sample_field`` copies
  ids, and so do clones and merges of datasets. ``label_selection.py`` names a label by all three.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any

import fiftyone as fo
import fiftyone.core.media as fom
import fiftyone.core.stages as fos
from fiftyone.core.patches import EvaluationPatchesView, PatchesView
from fiftyone.core.video import FramesView

from ...errors import DatasetError
from ..database.fiftyone_internals import has_sample, label_list, stages_of
from .checks import as_names, dataset_of, listed
from .label_selection import LabelKey, labels_in, select_labels

logger = logging.getLogger(__name__)

# Stages that show other labels, or other values of them, than the database holds.
_CHANGE_LABELS = (
    fos.ExcludeLabels,
    fos.FilterField,
    fos.FilterLabels,
    fos.LimitLabels,
    fos.MapLabels,
    fos.SelectLabels,
    fos.SetField,
)
_REMEDIES = {
    fom.VIDEO: "Make images of the videos with to_frames(sample_frames=True).clone(), use those.",
    fom.MIXED: "Choose slices that hold images.",
}


def image_view(
    samples: Any, group_slices: str | Iterable[str] | None = None, notes: list[str] | None = None
) -> Any:
    """The images of a collection: itself, or slices of a grouped one, flattened.

    A sample that is in the collection more than once is in the result once, with every label that
    any of its occurrences shows.

    Args:
        samples: a dataset or view.
        group_slices: name or names of the slices to take from a grouped collection; its active
            slice if None.
        notes: a note on repeated samples is appended here; it is logged if None.

    Returns:
        A dataset or view of at least one image; in the collection's order, or in the dataset's if
        a sample was repeated.

    Raises:
        DatasetError: it is empty, holds patches, frames, dynamic groups, videos, 3D scenes or
            other media, or has no such slice; says what to do.
    """
    name = dataset_of(samples).name
    slices = None if group_slices is None else as_names("group_slices", group_slices)
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
        return _each_once(_flattened(samples, name, slices), notes)
    if slices is not None:
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
    return _each_once(samples, notes)


def all_images(dataset: Any) -> Any:
    """Every image of a dataset, of all slices, as a collection that finds each by its id."""
    if dataset.media_type != fom.GROUP:
        return dataset
    return dataset.select_group_slices(media_type=fom.IMAGE)


def is_patches(samples: Any) -> bool:
    """Whether a collection is a view of patches, of labels or of an evaluation."""
    return isinstance(samples, (PatchesView, EvaluationPatchesView))


def images_of(samples: Any) -> Any:
    """The images that the patches of a view are cut from; any other collection as it is."""
    if not is_patches(samples):
        return samples
    return all_images(dataset_of(samples)).select(list(set(samples.values("sample_id"))))


def whole_images(samples: Any) -> Any:
    """The images of a patches view with the labels that it shows; any other collection as it is."""
    if not is_patches(samples):
        return samples
    keys = [key for labels in patch_labels(samples).values() for key in labels]
    return select_labels(all_images(dataset_of(samples)), keys)


def patch_labels(samples: Any) -> dict[str, list[LabelKey]]:
    """The labels that a patches view shows, by field; also for fields without any."""
    fields = samples.get_field_schema(embedded_doc_type=fo.Label)
    return {field: labels_in(samples, field, "sample_id") for field in fields}


def load_sample(view: Any, sample_id: str) -> Any:
    """A sample of a view.

    Raises:
        KeyError: the view does not hold it any more.
        DatasetError: FiftyOne cannot load it: a value in it is not as labels have it.
    """
    try:
        return view[sample_id]
    except ValueError as error:
        raise unloadable(sample_id, error) from error


def load_samples(view: Any) -> Iterator[Any]:
    """The samples of a view one by one; errors as for ``load_sample``."""
    samples, loaded = iter(view.iter_samples()), 0
    while True:
        try:
            sample = next(samples)
        except StopIteration:
            return
        except ValueError as error:
            raise unloadable(view.values("id")[loaded], error) from error
        loaded += 1
        yield sample


def unloadable(sample_id: str, error: ValueError) -> DatasetError:
    """The error of a sample that FiftyOne cannot load, given what FiftyOne raised."""
    # FiftyOne's own sentence blames the view; what raised it names the value.
    return DatasetError(
        f"FiftyOne cannot load the sample {sample_id} ({error.__cause__ or error}). Correct that "
        "value in the database, or delete the sample or the field."
    )


def _flattened(samples: Any, name: str, slices: list[str] | None) -> Any:
    media = samples.group_media_types
    if media is None:
        raise DatasetError(
            f"This view of {name!r} was grouped with group_by(); flatten() it, or use the view "
            "that it came from."
        )
    if slices is None:
        slices = [samples.group_slice]
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
    if slices != [samples.group_slice]:
        # FiftyOne fetches other slices anew, and shows labels that the view hides.
        for stage in stages_of(samples):
            if isinstance(stage, _CHANGE_LABELS):
                flat = flat.add_stage(stage)
    _require_samples(flat, name)
    return flat


def _each_once(samples: Any, notes: list[str] | None) -> Any:
    """The same samples without repetitions, which only ``Concat`` and ``Mongo`` stages cause."""
    if not any(isinstance(stage, (fos.Concat, fos.Mongo)) for stage in stages_of(samples)):
        return samples
    ids = samples.values("id")
    repeated = len(ids) - len(set(ids))
    if not repeated:
        return samples
    note = (
        f"The view holds {len(set(ids))} samples, some of them more than once ({repeated} "
        "repetitions, as of views that were added): each is used once."
    )
    if notes is None:
        logger.warning("%s", note)
    else:
        notes.append(note)
    return samples.add_stage(fos.Mongo(_grouped_by_id(samples)))


def _grouped_by_id(samples: Any) -> list[dict[str, Any]]:
    """The first occurrence of each sample, in the dataset's order, with the labels of all.

    MongoDB looks up one sample's id before it groups; with ``$replaceRoot`` it would not.
    """
    schema = samples.get_field_schema(include_private=True)
    names = {name: field.db_field or name for name, field in schema.items()}
    group = {name: {"$first": f"${name}"} for name in names.values() if name != "_id"}
    labels = {}
    for field, kind in samples.get_field_schema(embedded_doc_type=fo.Label).items():
        many = label_list(kind.document_type)
        if many is not None:
            name = names[field]
            group[name] = {"$push": f"${name}"}
            labels[name] = _union(f"${name}", many)
    return [{"$group": {"_id": "$_id", **group}}, {"$set": labels}, {"$sort": {"_id": 1}}]


def _union(occurrences: str, many: str) -> dict[str, Any]:
    """The first occurrence of a field of labels with those of the others, each label once."""
    unseen = {
        "$filter": {
            "input": {"$ifNull": [f"$$this.{many}", []]},
            "as": "label",
            "cond": {"$not": [{"$in": ["$$label._id", "$$value._id"]}]},
        }
    }
    union = {
        "$reduce": {
            "input": occurrences,
            "initialValue": [],
            "in": {"$concatArrays": ["$$value", unseen]},
        }
    }
    first = {"$first": occurrences}
    # A field that was never written stays so.
    return {"$cond": [{"$gt": [first, None]}, {"$mergeObjects": [first, {many: union}]}, None]}


def _require_samples(samples: Any, name: str) -> None:
    # Not len(): a dataset's is MongoDB's estimate, which can be 0 after the server was killed.
    if not samples.limit(1).values("id"):
        if not has_sample(samples, {}):
            raise DatasetError(f"{name!r} has no images yet; add some first.")
        raise DatasetError(f"The view of {name!r} holds no sample; widen it or add samples.")
