"""Proposals kept between runs: looked up before an image is read, written beside computing."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

import torch

from ...engine.device.device import resolve_dtype
from ...engine.images.load import read_image, shown_size
from ...engine.masks.codec import RecordError
from ...engine.proposals.cache import PIPELINE_VERSION, ProposalCache, image_digest
from ...engine.proposals.codec import CODEC_VERSION
from ...engine.proposals.proposals import Proposals
from ...engine.proposals.store import ProposalStore
from ...engine.recipe import Recipe
from ...errors import ImageError, StoreError
from ..runtime import cache_folder
from ..segmenters import SegmenterLike
from .pipeline import ReadSample, Recalled

_T = TypeVar("_T")

Cache = bool | ProposalStore
"""True for the default store, False for none, or a store."""

# Proposals that wait to be written hold their masks, on a GPU their logits: 100 MB for an image in
# the preset `paper`.
_MOST_WRITERS = 4


def upstream_facts(segmenter: SegmenterLike) -> dict[str, Any]:
    """What a run records of the keys of its proposals, so that forms can look them up."""
    return {
        "upstream": segmenter.upstream,
        "upstream_of": key_conditions(segmenter.recipe, segmenter.device),
    }


def key_conditions(recipe: Recipe, device: torch.device) -> dict[str, Any]:
    """What the keys of proposals depend on beside the networks' content and the recipe."""
    dtype = str(resolve_dtype(recipe.precision, device))
    return {"dtype": dtype, "codec": CODEC_VERSION, "pipeline": PIPELINE_VERSION}


def store_of(cache: Cache) -> ProposalStore | None:
    """The store that is meant; None for none.

    Raises:
        StoreError: the default store is meant, and there can be none.
    """
    if isinstance(cache, ProposalStore):
        return cache
    return cache_folder.ProposalStore() if cache else None


def usable_store(cache: Cache) -> tuple[ProposalStore | None, list[str]]:
    """The store that is meant, for what can go on without one; what to note if there can be none.

    Returns:
        The store, None for none, and sentences that a person should know.
    """
    try:
        return store_of(cache), []
    except StoreError as error:
        return None, [f"no proposals are kept, so that another run computes them again: {error}"]


class KeptProposals:
    """A segmenter with a cache: proposals of a known image are read, not computed.

    If the store fails, proposals are computed, and ``finish`` reports it.

    Attributes:
        not_stored: why the store did not take something; None if it took all.
    """

    def __init__(self, segmenter: SegmenterLike, store: ProposalStore | None) -> None:
        """Read and write nothing yet.

        Args:
            segmenter: computes what is not kept. If it does not tell what is ``upstream`` of its
                proposals, none are kept.
            store: where to keep them; None for nowhere.
        """
        self._segmenter = segmenter
        self._cache = None
        if store is not None and segmenter.upstream is not None:
            self._cache = ProposalCache(store, segmenter.upstream, segmenter.fingerprint)
            self._damaged_before = store.counts.damaged
        writers = min(_MOST_WRITERS, max(1, (os.cpu_count() or 1) // 2))
        self._writers = ThreadPoolExecutor(writers, thread_name_prefix="ntt proposals")
        self._room = threading.BoundedSemaphore(writers + 1)
        self._problems: list[str] = []
        self.not_stored: str | None = None

    def recall(self, filepath: str) -> Recalled | None:
        """What is kept of an image's file; None if nothing can be.

        Args:
            filepath: the image's file; None is returned if it cannot be read.
        """
        if self._cache is None:
            return None
        try:
            digest = image_digest(filepath)
            return Recalled(digest, self._cache.load(digest, shown_size(filepath)))
        except ImageError:
            return None

    def propose(self, read: ReadSample) -> Proposals:
        """An image's proposals, as they were kept, or else computed and handed to be kept.

        Raises:
            NttError: as the segmenter's.
        """
        recalled = read.recalled
        if recalled is not None and recalled.proposals is not None:
            return recalled.proposals
        assert read.image is not None
        proposals = self._segmenter.propose(read.image)
        if recalled is not None:
            if self._segmenter.device.type == "cpu":
                # A second thread that computes would slow this one (see ``in_own_thread``).
                proposals = proposals.with_masks_made()
            self._room.acquire()
            self._writers.submit(self._keep, read.sample.filepath, recalled.digest, proposals)
        return proposals

    def use(self, read: ReadSample, function: Callable[[Proposals], _T]) -> _T:
        """Apply a function to an image's proposals.

        If a cached mask is damaged, the proposals are computed again.

        Args:
            read: the sample.
            function: is called again in that case, and must change nothing before it has all the
                masks that it wants.

        Raises:
            NttError: as the segmenter's, or the function's.
        """
        try:
            return function(self.propose(read))
        except RecordError as error:
            assert self._cache is not None and read.recalled is not None
            self._cache.report_damage(read.recalled.digest, error)
            read.recalled = replace(read.recalled, proposals=None)
            read.image = read_image(read.sample.filepath)
            return function(self.propose(read))

    def finish(self) -> list[str]:
        """Wait for pending writes; returns remarks on the store for the report."""
        self._writers.shutdown(wait=True)
        notes = []
        if self._problems:
            notes.append(
                f"the proposals of {len(self._problems)} images were not kept, so that another "
                f"run computes them again: {self._problems[0]}"
            )
        if self._cache is not None:
            counts = self._cache.store.counts
            if damaged := counts.damaged - self._damaged_before:
                notes.append(
                    f"{damaged} kept proposals could not be used and were computed again: "
                    f"{counts.problem}"
                )
        return notes

    def _keep(self, filepath: str, digest: str, proposals: Proposals) -> None:
        assert self._cache is not None
        try:
            if image_digest(filepath) != digest:
                self._problems.append(f"{filepath} was changed during the run.")
            else:
                stored = self._cache.save(digest, proposals)
                if not stored:
                    self.not_stored = str(self._cache.store.counts.problem)
                    self._problems.append(self.not_stored)
        except Exception as error:
            # To keep proposals is a favour; whatever goes wrong, the run has what it needs.
            self._problems.append(str(error) or type(error).__name__)
        finally:
            self._room.release()
