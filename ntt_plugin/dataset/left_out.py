"""What an evaluation could not score: which labels and samples, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

# Kept in one MongoDB document of 16 MB at most, whatever the evaluation met with.
_MOST_KEPT = 1000


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
        samples: samples whose image cannot be read: id and reason.
    """

    labels: list[LeftOutLabel] = field(default_factory=list)
    samples: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """Counts, and a few of each with the reasons, for logs and messages."""
        lines = []
        for name, count in Counter(entry.field for entry in self.labels).items():
            first = next(entry for entry in self.labels if entry.field == name)
            lines.append(
                f"{count} labels in {name!r} are left out of the scores; the first, {first.label} "
                f"of {first.filepath}: {first.reason}"
            )
        if self.samples:
            first_reason = next(iter(self.samples.values()))
            lines.append(
                f"{len(self.samples)} samples are left out of the scores; the first: {first_reason}"
            )
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Plain values that MongoDB and JSON take; of very many the first, and how many."""
        kept = list(self.samples.items())[:_MOST_KEPT]
        return {
            "label_count": len(self.labels),
            "sample_count": len(self.samples),
            "labels": [asdict(entry) for entry in self.labels[:_MOST_KEPT]],
            "samples": [{"sample": sample, "reason": reason} for sample, reason in kept],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LeftOut:
        """What ``to_dict`` kept."""
        return cls(
            [LeftOutLabel(**entry) for entry in values["labels"]],
            {entry["sample"]: entry["reason"] for entry in values["samples"]},
        )
