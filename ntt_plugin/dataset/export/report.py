"""What an export wrote and what it left out."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..samples.sample_notes import SampleNote, in_words


@dataclass
class ExportReport:
    """What ``export_coco`` or ``export_yolo_seg`` did.

    Attributes:
        label_field: the field exported.
        path: the file or folder written.
        images: number of images in it.
        instances: number of labels in it, by class.
        failed: samples and labels that are not in it, each with the reason.
        notes: what else there is to know.
    """

    label_field: str
    path: str
    images: int = 0
    instances: dict[str, int] = field(default_factory=dict)
    failed: list[SampleNote] = field(default_factory=list)
    notes: list[SampleNote] = field(default_factory=list)

    def __str__(self) -> str:
        """The counts in words, for logs and messages."""
        count = sum(self.instances.values())
        parts = [f"{count} labels of {self.label_field!r} in {self.images} images: {self.path}"]
        parts += [*in_words(self.failed, "left out"), *in_words(self.notes, "to note")]
        return "; ".join(parts)
