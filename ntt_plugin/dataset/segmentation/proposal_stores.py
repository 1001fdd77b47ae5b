"""The store of proposals that an argument ``cache`` names."""

from __future__ import annotations

from ...engine.proposals.store import ProposalStore
from ...errors import StoreError
from ..runtime import caching

Cache = bool | ProposalStore
"""True for the default store, False for none, or a store."""


def store_of(cache: Cache) -> ProposalStore | None:
    """The store that an argument ``cache`` names; None for none.

    Raises:
        StoreError: the default store cannot be used.
    """
    if isinstance(cache, ProposalStore):
        return cache
    return caching.ProposalStore() if cache else None


def usable_store(cache: Cache) -> tuple[ProposalStore | None, list[str]]:
    """As ``store_of``, but a store that cannot be used is None and a note, not an error."""
    try:
        return store_of(cache), []
    except StoreError as error:
        return None, [f"no proposals are kept, so that another run computes them again: {error}"]
