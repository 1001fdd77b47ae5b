"""How long a segmentation will take, by the last one like it and by the cached proposals."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from ...engine.device.device import resolve_device
from ...engine.proposals.cache import image_digest, proposal_key
from ...engine.recipe import Recipe
from ...errors import NttError, StoreError
from ...worker.tasks.cached_proposals import key_conditions
from ..database.run_record import is_segmentation_by, read_facts
from ..labels.label_field import segmentation_fields
from ..networks import upstream_in_memory
from ..runtime.caching import ProposalStore, Remembered
from ..samples.checks import dataset_of
from ..segmentation.report import read_report

# Images whose files are read, for their digests; again only when they were changed.
_MOST_READ = 20
_SEED = 51
# For an image with cached proposals: reading, matching and writing its labels.
_SECONDS_KEPT = 0.1
_digests: Remembered[str] = Remembered(50 * _MOST_READ)


class KeptShare(NamedTuple):
    """Share in [0, 1] of images with cached proposals; ``sampled`` if estimated from a few."""

    share: float
    sampled: bool


NOTHING_KEPT = KeptShare(0.0, False)


def kept_share(images: Any, recipe: Recipe, device: str | None) -> KeptShare:
    """Share of images whose proposals by a recipe are cached; reads 20 of them at most.

    The keys of cached proposals depend on the networks. They are known of networks in memory, and
    of those of the last run into a field of the dataset if it made its proposals in the same way:
    recipe, dtype and version. Of others nothing counts as cached.

    ``device`` is where to run; the best there is if None.
    """
    where = resolve_device(device)
    upstream = upstream_in_memory(recipe, where) or _upstream_of_runs(images, recipe, where)
    if upstream is None:
        return NOTHING_KEPT
    try:
        store = ProposalStore()
    except StoreError:
        return NOTHING_KEPT
    # One more shows whether this is a sample.
    paths = images.take(_MOST_READ + 1, seed=_SEED).values("filepath")
    read = paths[:_MOST_READ]
    held = sum(_is_held(store, path, upstream) for path in read)
    return KeptShare(held / max(1, len(read)), len(paths) > len(read))


def _is_held(store: ProposalStore, filepath: str, upstream: str) -> bool:
    try:
        file = os.stat(filepath)
        state = (filepath, file.st_mtime_ns, file.st_size)
        digest = _digests.get(state, lambda: image_digest(filepath))
    except (NttError, OSError, ValueError):
        return False
    return store.holds(proposal_key(digest, upstream))


def _upstream_of_runs(images: Any, recipe: Recipe, device: torch.device) -> str | None:
    dataset, here = dataset_of(images), key_conditions(recipe, device)
    for field in segmentation_fields(dataset):
        facts = read_facts(dataset, field)
        upstream = facts.get("upstream")
        alike = is_segmentation_by(facts, recipe) and facts.get("upstream_of") == here
        if upstream and alike:
            return str(upstream)
    return None


@dataclass(frozen=True)
class Estimate:
    """About how long something takes, and in words what this was measured on."""

    seconds: float
    source: str

    def __str__(self) -> str:
        """Both in words."""
        return f"{in_words(self.seconds)} ({self.source})"


def estimate_segmentation(
    dataset: Any, recipe: Recipe, device: str | None, images: int, kept: KeptShare = NOTHING_KEPT
) -> Estimate | None:
    """How long segmenting takes, None if no run like it was measured; loads no network.

    Args:
        dataset: the dataset whose earlier runs are measured.
        recipe: the recipe.
        device: where to run; the best there is if None.
        images: number of images.
        kept: the share of them whose proposals are cached.
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
    """A length of time in words."""
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
        if is_segmentation_by(read_facts(dataset, field), recipe):
            with suppress(NttError):
                reports.append(read_report(dataset, field))
    # A run that read some proposals from the cache was faster than one with networks alone.
    alike = [
        report
        for report in reports
        if report.device == device and report.segmented and not report.from_cache
    ]
    if not alike:
        return None
    latest = max(alike, key=lambda report: report.started)
    return latest.seconds / latest.segmented
