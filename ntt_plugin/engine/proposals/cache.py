"""Proposals of one segmenter in a store: found again by an image's content, or computed anew."""

from __future__ import annotations

from math import inf, isfinite

from ..bank.memory_bank import Fingerprint
from ..masks.codec import RecordError
from .codec import decode_proposals, encode_proposals
from .key import proposal_key
from .proposals import Proposals
from .store import ProposalStore

# Of a unit-length feature, with room for rounding.
_LONGEST = 1.01


class ProposalCache:
    """What a store holds for one segmenter; may be shared by threads.

    Attributes:
        store: where proposals are kept; its ``counts`` tell what was found and what was not.
    """

    def __init__(self, store: ProposalStore, upstream: str, fingerprint: Fingerprint) -> None:
        """Look into a store; nothing is read yet.

        Args:
            store: where proposals are kept.
            upstream: the segmenter's ``upstream``.
            fingerprint: its ``fingerprint``.
        """
        self.store = store
        self._upstream = upstream
        self._fingerprint = fingerprint

    def load(self, image: str, image_size: tuple[int, int] | None = None) -> Proposals | None:
        """The proposals kept for an image, on the CPU; None if there are none, or damaged ones.

        Whoever can write to the store can write a record with a valid checksum, so that what it
        holds is looked at, too. Masks are decoded when they are asked for, which may raise
        ``RecordError``: tell ``report_damage`` then.

        Args:
            image: its ``image_digest``.
            image_size: its (H, W), if it is known.
        """
        key = proposal_key(image, self._upstream)
        payload = self.store.get(key)
        if payload is None:
            return None
        try:
            proposals = decode_proposals(payload, self._fingerprint)
            _require_plausible(proposals, self._fingerprint.channels, image_size)
        except RecordError as error:
            self.store.report_damage(key, str(error))
            return None
        return proposals

    def report_damage(self, image: str, error: RecordError) -> None:
        """Count proposals that ``load`` gave as a miss after all: a mask could not be decoded.

        Args:
            image: the image's ``image_digest``.
            error: what was raised.
        """
        self.store.report_damage(proposal_key(image, self._upstream), str(error))

    def save(self, image: str, proposals: Proposals) -> bool:
        """Keep an image's proposals; whether they were stored.

        Args:
            image: its ``image_digest``.
            proposals: made by the segmenter of this cache.
        """
        return self.store.put(proposal_key(image, self._upstream), encode_proposals(proposals))


def _require_plausible(
    proposals: Proposals, channels: int, image_size: tuple[int, int] | None
) -> None:
    """Make sure that proposals can be those of a segmenter.

    Raises:
        RecordError: they are of another size or encoder, or a number is none that it computes.
    """
    if image_size is not None and proposals.image_size != image_size:
        raise RecordError(f"it is of an image of the size {proposals.image_size}")
    if not len(proposals):
        return
    if proposals.features.shape[1] != channels:
        raise RecordError(f"its features have {proposals.features.shape[1]} channels")
    numbers = ((proposals.ious, inf), (proposals.boxes, inf), (proposals.features, _LONGEST))
    for values, most in numbers:
        # One that is NaN makes both NaN, which no comparison holds of.
        low, high = values.aminmax()
        if not (isfinite(low) and isfinite(high) and -most <= low and high <= most):
            raise RecordError("it holds numbers that no network gives")
