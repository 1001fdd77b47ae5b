"""Of how many images the proposals are kept already, without a network: for forms, by a sample."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, NamedTuple

from ..engine.config import Recipe
from ..engine.proposal_key import AFTER_PROPOSALS, image_digest, proposal_key
from ..engine.proposal_store import ProposalStore
from ..errors import ImageError, StoreError
from .checks import dataset_of
from .label_field import segmentation_fields
from .run_record import read_facts
from .segmenters import upstream_in_memory

# Each is read once to its end, for its digest.
_MOST_READ = 20
_SEED = 51


class KeptShare(NamedTuple):
    """How much of some images is kept.

    Attributes:
        share: from 0 to 1.
        sampled: whether it was told from a few of them.
    """

    share: float
    sampled: bool


NOTHING_KEPT = KeptShare(0.0, False)


def kept_share(images: Any, recipe: Recipe, device: str | None) -> KeptShare:
    """The share of images whose proposals by a recipe are kept; reads 20 of them at most.

    Under which keys they would be kept is known of networks in memory, and of those that the last
    run with the recipe into a field of the dataset had loaded; of others nothing counts as kept.

    Args:
        images: a dataset or view of images.
        recipe: the recipe.
        device: where to run; the best there is if None.
    """
    upstream = upstream_in_memory(recipe, device) or _upstream_of_runs(images, recipe)
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
        return store.holds(proposal_key(image_digest(filepath), upstream))
    except ImageError:
        return False


def _upstream_of_runs(images: Any, recipe: Recipe) -> str | None:
    dataset, wanted = dataset_of(images), _before_proposals(asdict(recipe))
    for field in segmentation_fields(dataset):
        facts = read_facts(dataset, field)
        upstream = facts.get("upstream")
        if upstream and _before_proposals(facts.get("recipe") or {}) == wanted:
            return str(upstream)
    return None


def _before_proposals(recipe: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in recipe.items() if name not in AFTER_PROPOSALS}
