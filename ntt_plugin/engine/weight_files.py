"""Weight files on disk -> plain float32 tensors, or an error that says what is wrong with them.

Two forms are read: a folder in the hub's format (`config.json` beside safetensors, one file or
an index over several) and one of Meta's own `.pt`/`.pth` files, the latter by torch's
weights-only reader, so nothing a stranger hands over is ever run.
"""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..errors import CheckpointError
from .renaming import few

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
CONFIG_FILE = "config.json"

# What Meta's trainer writes beside the weights of SAM 2: no part of the network.
_TRAINER_KEYS = {
    "epoch",
    "loss",
    "optimizer",
    "steps",
    "time_elapsed",
    "best_meter_values",
    "scaler",
}
_ZIP_MAGIC = b"PK\x03\x04"


def is_complete_folder(folder: Path) -> bool:
    """Whether a hub-format folder has its configuration and every weight file it names."""
    if not (folder / CONFIG_FILE).is_file():
        return False
    if (folder / WEIGHTS_FILE).is_file():
        return True
    if not (folder / INDEX_FILE).is_file():
        return False
    return all((folder / shard).is_file() for shard in shard_names(folder))


def read_folder(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read a folder in the hub's format.

    Args:
        folder: holds `config.json` and `model.safetensors`, or an index and its shards.

    Returns:
        The configuration and the tensors by name, floating ones as float32.

    Raises:
        CheckpointError: a file is missing, empty, truncated or not what its name says.
    """
    config_path = folder / CONFIG_FILE
    if not config_path.is_file():
        raise CheckpointError(
            f"{folder} has no {CONFIG_FILE}. A model folder holds {CONFIG_FILE} and {WEIGHTS_FILE},"
            " as `save_pretrained` writes them; one of Meta's own files is given by its own path."
        )
    config = _read_json(config_path)
    if (folder / WEIGHTS_FILE).is_file():
        return config, _floats(_read_safetensors(folder / WEIGHTS_FILE))
    if (folder / INDEX_FILE).is_file():
        state: dict[str, Tensor] = {}
        for shard in shard_names(folder):
            state.update(_read_safetensors(folder / shard))
        return config, _floats(state)
    raise CheckpointError(
        f"{folder} has no {WEIGHTS_FILE}. Only safetensors are read from a folder (a"
        " pytorch_model.bin is not opened): load the model where it came from and write it again"
        " with `save_pretrained`."
    )


def read_meta_file(path: Path) -> dict[str, Tensor]:
    """Read one of Meta's own `.pt`/`.pth` files with torch's weights-only reader.

    Args:
        path: the file; a dictionary of tensors, or one under the key `model`.

    Returns:
        The tensors by Meta's names, floating ones as float32.

    Raises:
        CheckpointError: the file is empty, truncated, holds anything but tensors, or was not
            written by `torch.save`.
    """
    _require_content(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(_unpickling_message(path)) from error
    # A damaged file makes the reader fail in any way whatever.
    except Exception as error:
        raise CheckpointError(
            f"{path} cannot be read: it is truncated or damaged ({_first_line(error)})."
            " Delete it and download it again."
        ) from error
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        others = sorted(str(key) for key in content if key not in _TRAINER_KEYS | {"model"})
        if others:
            raise CheckpointError(
                f"{path} holds more than a network under 'model': {few(others)}."
                " Save only {'model': weights} and give that file."
            )
        content = content["model"]
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(
            f"{path} holds no dictionary of weights: give a SAM 2 or DINOv2 file."
        )
    strangers = [str(key) for key, value in content.items() if not isinstance(value, Tensor)]
    if strangers:
        raise CheckpointError(
            f"{path} holds things that are no tensors: {few(strangers)}."
            " Give a file of weights alone."
        )
    return _floats({str(key): value for key, value in content.items()})


def digest(state: Mapping[str, Tensor]) -> str:
    """Fingerprint of a network's weights, whatever file they came from.

    Args:
        state: tensors by their hub name, float32.

    Returns:
        The first 16 hexadecimal digits of the SHA-256 over sorted names, shapes and bytes.
    """
    sha = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].contiguous()
        sha.update(f"{name}{tuple(tensor.shape)}".encode())
        sha.update(tensor.flatten().numpy().data)
    return sha.hexdigest()[:16]


def require_finite(state: Mapping[str, Tensor], where: str) -> None:
    """Refuse weights with a NaN or an infinity: they would silently empty every result.

    Raises:
        CheckpointError: names the first such tensor.
    """
    for name, tensor in state.items():
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(
                f"{where}: the weight {name} holds values that are no numbers. The file is damaged:"
                " delete it and download or write it again."
            )


def shard_names(folder: Path) -> list[str]:
    """The weight files that a folder's index names, sorted.

    Raises:
        CheckpointError: the index is no index, or names a file outside its folder.
    """
    weight_map = _read_json(folder / INDEX_FILE).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(
            f"{folder / INDEX_FILE} has no weight_map: download the folder again."
        )
    names = sorted({str(name) for name in weight_map.values()})
    for name in names:
        if Path(name).name != name:
            raise CheckpointError(
                f"{folder / INDEX_FILE} names {name!r}, which is not a file of its own folder."
                " Do not use this folder; take the model from where it was published."
            )
    return names


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise CheckpointError(f"{path} is missing, though the index names it: download it again.")
    _require_content(path)
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} cannot be read: it is truncated or damaged ({_first_line(error)})."
            " Delete it and download or write it again."
        ) from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} is not readable as JSON ({_first_line(error)}): download or write it again."
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds no JSON object: download or write it again.")
    return content


def _require_content(path: Path) -> None:
    if path.stat().st_size == 0:
        raise CheckpointError(f"{path} is empty: delete it and download or write it again.")


def _unpickling_message(path: Path) -> str:
    with path.open("rb") as file:
        written_by_torch = file.read(4) == _ZIP_MAGIC
    if written_by_torch:
        return (
            f"{path} holds Python objects beside its tensors. Opening them would run code from the"
            " file, so it is refused. Give the file that Meta published, or save the weights alone:"
            " torch.save({'model': model.state_dict()}, path)."
        )
    return (
        f"{path} is no file of weights that can be opened safely: it is a foreign pickle (refused,"
        " since opening it would run code from the file), damaged, or not a file of torch at all."
        " Give the file that Meta published."
    )


def _floats(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k: v.to(torch.float32) if v.is_floating_point() else v for k, v in state.items()}


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
