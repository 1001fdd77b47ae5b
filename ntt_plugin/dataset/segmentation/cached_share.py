"""Of how many images the proposals are kept already, without a network: for forms, by a sample."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import torch

from ...engine.proposals.codec import CODEC_VERSION
from ...engine.proposals.key import PIPELINE_VERSION, image_digest, proposal_key
from ...engine.recipe import Recipe, resolve_device, resolve_dtype
from ...errors import NttError, StoreError
from ..database.run_record import is_segmentation_by, read_facts
from ..labels.label_field import segmentation_fields
from ..runtime.cache_folder import ProposalStore
from ..runtime.caching import Remembered
from ..samples.checks import dataset_of
from ..segmenters import SegmenterLike, upstream_in_memory

# Each is read to its end, for its digest, and again only when it was changed.
_MOST_READ = 20
_SEED = 51
_digests: Remembered[str] = Remembered(50 * _MOST_READ)


class KeptShare(NamedTuple):
    """How much of some images is kept.

    Attributes:
        share: from 0 to 1.
        sampled: whether it was told from a few of them.
    """

    share: float
    sampled: bool


NOTHING_KEPT = KeptShare(0.0, False)


def upstream_facts(segmenter: SegmenterLike) -> dict[str, Any]:
    """What a run that keeps proposals has to keep of their keys, for ``kept_share``."""
    return {
        "upstream": segmenter.upstream,
        "upstream_of": _conditions(segmenter.recipe, segmenter.device),
    }


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
    dataset, here = dataset_of(images), _conditions(recipe, device)
    for field in segmentation_fields(dataset):
        facts = read_facts(dataset, field)
        upstream = facts.get("upstream")
        alike = is_segmentation_by(facts, recipe) and facts.get("upstream_of") == here
        if upstream and alike:
            return str(upstream)
    return None


def _conditions(recipe: Recipe, device: torch.device) -> dict[str, Any]:
    """What the keys of proposals depend on beside the networks' content and the recipe."""
    dtype = str(resolve_dtype(recipe.precision, device))
    return {"dtype": dtype, "codec": CODEC_VERSION, "pipeline": PIPELINE_VERSION}
