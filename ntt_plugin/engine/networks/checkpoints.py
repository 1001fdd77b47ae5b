"""A network's name or path -> verified weights -> a loaded network.

A name is a hub id (`facebook/sam2-hiera-large`), "tiny" (the bundled networks), a folder in the
hub's format, or one of Meta's own files of SAM 2, SAM 2.1 or DINOv2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.utils.tqdm import are_progress_bars_disabled
from torch import Tensor, nn
from transformers import Dinov2Model, Dinov2WithRegistersConfig, Dinov2WithRegistersModel, Sam2Model
from transformers.utils import logging as hub_logging

from ...errors import CheckpointError
from ..device.batching import is_out_of_memory
from . import convert_dinov2, convert_sam2
from .convert_sam2 import HieraTraits
from .hub import download, find_cached, find_in_zoo, suggestion
from .weights import (
    count_values,
    digest,
    read_config,
    read_meta_file,
    read_weights,
    require_finite,
    shorten,
)

BUNDLED = Path(__file__).parent / "bundled"
"""The tiny networks that come with the package: `segmenter` and `encoder`, in the hub's format."""

_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_META_SUFFIXES = {".pt", ".pth"}
# Files may hold parts that are not loaded (SAM 2's memory of videos). If their size differs by
# more than this from what the configuration asks for, the two do not belong together.
_SIZE_FACTOR = 2
_SIZE_SLACK = 50_000_000
_FORMS = (
    "a hub id such as facebook/sam2-hiera-large or facebook/dinov2-large, 'tiny', a folder with"
    " config.json and model.safetensors, or one of Meta's own .pt or .pth files"
)


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A network ready to run.

    Attributes:
        model: on the CPU, float32, in evaluation mode, without gradients.
        name: as it was given.
        digest: of its weights; the same network from another file or format has the same.
    """

    model: nn.Module
    name: str
    digest: str


def load_segmenter(
    name: str | Path, zoo_dirs: Sequence[Path] = (), traits: HieraTraits | None = None
) -> LoadedModel:
    """Load a SAM 2.0 or 2.1 network of any size as a `Sam2Model` (recipe section 8).

    Args:
        name: hub id, "tiny", folder or Meta's own file.
        zoo_dirs: folders where Meta's file of a hub id is looked for before it is downloaded.
        traits: of one of Meta's files, what its shapes do not show; only for a size that Meta did
            not publish.

    Raises:
        CheckpointError: not found, not readable, or another architecture.
    """
    source = _locate(name, "segmenter", zoo_dirs)
    if source.is_dir():
        raw = read_config(source)
        _require_type(raw, ("sam2", "sam2_video"), source, "a SAM 2 segmenter")
        config = convert_sam2.config_from_hub(raw, str(source))
        _require_size(Sam2Model, config, source)
        state = {
            k: v
            for k, v in read_weights(source).items()
            if not k.startswith(convert_sam2.HUB_UNUSED)
        }
    else:
        state = read_meta_file(source)
        _require_kind(state, "SAM 2", source)
        state = convert_sam2.from_meta(state, str(source))
        config = convert_sam2.infer_config(state, str(source), traits)
    state = convert_sam2.share_positional_matrix(state, str(source))
    return _load(Sam2Model, config, state, source, str(name))


def load_encoder(
    name: str | Path, zoo_dirs: Sequence[Path] = (), heads: int | None = None
) -> LoadedModel:
    """Load a DINOv2 network of any size as a `Dinov2Model` or `Dinov2WithRegistersModel`.

    Args:
        name: hub id, "tiny", folder or Meta's own file.
        zoo_dirs: folders where Meta's file of a hub id is looked for before it is downloaded.
        heads: of one of Meta's files, its attention heads, which shapes do not show; only for a
            size that Meta did not publish.

    Raises:
        CheckpointError: not found, not readable, or another architecture.
    """
    source = _locate(name, "encoder", zoo_dirs)
    if source.is_dir():
        raw = read_config(source)
        _require_type(raw, ("dinov2", "dinov2_with_registers"), source, "a DINOv2 encoder")
        config = convert_dinov2.config_from_hub(raw, str(source))
        _require_size(_dinov2_of(config), config, source)
        state = read_weights(source)
    else:
        state = read_meta_file(source)
        _require_kind(state, "DINOv2", source)
        state = convert_dinov2.from_meta(state, str(source))
        config = convert_dinov2.infer_config(state, str(source), heads)
    return _load(_dinov2_of(config), config, state, source, str(name))


def _locate(name: str | Path, role: str, zoo_dirs: Sequence[Path]) -> Path:
    text = str(name)
    if text == "tiny":
        if not (BUNDLED / role).is_dir():
            raise CheckpointError(
                f"The bundled {role} is missing from this installation ({BUNDLED / role}): install"
                " the package again."
            )
        return BUNDLED / role
    try:
        path = Path(name).expanduser()
        path.exists()
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(
            f"{text[:80]!r} is no name that a file can have ({reason}). The {role} is {_FORMS}."
        ) from error
    if text and path.is_dir():
        return path
    if path.is_file():
        if path.suffix in _META_SUFFIXES:
            return path
        raise CheckpointError(
            f"{path} is neither a .pt nor a .pth file of Meta's. Of a model in the hub's format"
            " give the folder, not a file in it."
        )
    if text and path.exists():
        raise CheckpointError(
            f"{path} is neither a file nor a folder, but a pipe or a device."
            f" The {role} is {_FORMS}."
        )
    is_weight_file = path.suffix in _META_SUFFIXES | {".safetensors", ".bin"}
    if isinstance(name, str) and _HUB_ID.fullmatch(text) and not is_weight_file:
        return find_cached(text) or find_in_zoo(text, zoo_dirs) or download(text)
    if is_weight_file or "/" in text or path.is_absolute():
        raise CheckpointError(f"There is no file or folder {path}. The {role} is {_FORMS}.")
    raise CheckpointError(f"{text!r} is no {role}.{suggestion(text)} The {role} is {_FORMS}.")


def _require_type(
    config: Mapping[str, Any], types: tuple[str, ...], folder: Path, wanted: str
) -> None:
    found = config.get("model_type")
    if found not in types:
        raise CheckpointError(
            f"{folder} holds a network of type {found!r}, and {wanted} is needed here"
            f" (model_type {' or '.join(types)}): give another one."
        )


def _require_kind(state: Mapping[str, Tensor], wanted: str, path: Path) -> None:
    found = _kind(state)
    if found != wanted:
        raise CheckpointError(
            f"{path} is {found or 'a network of an unknown kind'}, and a {wanted} network is needed"
            f" here. Its weights begin with {shorten(state, most=3)}."
        )


def _kind(state: Mapping[str, Tensor]) -> str | None:
    if any(key.startswith("image_encoder.trunk.") for key in state):
        return "SAM 2"
    if "image_encoder.patch_embed.proj.weight" in state:
        return "SAM 1"
    if "cls_token" in state and "patch_embed.proj.weight" in state:
        return "DINOv2"
    return None


def _dinov2_of(config: Any) -> Any:
    registers = isinstance(config, Dinov2WithRegistersConfig)
    return Dinov2WithRegistersModel if registers else Dinov2Model


def _require_size(network: Any, config: Any, folder: Path) -> None:
    """Refuse a configuration that asks for a network of quite another size than its weights.

    Before anything is allocated: on the meta device parameters take no memory.
    """
    held = count_values(folder)
    try:
        with torch.device("meta"):
            asked = sum(parameter.numel() for parameter in network(config).parameters())
    # A configuration with impossible sizes fails wherever they are first used.
    except Exception as error:
        raise _cannot_be_built(network, folder, error) from error
    if not held / _SIZE_FACTOR - _SIZE_SLACK <= asked <= _SIZE_FACTOR * held + _SIZE_SLACK:
        raise CheckpointError(
            f"{folder}: its config.json describes a network of {asked:,} weights, and its files"
            f" hold {held:,}. They do not belong together: download the folder again, or give"
            " another one."
        )


def _cannot_be_built(network: Any, source: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{source}: no {network.__name__} can be built as its configuration says ({error})."
        " Download it again, or give another one."
    )


def _load(
    network: Any, config: Any, state: dict[str, Tensor], source: Path, name: str
) -> LoadedModel:
    """Put verified weights into a network; every weight must find its place and none be missing.

    transformers renames parameters between its versions, and `from_pretrained` knows from what:
    so the hub's names go through it, not straight into the modules.
    """
    require_finite(state, str(source))
    try:
        with _quiet():
            model, info = network.from_pretrained(
                None,
                config=config,
                state_dict=dict(state),
                dtype=torch.float32,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    # A configuration with impossible sizes fails wherever they are first used.
    except Exception as error:
        if is_out_of_memory(error):
            raise CheckpointError(
                f"There is not enough memory to load {source}. Close other programs, or choose a"
                " smaller network (the presets 'fast' and 'tiny' have smaller ones)."
            ) from error
        raise _cannot_be_built(network, source, error) from error
    problems = {
        "lacks": [str(key) for key in info["missing_keys"]],
        "has no place for": [str(key) for key in info["unexpected_keys"]],
        "has another shape for": [str(entry[0]) for entry in info["mismatched_keys"]],
    }
    found = [f"{what} {shorten(keys)}" for what, keys in problems.items() if keys]
    if found:
        raise CheckpointError(
            f"{source} does not fit {network.__name__}: it {'; '.join(found)}."
            " It is incomplete or another architecture: download it again, or give another one."
        )
    return LoadedModel(model.eval().requires_grad_(False), name, digest(state))


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence transformers' report and progress bar; errors are raised as our own."""
    verbosity = hub_logging.get_verbosity()
    bars = hub_logging.is_progress_bar_enabled() and not are_progress_bars_disabled()
    hub_logging.set_verbosity_error()
    if bars:
        hub_logging.disable_progress_bar()
    try:
        yield
    finally:
        hub_logging.set_verbosity(verbosity)
        if bars:
            hub_logging.enable_progress_bar()
