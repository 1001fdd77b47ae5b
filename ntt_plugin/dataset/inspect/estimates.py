"""How long a segmentation will take, from the last one like it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...engine.recipe import Recipe, resolve_device
from ...errors import NttError
from ..database.run_record import is_segmentation_by, read_facts
from ..labels.label_field import segmentation_fields
from ..segmentation.cached_share import NOTHING_KEPT, KeptShare
from ..segmentation.report import read_report

# For an image whose proposals are kept: reading, matching and writing its labels.
_SECONDS_KEPT = 0.1


@dataclass(frozen=True)
class Estimate:
    """About how long something takes.

    Attributes:
        seconds: the time.
        source: what it was measured on, in words.
    """

    seconds: float
    source: str

    def __str__(self) -> str:
        """The time in words, and what it was measured on."""
        return f"{in_words(self.seconds)} ({self.source})"


def estimate_segmentation(
    dataset: Any,
    recipe: Recipe,
    device: str | None,
    images: int,
    kept: KeptShare = NOTHING_KEPT,
) -> Estimate | None:
    """How long segmenting some images takes, without loading the networks.

    Args:
        dataset: the dataset whose earlier runs are looked at.
        recipe: the recipe.
        device: where to run; the best there is if None.
        images: number of images.
        kept: the share of them whose proposals are kept.

    Returns:
        The estimate; None where no run by the recipe on this device was measured.
    """
    computed = round(images * (1 - kept.share))
    seconds = (images - computed) * _SECONDS_KEPT
    if kept.share == 1:
        about = "about " if kept.sampled else ""
        return Estimate(seconds, f"the proposals of {about}all of them are kept")
    each = _measured(dataset, recipe, str(resolve_device(device)))
    if each is None:
        return None
    source = "as fast as the last run here"
    if kept.share:
        about = "about " if kept.sampled else ""
        source = f"the proposals of {about}{images - computed:,} of them are kept; {source}"
    return Estimate(seconds + computed * each, source)


def in_words(seconds: float) -> str:
    """A length of time as people say it."""
    if seconds < 2:
        return "a moment"
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"about {round(seconds / size)} {unit}"
    return f"about {round(seconds)} seconds"


def _measured(dataset: Any, recipe: Recipe, device: str) -> float | None:
    """Seconds an image of the latest segmentation by the recipe on the device, None without one."""
    reports = []
    for field in segmentation_fields(dataset):
        if not is_segmentation_by(read_facts(dataset, field), recipe):
            continue
        try:
            reports.append(read_report(dataset, field))
        except NttError:
            continue
    reports = [
        report
        for report in reports
        if report.device == device
        and report.segmented
        # Without a network a run is faster by far, which says nothing of one with them.
        and not report.from_cache
    ]
    if not reports:
        return None
    latest = max(reports, key=lambda report: report.started)
    return latest.seconds / latest.segmented
