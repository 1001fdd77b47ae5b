"""Under which key an image's proposals are kept: its content, and all that happens to it before.

Whatever changes a proposal changes the key, so that nothing is ever read that a first pass would
compute otherwise. What comes after the proposals (bank, thresholds of matching) has no part in it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ..errors import ImageError
from .config import Recipe
from .images import ImageLike, read_image
from .proposal_codec import CODEC_VERSION

PIPELINE_VERSION = 1
"""To be raised by whoever changes what reading, networks' code or pooling give for an image."""

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

    An image given as a file and as pixels has two digests, and is then computed twice.

    Raises:
        ImageError: the file cannot be read, or the image is of a form that the engine refuses.
    """
    if not isinstance(image, (str, Path)):
        picture = read_image(image)
        return _hash(f"pixels {picture.size}".encode(), picture.tobytes())
    digest = hashlib.blake2b(b"file", digest_size=_DIGEST_BYTES)
    try:
        # Opening a pipe would wait for its writer.
        if not Path(image).is_file():
            raise FileNotFoundError("there is no such file")
        with Path(image).open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except (OSError, ValueError) as error:
        raise ImageError(
            f"Cannot read the image {image} ({error}); check that it is there and may be read."
        ) from error
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
