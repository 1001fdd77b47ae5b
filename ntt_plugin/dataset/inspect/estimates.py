"""How long a segmentation will take: from the last one like it, and from what is kept."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from ...engine.device.device import resolve_device
from ...engine.proposals.cache import image_digest, proposal_key
from ...engine.recipe import Recipe
from ...errors import NttError, StoreError
from ..database.run_record import is_segmentation_by, read_facts
from ..labels.label_field import segmentation_fields
from ..runtime.cache_folder import ProposalStore
from ..runtime.caching import Remembered
from ..samples.checks import dataset_of
from ..segmentation.cached_proposals import key_conditions
from ..segmentation.report import read_report
from ..segmenters import upstream_in_memory

# Each is read to its end, for its digest, and again only when it was changed.
_MOST_READ = 20
_SEED = 51
_digests: Remembered[str] = Remembered(50 * _MOST_READ)


class KeptShare(NamedTuple):
    """Share of images whose proposals are cached.

    Attributes:
        share: in [0, 1].
        sampled: whether it was estimated from a sample of the images.
    """

    share: float
    sampled: bool


NOTHING_KEPT = KeptShare(0.0, False)


def kept_share(images: Any, recipe: Recipe, device: str | None) -> KeptShare:
    """The share of images whose proposals by a recipe are kept; reads 20 of them at most.

    Under which keys they would be kept is known of networks in memory, and of those that the last
    run into a field of the dataset had loaded, if its recipe was the same up to the proposals, and
    computed in the same dtype with the same version; of others nothing counts as kept.

    Args:
        images: a dataset or view of images.
        recipe: the recipe.
        device: where to run; the best there is if None.
    """
    where = resolve_device(device)
    upstream = upstream_in_memory(recipe, where) or _upstream_of_runs(images, recipe, where)
    if upstream is None:
        return NOTHING_KEPT
    try:
        store = ProposalStore()
    except StoreError:
        return NOTHING_KEPT
    # One more tells that there are more.
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
