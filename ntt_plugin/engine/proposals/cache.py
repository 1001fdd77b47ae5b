"""Cache of proposals, keyed by the digests of the image and of the networks and recipe."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import inf, isfinite
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image

from ..bank.memory_bank import Fingerprint
from ..images.image_file import header_notes, open_image, pixel_limit, sizes_of
from ..images.known_files import KnownFiles
from ..images.load import ImageLike, read_image, reading_of
from ..images.pixel_values import needs_pixels
from ..masks.packed import RecordError
from ..recipe import Recipe
from .codec import CODEC_VERSION, decode_proposals, encode_proposals
from .proposals import Proposals
from .store import ProposalStore

# Of a unit-length feature, with room for rounding.
_LONGEST = 1.01


class ProposalCache:
    """The cached proposals of one segmenter; thread-safe.

    Attributes:
        store: where proposals are stored; its ``counts`` tell hits and misses.
    """

    def __init__(self, store: ProposalStore, upstream: str, fingerprint: Fingerprint) -> None:
        """Use a store, for the segmenter with this ``upstream`` and ``fingerprint``."""
        self.store = store
        self._upstream = upstream
        self._fingerprint = fingerprint

    def load(self, image: str, image_size: tuple[int, int] | None = None) -> Proposals | None:
        """Load an image's proposals to the CPU; None if they are missing or damaged.

        Values are validated, since a checksum does not protect against whoever can write to the
        store. Masks are decoded on access, which may raise ``RecordError``: call
        ``report_damage`` then.

        ``image`` is its ``image_digest``; ``image_size`` its (H, W), if it is known.
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
        """Count proposals that ``load`` gave as a miss after all: a mask could not be decoded."""
        self.store.report_damage(proposal_key(image, self._upstream), str(error))

    def save(self, image: str, proposals: Proposals) -> bool:
        """Store the proposals of an image (its ``image_digest``); whether they were stored."""
        return self.store.put(proposal_key(image, self._upstream), encode_proposals(proposals))


def _require_plausible(
    proposals: Proposals, channels: int, image_size: tuple[int, int] | None
) -> None:
    """Raise ``RecordError`` for another size or encoder, or a number that no network gives."""
    if image_size is not None and proposals.image_size != image_size:
        raise RecordError(f"it is of an image of the size {proposals.image_size}")
    if not len(proposals):
        return
    if proposals.features.shape[1] != channels:
        raise RecordError(f"its features have {proposals.features.shape[1]} channels")
    numbers = ((proposals.ious, inf), (proposals.boxes, inf), (proposals.features, _LONGEST))
    if proposals.sources is not None and (proposals.sources < -1).any():
        raise RecordError("it names candidates that cannot be")
    stability = proposals.stability
    if stability is not None and not ((stability >= 0) & (stability <= 1)).all():
        raise RecordError("it holds a stability that cannot be")
    for values, most in numbers:
        # One that is NaN makes both NaN, which no comparison holds of.
        array = values.numpy()
        low, high = float(array.min()), float(array.max())
        if not (isfinite(low) and isfinite(high) and -most <= low and high <= most):
            raise RecordError("it holds numbers that no network gives")


PIPELINE_VERSION = 1
"""Raise it when the networks' code or the pooling gives other values for an image.

When some files are read differently, raise ``READING_VERSION`` and let ``reading_of`` name these
files: the proposals of all others stay valid.
"""

AFTER_PROPOSALS = frozenset(
    {
        "name",
        "context_ratio",
        "point_batch",
        "nms_iou",
        "max_instances",
        "candidate_factor",
        "rescoring",
        "merge_exponent",
        "negative_sigma",
        "iou_exponent",
        "box_points",
    }
)
"""Fields that proposals of the grid do not depend on; they depend on every other field."""

# Replaced by the networks' digests and the dtype, which say more; and by whether it is above 0.
_REPLACED = frozenset({"segmenter", "encoder", "precision", "stability_exponent"})

_OF_TILES = frozenset({"tile", "tile_overlap"})

# Fields of a network's configuration that do not change what it computes.
_NOT_COMPUTED = frozenset(
    {
        "_name_or_path",
        "architectures",
        "dtype",
        "id2label",
        "initializer_range",
        "label2id",
        "problem_type",
        "transformers_version",
    }
)

_DIGEST_BYTES = 32
_CHUNK = 1 << 20


def architecture(configuration: Mapping[str, Any]) -> str:
    """A network's configuration (``to_dict()`` of ``transformers``) as text, for the cache key."""
    return json.dumps(_computed(configuration), sort_keys=True, default=str)


