"""What an evaluation could not score: which labels and samples, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

# Kept in one MongoDB document of 16 MB at most, whatever the evaluation met with.
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
        field: the field that it is in.
        label: its id.
        sample: its sample's id.
        filepath: its sample's image.
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
        notes: what else a person should know of the scores, a sentence each.
    """

    labels: list[LeftOutLabel] = field(default_factory=list)
    samples: dict[str, LeftOutSample] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add_sample(self, sample: str, filepath: str, kind: str, reason: str) -> None:
        """Leave out a sample."""
        self.samples[sample] = LeftOutSample(sample, reason, kind, filepath)

    def add(self, other: LeftOut) -> None:
        """Leave out the labels and samples of another one too, each once, by its first reason."""
        known = {(entry.sample, entry.field, entry.label) for entry in self.labels}
        self.labels += [
            entry for entry in other.labels if (entry.sample, entry.field, entry.label) not in known
        ]
        for sample, left_out in other.samples.items():
            self.samples.setdefault(sample, left_out)

    def of_kinds(self, *kinds: str) -> list[LeftOutSample]:
        """The samples of some kinds."""
        return [entry for entry in self.samples.values() if entry.kind in kinds]

    def __bool__(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self.labels or self.samples or self.notes)

    def __str__(self) -> str:
        """Counts, and a few of each with the reasons, a line each, for logs and messages."""
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
        """Plain values that MongoDB and JSON take; of very many the first, and how many."""
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
        """What ``to_dict`` kept, also of an earlier version."""
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
