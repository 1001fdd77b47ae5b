"""Proposals of one segmenter in a store: found again by an image's content, or computed anew."""

from __future__ import annotations

from .mask_codec import RecordError
from .memory import Fingerprint
from .proposal_codec import decode_proposals, encode_proposals
from .proposal_key import proposal_key
from .proposal_store import ProposalStore
from .proposals import Proposals


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

    def load(self, image: str) -> Proposals | None:
        """The proposals kept for an image, on the CPU; None if there are none, or damaged ones.

        Args:
            image: its ``image_digest``.
        """
        key = proposal_key(image, self._upstream)
        payload = self.store.get(key)
        if payload is None:
            return None
        try:
            return decode_proposals(payload, self._fingerprint)
        except RecordError as error:
            self.store.report_damage(key, str(error))
            return None

    def save(self, image: str, proposals: Proposals) -> bool:
        """Keep an image's proposals; whether they were stored.

        Args:
            image: its ``image_digest``.
            proposals: made by the segmenter of this cache.
        """
        return self.store.put(proposal_key(image, self._upstream), encode_proposals(proposals))
