"""Samples whose field was never written (None), which is not the same as "no objects"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import fiftyone.core.media as fom

from ...errors import DatasetError
from ..samples.checks import dataset_of, listed
from ..samples.views import all_images
from .exclusions import LeftOut


def missing_in(images: Any, field: str) -> set[str]:
    """Ids of the samples of a collection in which a field was never written.

    The dataset is asked: a view that filters the labels of a field gives an empty list for None.
    """
    missing = all_images(dataset_of(images)).exists(field, False).values("id")
    return set(missing).intersection(images.values("id")) if missing else set()


def leave_out_missing(images: Any, kinds: Mapping[str, str], left_out: LeftOut) -> Any:
    """Leave out the samples in which one of some fields was never written.

    Args:
        images: a dataset or view of images, not grouped.
        kinds: the fields, and the kind of a sample that lacks it (``exclusions``'s); of a sample
            that lacks several the last one counts.
        left_out: grows by these samples.

    Returns:
        The other samples.
    """
    missing = {field: missing_in(images, field) for field in kinds}
    if not any(missing.values()):
        return images
    columns = images.values(["id", "filepath"])
    kept = []
    for sample, filepath in zip(*columns, strict=True):
        fields = [field for field in kinds if sample in missing[field]]
        if not fields:
            kept.append(sample)
            continue
        what = "field {} was" if len(fields) == 1 else "fields {} were"
        reason = f"Its {what.format(listed(fields))} never written (None)."
        left_out.add_sample(sample, filepath, kinds[fields[-1]], reason)
    # By the fewer ids: the evaluation keeps them, in a MongoDB document of 16 MB at most.
    excluded = set().union(*missing.values())
    return images.select(kept) if len(kept) < len(excluded) else images.exclude(list(excluded))


def nothing_left(samples: Any, images: Any, fields: Sequence[str]) -> DatasetError:
    """The refusal where every sample lacks one of the fields.

    Of a grouped dataset it says which slices have them.

    Args:
        samples: the collection as it was given.
        images: its images.
        fields: the fields.
    """
    dataset = dataset_of(samples)
    counts = [
        f"{field!r} was never written (None) in {len(missing)}"
        for field in fields
        if (missing := missing_in(images, field))
    ]
    text = (
        f"None of the {images.count()} images of {dataset.name!r} has both "
        f"{listed(fields[:1])} and {listed(fields[1:])}: {', '.join(counts)}."
    )
    if samples.media_type == fom.GROUP:
        return DatasetError(f"{text} {_slices_with(dataset, fields)}")
    return DatasetError(
        f"{text} Segment or label them first, choose other samples or fields, or pass "
        "include_missing=True to count them as images without objects."
    )


def _slices_with(dataset: Any, fields: Sequence[str]) -> str:
    images = [name for name, kind in dataset.group_media_types.items() if kind == fom.IMAGE]
    held: dict[str, list[str]] = {}
    for name in images:
        found = dataset.select_group_slices([name])
        held[name] = [field for field in fields if found.exists(field).limit(1).values("id")]
    full = [name for name in images if len(held[name]) == len(fields)]
    if full:
        return f"Its slice {listed(full)} has them: name it with group_slices."
    partly = [f"{name!r} has {listed(fields)}" for name, fields in held.items() if fields]
    return f"Of its slices {'; '.join(partly) or 'none has any'}: no slice has both."
