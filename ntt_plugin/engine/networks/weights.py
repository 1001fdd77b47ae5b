"""Weight files on disk -> plain float32 tensors, or an error that says what is wrong with them.

Two forms are read: a folder in the hub's format (`config.json` beside safetensors, one file or
an index over several) and one of Meta's own `.pt`/`.pth` files, the latter by torch's
weights-only reader, so no code from a file is ever executed.
"""

from __future__ import annotations

import hashlib
import json
import math
import pickle
import stat
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ...errors import CheckpointError
from ..device.batching import is_out_of_memory

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

# The largest published network that is read, DINOv2-giant, has 4.5 GB; its header 0.1 MB.
MAX_WEIGHT_BYTES = 16 * 2**30
_MAX_JSON_BYTES = 16 * 2**20
_MAX_SHARDS = 1000
_LENGTH_BYTES = 8


def is_complete_folder(folder: Path) -> bool:
    """Whether a hub-format folder has its configuration and every weight file it names."""
    if not (folder / CONFIG_FILE).is_file():
        return False
    if (folder / WEIGHTS_FILE).is_file():
        return True
    if not (folder / INDEX_FILE).is_file():
        return False
    return all((folder / shard).is_file() for shard in shard_names(folder))


def read_config(folder: Path) -> dict[str, Any]:
    """The `config.json` of a folder in the hub's format.

    Raises:
        CheckpointError: the file is missing or no JSON object.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise CheckpointError(
            f"{folder} has no {CONFIG_FILE}. A model folder holds {CONFIG_FILE} and {WEIGHTS_FILE},"
            " as `save_pretrained` writes them; one of Meta's own files is given by its own path."
        )
    return _read_json(path)


def count_values(folder: Path) -> int:
    """Number of values in a folder's weight files, read from their headers alone.

    Raises:
        CheckpointError: a file is missing, empty, too large, or its header is damaged.
    """
    return sum(_count_values(path) for path in _weight_paths(folder))


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The tensors of a folder in the hub's format by name, floating ones as float32.

    Raises:
        CheckpointError: a file is missing, empty, truncated or not what its name says, or there is
            not enough memory.
    """
    state: dict[str, Tensor] = {}
    for path in _weight_paths(folder):
        state.update(_read_safetensors(path))
    return _floats(state, folder)


def _weight_paths(folder: Path) -> list[Path]:
    if (folder / WEIGHTS_FILE).is_file():
        return [folder / WEIGHTS_FILE]
    if (folder / INDEX_FILE).is_file():
        return [folder / shard for shard in shard_names(folder)]
    raise CheckpointError(
        f"{folder} has no {WEIGHTS_FILE}. Only safetensors are read from a folder (a"
        " pytorch_model.bin is not opened): load the model where it came from and write it again"
        " with `save_pretrained`."
    )


def read_meta_file(path: Path) -> dict[str, Tensor]:
    """Read one of Meta's own `.pt`/`.pth` files with torch's weights-only reader.

    It holds a dictionary of tensors, or one under the key `model`.

    Returns:
        The tensors by Meta's names, floating ones as float32.

    Raises:
        CheckpointError: the file is empty, truncated, holds anything but tensors, or was not
            written by `torch.save`.
    """
    size = _require_content(path)
    _require_plain_archive(path, size)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(_unpickling_message(path)) from error
    # A damaged file can raise any exception in the reader.
    except Exception as error:
        if is_out_of_memory(error):
            raise _no_memory(path) from error
        raise CheckpointError(
            f"{path} cannot be read: it is truncated or damaged ({_first_line(error)})."
            " Delete it and download it again."
        ) from error
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        others = sorted(str(key) for key in content if key not in _TRAINER_KEYS | {"model"})
        if others:
            raise CheckpointError(
                f"{path} holds more than a network under 'model': {shorten(others)}."
                " Save only {'model': weights} and give that file."
            )
        content = content["model"]
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(
            f"{path} holds no dictionary of weights: give a SAM 2 or DINOv2 file."
        )
    strangers = [str(key) for key, value in content.items() if not _is_plain(value)]
    if strangers:
        raise CheckpointError(
            f"{path} holds things that are no tensors: {shorten(strangers)}."
            " Give a file of weights alone."
        )
    # A view may claim more values than its file has bytes.
    if sum(value.numel() for value in content.values()) > size:
        raise CheckpointError(
            f"{path} claims more weights than its {size:,} bytes can hold. Do not use this file;"
            " give the one that Meta published."
        )
    return _floats({str(key): value for key, value in content.items()}, path)


