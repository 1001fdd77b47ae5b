"""Cached proposals: looked up before an image is read, written while the next one is computed."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from PIL import Image

from ...engine.device.device import resolve_dtype
from ...engine.images.load import read_image
from ...engine.masks.packed import RecordError
from ...engine.proposals.cache import (
    PIPELINE_VERSION,
    ProposalCache,
    digest_with_candidates,
    file_facts,
    image_digest,
)
from ...engine.proposals.candidates import candidates_digest
from ...engine.proposals.codec import CODEC_VERSION
from ...engine.proposals.proposals import Proposals
from ...engine.proposals.store import ProposalStore
from ...engine.recipe import Recipe
from ...errors import ImageError
from ..handler import tell_alive
from ..labels.given_candidates import GivenCandidates, given_candidates
from .networks import SegmenterLike
from .reading import ReadImage

_T = TypeVar("_T")

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


class CachedProposals:
    """A segmenter with a cache: proposals of a known image are read, not computed.

    A store that cannot be used stops nothing: ``troubles`` has what happened.

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
        self._problems = 0
        self._first_problem = ""
        self.not_stored: str | None = None

    def recall(self, read: ReadImage) -> None:
        """Look up an image's cached proposals; nothing is set if its file cannot be read."""
        if self._cache is None:
            return
        try:
            facts = file_facts(read.filepath)
        except ImageError:
            return
        read.digest, read.size, read.header_notes = facts
        given = given_candidates(read.item.content)
        read.key = _key(facts.digest, given, self._segmenter.recipe.box_points)
        read.proposals = self._cache.load(read.key, facts.size)

    def use(self, read: ReadImage, function: Callable[[Proposals], _T]) -> _T:
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
                assert self._cache is not None and read.key is not None
                self._cache.report_damage(read.key, error)
                read.image = read_image(read.filepath)
        assert read.image is not None
        proposals = self._propose(read.image, given_candidates(read.item.content))
        if read.digest is not None and read.key is not None:
            if self._segmenter.device.type == "cpu":
                # A second thread that computes would slow this one: libgomp's threads no longer
                # spin once they are more than the cores.
                proposals = proposals.with_masks_made()
            self._room.acquire()
            self._writers.submit(self._keep, read.filepath, read.digest, read.key, proposals)
        return function(proposals)

    def troubles(self) -> dict[str, Any]:
        """What went wrong with the store so far, in counts and words; empty if nothing did."""
        found: dict[str, Any] = {}
        if self._problems:
            found |= {"not_kept": self._problems, "why_not_kept": self._first_problem}
        if self.not_stored is not None:
            found["not_stored"] = self.not_stored
        if self._cache is not None:
            counts = self._cache.store.counts
            if damaged := counts.damaged - self._damaged_before:
                found |= {"damaged": damaged, "why_damaged": str(counts.problem)}
        return found

    def close(self) -> None:
        """Wait for pending writes."""
        self._writers.shutdown(wait=True)

    def _propose(self, image: Image.Image, given: GivenCandidates | None) -> Proposals:
        if given is None:
            return self._segmenter.propose(image, progress=_tell_look)
        return self._segmenter.propose_candidates(
            image, given.candidates, grid=given.grid, progress=_tell_look
        )

    def _keep(self, filepath: str, digest: str, key: str, proposals: Proposals) -> None:
        assert self._cache is not None
        try:
            if image_digest(filepath) != digest:
                self._note(f"{filepath} was changed during the run.")
            elif not self._cache.save(key, proposals):
                self.not_stored = str(self._cache.store.counts.problem)
                self._note(self.not_stored)
        except Exception as error:
            # To keep proposals is a favour; whatever goes wrong, the run has what it needs.
            self._note(str(error) or type(error).__name__)
        finally:
            self._room.release()

    def _note(self, problem: str) -> None:
        self._first_problem = self._first_problem or problem
        self._problems += 1


def _tell_look(done: int, total: int) -> None:
    """A tile was looked at: a worker is alive, however many there are."""
    tell_alive()


def _key(image: str, given: GivenCandidates | None, box_points: int) -> str:
    """What an image's proposals are kept under: its digest, with that of candidates."""
    if given is None:
        return image
    digest = candidates_digest(given.candidates, given.grid, box_points)
    return digest_with_candidates(image, digest)
