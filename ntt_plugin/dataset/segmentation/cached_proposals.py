"""Cached proposals: looked up before an image is read, written while the next one is computed."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import torch

from ...engine.device.device import resolve_dtype
from ...engine.images.load import read_image, shown_size
from ...engine.masks.packed import RecordError
from ...engine.proposals.cache import PIPELINE_VERSION, ProposalCache, image_digest
from ...engine.proposals.codec import CODEC_VERSION
from ...engine.proposals.proposals import Proposals
from ...engine.proposals.store import ProposalStore
from ...engine.recipe import Recipe
from ...errors import ImageError, NoFileHandlesError, StoreError
from ..networks import SegmenterLike
from ..runtime import caching
from ..runtime.progress_bar import Progress
from ..samples.checks import dataset_of
from .pipeline import ReadingAhead, ReadSample, fetch_samples
from .report import SampleNote

_T = TypeVar("_T")

Cache = bool | ProposalStore
"""True for the default store, False for none, or a store."""

# Proposals that wait to be written hold their masks, on a GPU their logits: 100 MB for an image in
# the preset `paper`.
_MOST_WRITERS = 4


def upstream_facts(segmenter: SegmenterLike) -> dict[str, Any]:
    """What a run records about the cache keys of its proposals, so that forms can look them up."""
    return {
        "upstream": segmenter.upstream,
        "upstream_of": key_conditions(segmenter.recipe, segmenter.device),
    }


def key_conditions(recipe: Recipe, device: torch.device) -> dict[str, Any]:
    """What the cache keys depend on beside the networks' content and the recipe."""
    dtype = str(resolve_dtype(recipe.precision, device))
    return {"dtype": dtype, "codec": CODEC_VERSION, "pipeline": PIPELINE_VERSION}


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


class CachedProposals:
    """A segmenter with a cache: proposals of a known image are read, not computed.

    A store that cannot be used stops nothing: ``finish`` reports it.

    Attributes:
        not_stored: why the store did not take something; None if it took all.
    """

    def __init__(self, segmenter: SegmenterLike, store: ProposalStore | None) -> None:
        """Read and write nothing yet.

        Nothing is cached without a store, or if the segmenter does not tell what is ``upstream`` of
        its proposals.
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

    def recall(self, read: ReadSample) -> None:
        """Look up a sample's cached proposals; nothing is set if its file cannot be read."""
        if self._cache is None:
            return
        filepath = read.sample.filepath
        try:
            digest = image_digest(filepath)
            read.proposals = self._cache.load(digest, shown_size(filepath))
            read.digest = digest
        except ImageError:
            return

    def use(self, read: ReadSample, function: Callable[[Proposals], _T]) -> _T:
        """Apply a function to an image's proposals: cached ones, or computed and cached now.

        If a cached mask is damaged, the proposals are computed again.

        ``function`` is called again in that case, and must change nothing before it has all
        the masks that it wants.

        Raises:
            NttError: as the segmenter's, or the function's.
        """
        if read.proposals is not None:
            try:
                return function(read.proposals)
            except RecordError as error:
                assert self._cache is not None and read.digest is not None
                self._cache.report_damage(read.digest, error)
                read.image = read_image(read.sample.filepath)
        assert read.image is not None
        proposals = self._segmenter.propose(read.image)
        if read.digest is not None:
            if self._segmenter.device.type == "cpu":
                # A second thread that computes would slow this one (see ``in_own_thread``).
                proposals = proposals.with_masks_made()
            self._room.acquire()
            self._writers.submit(self._keep, read.sample.filepath, read.digest, proposals)
        return function(proposals)

    def each_image(
        self, images: Any, work: Callable[[ReadSample], None], progress: Progress
    ) -> tuple[list[SampleNote], int]:
        """Work on each image; gives those that failed, with reasons, and how many were deleted.

        ``images`` are not grouped; ``work`` gets each sample with its image or cached
        proposals.

        Raises:
            NoFileHandlesError, StoreError: the work's; they concern every image.
        """
        fetch = partial(fetch_samples, dataset_of(images), [])
        failed, deleted = [], 0
        with ReadingAhead(
            fetch, images.values("id"), recall=self.recall, progress=progress
        ) as ahead:
            for read in ahead:
                if read.sample is None and read.error is None:
                    deleted += 1
                    continue
                try:
                    if read.error is not None:
                        raise read.error
                    work(read)
                except (NoFileHandlesError, StoreError):
                    raise
                except Exception as error:
                    failed.append(read.note(error))
        return failed, deleted

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
