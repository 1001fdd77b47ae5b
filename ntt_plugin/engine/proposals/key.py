"""Under which key an image's proposals are kept: its content, and all that happens to it before.

Whatever changes a proposal changes the key, so that nothing is ever read that a first pass would
compute otherwise. What comes after the proposals (bank, thresholds of matching) has no part in it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ..images.image_file import open_image
from ..images.load import READING_VERSION, ImageLike, read_image, reading_changed
from ..recipe import Recipe
from .codec import CODEC_VERSION

PIPELINE_VERSION = 1
"""To be raised by whoever changes what networks' code or pooling give for an image.

Whoever changes how some files are read raises ``READING_VERSION``, and has ``reading_changed``
tell these files: the proposals of all others stay.
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
    }
)
"""Fields of a recipe that proposals do not depend on; a field that is new counts as one they do."""

# Their names say less than the digests and the dtype that stand in for them.
_REPLACED = frozenset({"segmenter", "encoder", "precision"})

# Of a network's configuration, what does not change what it computes.
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
    """What a network computes with beside its weights (heads, windows, epsilons), as a text.

    Args:
        configuration: the network's, as ``transformers`` gives it by ``to_dict()``.
    """
    return json.dumps(_computed(configuration), sort_keys=True, default=str)


def upstream_digest(
    recipe: Recipe,
    segmenter_digest: str,
    encoder_digest: str,
    dtype: torch.dtype,
    architectures: Sequence[str],
) -> str:
    """One text for everything but the image that proposals depend on; computed once a run.

    The device has no part in it: one that computes in the same dtype differs in last bits only.

    Args:
        recipe: its fields after the proposals do not matter.
        segmenter_digest: of the segmenter's weights, as ``LoadedModel.digest``.
        encoder_digest: of the encoder's weights.
        dtype: what the recipe's precision came to on the device.
        architectures: the ``architecture`` of each network.
    """
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
            if field not in AFTER_PROPOSALS | _REPLACED
        },
    }
    return _hash(json.dumps(upstream, sort_keys=True).encode())


def image_digest(image: ImageLike) -> str:
    """A digest of an image's content: of its file's bytes, or else of its pixels.

    An image given as a file and as pixels has two digests, and is then computed twice. A file
    that this version may read otherwise than former ones has another digest than theirs, so that
    proposals of wrongly read images are never found.

    Raises:
        ImageError: the file is missing, too large or no image, or the image is of a form that
            the engine refuses.
    """
    if not isinstance(image, (str, Path)):
        picture = read_image(image)
        return _hash(f"pixels {picture.size}".encode(), picture.tobytes())
    path = Path(image)
    # The header first: what is no image may be endless.
    with open_image(path) as opened, path.open("rb") as file:
        reading = f" {READING_VERSION}" if reading_changed(opened) else ""
        digest = hashlib.blake2b(f"file{reading}".encode(), digest_size=_DIGEST_BYTES)
        left = os.fstat(file.fileno()).st_size
        while left > 0 and (chunk := file.read(min(_CHUNK, left))):
            digest.update(chunk)
            left -= len(chunk)
    return digest.hexdigest()


def proposal_key(image: str, upstream: str) -> str:
    """The key of an image's proposals, 64 hexadecimal digits.

    Args:
        image: its ``image_digest``.
        upstream: the ``upstream_digest`` of the run.
    """
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
