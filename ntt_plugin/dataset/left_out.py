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
NOT_SEGMENTED = "not_segmented"
NOT_LABELLED = "not_labelled"

_IN_WORDS = {
    UNREADABLE: "their images cannot be read",
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


@dataclass
class LeftOut:
    """What is left out of an evaluation's scores, FiftyOne's and pycocotools' alike.

    Attributes:
        labels: labels that cannot be scored.
        samples: samples that are not scored: id and reason.
        kinds: of these samples by id: ``unreadable`` (its image), ``not_segmented`` or
            ``not_labelled`` (the field was never written; such are scored with
            ``include_missing=True``). Evaluations of earlier versions have none.
        filepaths: of these samples by id.
        notes: what else a person should know of the scores, a sentence each.
    """

    labels: list[LeftOutLabel] = field(default_factory=list)
    samples: dict[str, str] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    filepaths: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add_sample(self, sample: str, filepath: str, kind: str, reason: str) -> None:
        """Leave out a sample."""
        self.samples[sample] = reason
        self.kinds[sample] = kind
        self.filepaths[sample] = filepath

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
        by_kind: dict[str, list[str]] = {}
        for sample in self.samples:
            by_kind.setdefault(self.kinds.get(sample, ""), []).append(sample)
        lines += [self._line(kind, samples) for kind, samples in by_kind.items()]
        return "\n".join([*lines, *self.notes])

    def _line(self, kind: str, samples: list[str]) -> str:
        why = f" ({_IN_WORDS[kind]})" if kind in _IN_WORDS else ""
        line = f"{len(samples)} samples are left out of the scores{why}"
        named = [sample for sample in samples if sample in self.filepaths][:_MOST_NAMED]
        if named:
            line += ": " + ", ".join(f"{self.filepaths[sample]} ({sample})" for sample in named)
            more = len(samples) - len(named)
            line += f" and {more} more" if more else ""
        line += f"; the first: {self.samples[samples[0]]}"
        if kind in (NOT_SEGMENTED, NOT_LABELLED):
            line += " Pass include_missing=True to count such images as images without objects."
        return line

    def to_dict(self) -> dict[str, Any]:
        """Plain values that MongoDB and JSON take; of very many the first, and how many."""
        kept = list(self.samples.items())[:_MOST_KEPT]
        return {
            "label_count": len(self.labels),
            "sample_count": len(self.samples),
            "sample_kinds": dict(Counter(self.kinds.values())),
            "labels": [asdict(entry) for entry in self.labels[:_MOST_KEPT]],
            "samples": [
                {
                    "sample": sample,
                    "reason": reason,
                    "kind": self.kinds.get(sample),
                    "filepath": self.filepaths.get(sample),
                }
                for sample, reason in kept
            ],
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LeftOut:
        """What ``to_dict`` kept, also of an earlier version."""
        samples = values["samples"]
        return cls(
            [LeftOutLabel(**entry) for entry in values["labels"]],
            {entry["sample"]: entry["reason"] for entry in samples},
            {entry["sample"]: entry["kind"] for entry in samples if entry.get("kind")},
            {entry["sample"]: entry["filepath"] for entry in samples if entry.get("filepath")},
            list(values.get("notes", ())),
        )