def upstream_digest(
    recipe: Recipe,
    segmenter_digest: str,
    encoder_digest: str,
    dtype: torch.dtype,
    architectures: Sequence[str],
) -> str:
    """Digest of everything but the image that proposals depend on.

    The device is left out: with the same dtype, results differ in the last bits only.

    Args:
        recipe: its fields after the proposals do not matter.
        segmenter_digest: of the segmenter's weights, as ``LoadedModel.digest``.
        encoder_digest: of the encoder's weights.
        dtype: what the recipe's precision came to on the device.
        architectures: the ``architecture`` of each network.
    """
    # Proposals of the versions before tiles and squares stay valid.
    without = _OF_TILES if recipe.tile is None else frozenset()
    without |= {"encoding"} if recipe.encoding == "whole" else frozenset()
    measured = recipe.stability_exponent > 0
    across_tiles = recipe.tile is not None and recipe.duplicate_iou is not None
    upstream = {
        "codec": CODEC_VERSION,
        "pipeline": PIPELINE_VERSION,
        "segmenter_digest": segmenter_digest,
        "encoder_digest": encoder_digest,
        "dtype": str(dtype),
        "architectures": list(architectures),
        "recipe": {
            field: value
            for field, value in asdict(recipe).items()
            if field not in AFTER_PROPOSALS | _REPLACED | without
        },
        **({"stability": True} if measured else {}),
        # Former versions compared no masks of two tiles.
        **({"duplicates": "across tiles"} if across_tiles else {}),
    }
    return _hash(json.dumps(upstream, sort_keys=True).encode())


def image_digest(image: ImageLike) -> str:
    """Digest of an image's content: of its file's bytes, or of its pixels.

    The same image as a file and as pixels has two digests. Files that earlier versions read
    differently get another digest, so that their stale proposals are not used.

    Raises:
        ImageError: the file is missing, too large or no image, or the image is of a form that
            the engine refuses.
    """
    if not isinstance(image, (str, Path)):
        picture = read_image(image)
        return _hash(f"pixels {picture.size}".encode(), picture.tobytes())
    path = Path(image)
    # The header first: what is no image may be endless.
    with open_image(path) as opened:
        return _file_digest(opened, path)


class FileFacts(NamedTuple):
    """What is known of an image file without its pixels; shared, so not to be changed.

    Attributes:
        digest: its ``image_digest``.
        size: its ``shown_size``, (H, W).
        notes: its ``image_notes``; None if its header does not tell them.
    """

    digest: str
    size: tuple[int, int]
    notes: list[str] | None


# By the limit on pixels: with another one other files are refused.
_known_files: dict[int, KnownFiles[FileFacts]] = {}


def file_facts(path: str | Path) -> FileFacts:
    """What is known of an image file without its pixels, opening it once.

    A file that this process has asked of and that did not change since is not read again.

    Raises:
        ImageError: as ``image_digest``.
    """
    known = _known_files.setdefault(pixel_limit(), KnownFiles())
    return known.ask(str(path), lambda: _read_facts(Path(path)))


def _read_facts(path: Path) -> FileFacts:
    with open_image(path) as opened:
        digest, size = _file_digest(opened, path), sizes_of(opened).shown
        try:
            return FileFacts(digest, size, None if needs_pixels(opened) else header_notes(opened))
        # PIL may look for further pictures in a file, and raises many things.
        except Exception:
            return FileFacts(digest, size, None)


def _file_digest(opened: Image.Image, path: Path) -> str:
    version = reading_of(opened)
    reading = f" {version}" if version > 1 else ""
    digest = hashlib.blake2b(f"file{reading}".encode(), digest_size=_DIGEST_BYTES)
    with path.open("rb") as file:
        left = os.fstat(file.fileno()).st_size
        while left > 0 and (chunk := file.read(min(_CHUNK, left))):
            digest.update(chunk)
            left -= len(chunk)
    return digest.hexdigest()


def digest_with_candidates(image: str, candidates: str) -> str:
    """What stands for an ``image_digest`` where proposals depend on candidates, too.

    ``candidates`` is the ``candidates_digest`` of an image.
    """
    return _hash(f"{image} {candidates}".encode())


def proposal_key(image: str, upstream: str) -> str:
    """Key of an image's proposals from its ``image_digest`` and the ``upstream_digest``, in hex."""
    return _hash(f"{image} {upstream}".encode())


def _computed(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {str(key): _computed(item) for key, item in value.items() if key not in _NOT_COMPUTED}


def _hash(*parts: bytes) -> str:
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
