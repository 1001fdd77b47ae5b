"""What an evaluation could not score: which labels and samples, and why.

A sample whose field was never written (None) is left out too: that is not "no objects".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import fiftyone.core.media as fom

from ...errors import DatasetError
from ..samples.checks import dataset_of, listed
from ..samples.label_selection import LabelKey
from ..samples.views import all_images

# Saved in one MongoDB document, of 16 MB at most.
_MOST_KEPT = 1000
_MOST_NAMED = 5

UNREADABLE = "unreadable"
UNTURNED = "unturned"
NOT_SEGMENTED = "not_segmented"
NOT_LABELLED = "not_labelled"

_IN_WORDS = {
    UNREADABLE: "their images cannot be read",
    UNTURNED: "their labels seem to be made on photographs before they were turned upright",
    NOT_SEGMENTED: "never segmented",
    NOT_LABELLED: "never labelled",
}


@dataclass(frozen=True)
class LeftOutLabel:
    """A label that cannot be scored.

    Attributes:
        field: the field that holds it.
        label: its id.
        sample: its sample's id.
        filepath: its image.
        reason: a sentence.
    """

    field: str
    label: str
    sample: str
    filepath: str
    reason: str


@dataclass(frozen=True)
class LeftOutSample:
    """A sample that is not scored.

    Attributes:
        sample: its id.
        reason: a sentence.
        kind: ``unreadable`` (its image), ``unturned`` (its labels lie on the pixels of a
            photograph before it is turned upright), ``not_segmented`` or ``not_labelled`` (the
            field was never written; such are scored with ``include_missing=True``). Empty in
            evaluations of earlier versions.
        filepath: its image; empty in evaluations of earlier versions.
    """

    sample: str
    reason: str
    kind: str = ""
    filepath: str = ""


@dataclass
class LeftOut:
    """What is left out of an evaluation's scores, FiftyOne's and pycocotools' alike.

    Attributes:
        labels: labels that cannot be scored.
        samples: samples that are not scored, by id.
        notes: other remarks on the scores, a sentence each.
    """

    labels: list[LeftOutLabel] = field(default_factory=list)
    samples: dict[str, LeftOutSample] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add_sample(self, sample: str, filepath: str, kind: str, reason: str) -> None:
        """Leave out a sample, for a kind of reason as ``LeftOutSample`` has them."""
        self.samples[sample] = LeftOutSample(sample, reason, kind, filepath)

    def add(self, other: LeftOut) -> None:
        """Add what another one holds: each label and sample by its first reason, each note once."""
        known = {LabelKey.of(entry) for entry in self.labels}
        self.labels += [entry for entry in other.labels if LabelKey.of(entry) not in known]
        for sample, left_out in other.samples.items():
            self.samples.setdefault(sample, left_out)
        self.notes += [note for note in other.notes if note not in self.notes]

    def of_kinds(self, *kinds: str) -> list[LeftOutSample]:
        """The samples of some kinds."""
        return [entry for entry in self.samples.values() if entry.kind in kinds]

    def __bool__(self) -> bool:
        """Whether it holds anything."""
        return bool(self.labels or self.samples or self.notes)

    def __str__(self) -> str:
        """For each kind a line with its count, a few examples and the first reason."""
        lines = []
        for name, count in Counter(entry.field for entry in self.labels).items():
            first = next(entry for entry in self.labels if entry.field == name)
            lines.append(
                f"{count} labels in {name!r} are left out of the scores; the first, {first.label} "
                f"of {first.filepath}: {first.reason}"
            )
        kinds = dict.fromkeys(entry.kind for entry in self.samples.values())
        lines += [_line(kind, self.of_kinds(kind)) for kind in kinds]
        return "\n".join([*lines, *self.notes])

    def to_dict(self) -> dict[str, Any]:
        """Plain values for MongoDB and JSON: all counts, and the first thousand of each."""
        samples = list(self.samples.values())
        return {
            "label_count": len(self.labels),
            "sample_count": len(samples),
            "sample_kinds": dict(Counter(entry.kind for entry in samples if entry.kind)),
            "labels": [asdict(entry) for entry in self.labels[:_MOST_KEPT]],
            "samples": [asdict(entry) for entry in samples[:_MOST_KEPT]],
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LeftOut:
        """What ``to_dict`` returned, also in earlier versions."""
        return cls(
            [LeftOutLabel(**entry) for entry in values["labels"]],
            {entry["sample"]: _sample(entry) for entry in values["samples"]},
            list(values.get("notes", ())),
        )


def _sample(values: Mapping[str, str | None]) -> LeftOutSample:
    return LeftOutSample(**{name: value or "" for name, value in values.items()})


def _line(kind: str, samples: list[LeftOutSample]) -> str:
    why = f" ({_IN_WORDS[kind]})" if kind in _IN_WORDS else ""
    line = f"{len(samples)} samples are left out of the scores{why}"
    named = [f"{entry.filepath} ({entry.sample})" for entry in samples if entry.filepath]
    if named:
        line += ": " + ", ".join(named[:_MOST_NAMED])
        more = len(samples) - len(named[:_MOST_NAMED])
        line += f" and {more} more" if more else ""
    line += f"; the first: {samples[0].reason}"
    if kind in (NOT_SEGMENTED, NOT_LABELLED):
        line += " Pass include_missing=True to count such images as images without objects."
    return line


def missing_in(images: Any, field: str) -> set[str]:
    """Ids of the samples in which a field was never written.

    Reads the dataset: a view that filters the labels of a field shows an empty list for None.
    """
    missing = all_images(dataset_of(images)).exists(field, False).values("id")
    return set(missing).intersection(images.values("id")) if missing else set()


def leave_out_missing(images: Any, kinds: Mapping[str, str], left_out: LeftOut) -> Any:
    """The samples in which each of some fields was written; the others go into ``left_out``.

    Args:
        images: a dataset or view of images, not grouped.
        kinds: for each field, the kind of a sample without it; the last one counts for a sample
            that lacks several.
        left_out: grows by the other samples.
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
    # Whichever names fewer ids: an evaluation saves them in a MongoDB document of 16 MB at most.
    excluded = set().union(*missing.values())
    return images.select(kept) if len(kept) < len(excluded) else images.exclude(list(excluded))


def nothing_left(samples: Any, images: Any, fields: Sequence[str]) -> DatasetError:
    """The error where every image of ``samples`` lacks one of two fields.

    For a grouped dataset it says which slices have them.
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