def digest(state: Mapping[str, Tensor]) -> str:
    """Digest of a network's weights, independent of the file format.

    ``state`` has float32 tensors by their hub name.

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
    """Reject weights with NaN or infinity, which would silently give empty results.

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
    if len(names) > _MAX_SHARDS:
        raise CheckpointError(
            f"{folder / INDEX_FILE} names {len(names):,} files; at most {_MAX_SHARDS:,} are read."
            " Take the model from where it was published."
        )
    for name in names:
        if Path(name).name != name:
            raise CheckpointError(
                f"{folder / INDEX_FILE} names {name!r}, which is not a file of its own folder."
                " Do not use this folder; take the model from where it was published."
            )
    return names


def shorten(names: Iterable[str], most: int = 4) -> str:
    """The first names of a list, and how many more there are."""
    ordered = sorted(names)
    more = f" and {len(ordered) - most} more" if len(ordered) > most else ""
    return ", ".join(ordered[:most]) + more


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise _no_memory(path) from error
        raise _damaged(path, _first_line(error)) from error


def _count_values(path: Path) -> int:
    """Number of values in a safetensors file, read from its header."""
    if not path.exists():
        raise CheckpointError(f"{path} is missing, though the index names it: download it again.")
    size = _require_content(path)
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        if length > min(size - _LENGTH_BYTES, _MAX_JSON_BYTES):
            raise _damaged(path, f"its header would have {length:,} bytes")
        header = file.read(length)
    try:
        entries = json.loads(header)
        shapes = [entry["shape"] for name, entry in entries.items() if name != "__metadata__"]
        count = sum(math.prod(shape) for shape in shapes)
    # A header may hold anything, as deeply nested as it likes.
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _damaged(path, f"its header is none: {_first_line(error)}") from error
    if not isinstance(count, int) or not 0 <= count <= size:
        raise _damaged(path, "its header claims more weights than the file can hold")
    return count


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            raise CheckpointError(
                f"{path} has {path.stat().st_size:,} bytes; at most {_MAX_JSON_BYTES:,} are read."
                " Take the model from where it was published."
            )
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} is not readable as JSON ({_first_line(error)}): download or write it again."
        ) from error
    except RecursionError as error:
        raise CheckpointError(
            f"{path} is nested too deeply to be read: download or write it again."
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds no JSON object: download or write it again.")
    return content


def _require_content(path: Path) -> int:
    """The size of a file of weights, in bytes; only a regular file of a possible size is opened."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise CheckpointError(f"{path} is no file but a folder, a pipe or a device: give a file.")
    if found.st_size == 0:
        raise CheckpointError(f"{path} is empty: delete it and download or write it again.")
    if found.st_size > MAX_WEIGHT_BYTES:
        raise CheckpointError(
            f"{path} has {found.st_size / 1e9:,.0f} GB; networks of at most"
            f" {MAX_WEIGHT_BYTES / 1e9:,.0f} GB are read. Give the file that was published."
        )
    return found.st_size


def _require_plain_archive(path: Path, size: int) -> None:
    """Reject an archive that unpacks to more than its own size: torch does not compress."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise _damaged(path, _first_line(error)) from error
    stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
    if not stored or sum(entry.file_size for entry in entries) > size:
        raise CheckpointError(
            f"{path} is a compressed archive, which torch.save does not write: it may unpack to any"
            " size and is not opened. Give the file that Meta published."
        )


def _is_plain(value: object) -> bool:
    """Whether a value is a dense, contiguous tensor with all its data."""
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
    )


def _damaged(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"{path} cannot be read: it is truncated or damaged ({reason})."
        " Delete it and download or write it again."
    )


def _no_memory(path: Path) -> CheckpointError:
    return CheckpointError(
        f"There is not enough memory to read {path}. Close other programs, or choose a smaller"
        " network (the presets 'fast' and 'tiny' have smaller ones)."
    )


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


def _floats(state: Mapping[str, Tensor], source: Path) -> dict[str, Tensor]:
    try:
        return {k: v.to(torch.float32) if v.is_floating_point() else v for k, v in state.items()}
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise _no_memory(source) from error
        raise


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
