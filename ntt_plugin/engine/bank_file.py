"""A memory bank's file: safetensors with JSON metadata, every part checked on reading."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, fields
from typing import Any, NoReturn, TypeVar

import safetensors.torch
import torch
from torch import Tensor

from ..errors import BankError, RecipeError
from .bank_records import BankRecord, ClassMemory, Fingerprint, Refused, StoredReference
from .config import Recipe
from .references import Box, Provenance

KEY = "ntt_memory_bank"
FORMAT_VERSION = 1
MAX_BYTES = 4 * 1024**3
# The safetensors library refuses headers above 100 MB.
MAX_HEADER_BYTES = 100_000_000
MAX_SIDE = 65_536

_T = TypeVar("_T")


def pack(record: BankRecord) -> bytes:
    """The bytes of a bank's file.

    Raises:
        BankError: a name or a provenance is not made of texts and finite numbers, or there
            are too many references.
    """
    document = {
        "format_version": FORMAT_VERSION,
        "fingerprint": asdict(record.fingerprint),
        "recipe": asdict(record.recipe),
        "created": record.created,
        "version": record.version,
        "classes": [
            {
                "label": label,
                "references": [_describe(stored) for stored in entry.references],
                "negatives": [_describe(stored) for stored in entry.negatives],
            }
            for label, entry in record.classes.items()
        ],
        "refused": [
            {
                "label": refused.label,
                "provenance": _origin(refused.provenance),
                "reason": refused.reason,
            }
            for refused in record.refused
        ],
    }
    try:
        text = json.dumps(document, ensure_ascii=False, allow_nan=False)
        # Quotes are escaped once more when the header is written.
        if len(json.dumps(text, ensure_ascii=False).encode()) > MAX_HEADER_BYTES - 10_000:
            raise BankError("The bank holds too many references for one file; split it.")
    except (ValueError, TypeError) as error:
        raise BankError(
            f"A name or a provenance in the bank cannot be written as JSON: {error}."
        ) from error
    classes = list(record.classes.values())
    channels = record.fingerprint.channels
    tensors = {
        "features": _stack([e.feature for entry in classes for e in entry.references], channels),
        "negatives": _stack([e.feature for entry in classes for e in entry.negatives], channels),
    }
    return bytes(safetensors.torch.save(tensors, metadata={KEY: text}))


def unpack(data: bytes) -> BankRecord:
    """A bank from the bytes of its file.

    Nothing is taken on trust: sizes are checked before anything is allocated.

    Raises:
        BankError: the bytes are damaged or are not a memory bank's.
    """
    try:
        header = _header(data)
        document = _document(header)
        fingerprint = _fingerprint(_field(document, "fingerprint", dict))
        _check_shapes(header, fingerprint.channels)
        tensors = safetensors.torch.load(data)
        return _record(document, fingerprint, tensors["features"], tensors["negatives"])
    except BankError:
        raise
    except (ValueError, RecursionError, OverflowError, safetensors.SafetensorError) as error:
        raise BankError(f"This is not a sound memory bank: {error}.") from error


def _header(data: bytes) -> dict[str, Any]:
    if len(data) < 8:
        _refuse("it is too short")
    length = int.from_bytes(data[:8], "little")
    if length > min(MAX_HEADER_BYTES, len(data) - 8):
        _refuse("its header is longer than the file or than 100 MB; it may be cut short")
    header = _json(data[8 : 8 + length].decode("utf-8"))
    if not isinstance(header, dict):
        _refuse("its header is no mapping")
    return header


def _document(header: dict[str, Any]) -> dict[str, Any]:
    metadata = header.get("__metadata__")
    if not isinstance(metadata, dict) or not isinstance(metadata.get(KEY), str):
        _refuse("it is a safetensors file, but not a memory bank's")
    document = _json(metadata[KEY])
    if not isinstance(document, dict):
        _refuse("its metadata are no mapping")
    version = _field(document, "format_version", int)
    if version != FORMAT_VERSION:
        _refuse(f"its format is {version}, and this program reads {FORMAT_VERSION}")
    # Lone surrogates come through JSON, but no file, database or terminal takes them.
    json.dumps(document, ensure_ascii=False).encode("utf-8")
    return document


def _check_shapes(header: dict[str, Any], channels: int) -> None:
    if set(header) != {"__metadata__", "features", "negatives"}:
        _refuse("its tensors are not `features` and `negatives`")
    for name in ("features", "negatives"):
        tensor = header[name]
        if not isinstance(tensor, dict) or tensor.get("dtype") != "F32":
            _refuse(f"`{name}` is not float32")
        shape = _field(tensor, "shape", list)
        if len(shape) != 2 or shape[1] != channels:
            _refuse(f"`{name}` has the shape {shape}, not (n, {channels})")


def _record(
    document: dict[str, Any], fingerprint: Fingerprint, features: Tensor, negatives: Tensor
) -> BankRecord:
    if not (torch.isfinite(features).all() and torch.isfinite(negatives).all()):
        _refuse("it holds features that are not finite")
    classes: dict[str, ClassMemory] = {}
    ids: set[str] = set()
    positive_rows, negative_rows = list(features), list(negatives)
    positive_rows.reverse()
    negative_rows.reverse()
    for entry in _field(document, "classes", list):
        label = _text(_mapping(entry), "label")
        if label in classes:
            _refuse(f"the class {label!r} is there twice")
        references = _stored(_field(entry, "references", list), positive_rows, ids)
        if not references:
            _refuse(f"the class {label!r} has no reference")
        classes[label] = ClassMemory(
            references, _stored(_field(entry, "negatives", list), negative_rows, ids)
        )
    if positive_rows or negative_rows:
        _refuse("it holds more features than references")
    version = _field(document, "version", int)
    if version < 0:
        _refuse("its version is negative")
    return BankRecord(
        fingerprint=fingerprint,
        recipe=_recipe(_field(document, "recipe", dict)),
        created=_text(document, "created"),
        version=version,
        classes=classes,
        refused=[_refused(_mapping(entry)) for entry in _field(document, "refused", list)],
    )


def _stored(entries: list[Any], rows: list[Tensor], ids: set[str]) -> list[StoredReference]:
    """Stored references for entries; takes their features from the end of ``rows``."""
    stored = []
    for entry in entries:
        reference_id = _text(_mapping(entry), "id")
        if reference_id in ids:
            _refuse(f"the reference {reference_id!r} is there twice")
        if not rows:
            _refuse("it holds fewer features than references")
        ids.add(reference_id)
        provenance = _provenance(_field(entry, "provenance", dict))
        stored.append(StoredReference(reference_id, provenance, rows.pop().clone()))
    return stored


def _fingerprint(entry: dict[str, Any]) -> Fingerprint:
    size, channels = _field(entry, "size", int), _field(entry, "channels", int)
    if not (1 <= size <= MAX_SIDE and 1 <= channels <= MAX_SIDE):
        _refuse(f"its encoder has an input of {size} pixels and {channels} channels")
    ratio = _number(entry.get("context_ratio"))
    if ratio < 0:
        _refuse("its encoder's context ratio is negative")
    return Fingerprint(_text(entry, "name"), _text(entry, "digest"), size, channels, ratio)


def _recipe(entry: dict[str, Any]) -> Recipe:
    known = {field.name for field in fields(Recipe)}
    if unknown := sorted(set(entry) - known):
        _refuse(
            f"its recipe has the fields {unknown}, which this version does not know; a newer one "
            "wrote it, so update this program to read it"
        )
    # None is filled in: it would be run with another value than it was made for.
    if missing := sorted(known - set(entry)):
        _refuse(f"its recipe lacks the fields {missing}")
    try:
        return Recipe(**entry)
    except RecipeError as error:
        _refuse(str(error).removesuffix("."))


def _provenance(entry: dict[str, Any]) -> Provenance:
    dataset, sample, label = (entry.get(key) for key in ("dataset", "sample", "label"))
    if not all(text is None or isinstance(text, str) for text in (dataset, sample, label)):
        _refuse("a provenance is not made of texts")
    return Provenance(dataset, sample, label, _box(entry.get("box")))


def _box(value: Any) -> Box | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 4:
        _refuse("a box is not made of four numbers")
    x1, y1, x2, y2 = map(_number, value)
    return x1, y1, x2, y2


def _refused(entry: dict[str, Any]) -> Refused:
    provenance = _provenance(_field(entry, "provenance", dict))
    return Refused(_text(entry, "label"), provenance, _text(entry, "reason"))


def _describe(stored: StoredReference) -> dict[str, Any]:
    return {"id": stored.id, "provenance": _origin(stored.provenance)}


def _origin(provenance: Provenance) -> dict[str, Any]:
    # JSON knows nothing of numpy's numbers, which boxes are often made of.
    box = None if provenance.box is None else [float(edge) for edge in provenance.box]
    return {**asdict(provenance), "box": box}


def _stack(rows: list[Tensor], channels: int) -> Tensor:
    return torch.stack(rows) if rows else torch.zeros(0, channels)


def _json(text: str) -> Any:
    return json.loads(text, parse_constant=lambda name: _refuse(f"it holds the number {name}"))


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        _refuse("a part of its metadata is no mapping")
    return value


def _field(mapping: dict[str, Any], key: str, kind: type[_T]) -> _T:
    value = mapping.get(key)
    # bool is a child of int, and true is no number.
    if not isinstance(value, kind) or isinstance(value, bool):
        _refuse(f"`{key}` is missing or of the wrong kind")
    return value


def _text(mapping: dict[str, Any], key: str) -> str:
    text = _field(mapping, key, str)
    if not text.strip():
        _refuse(f"`{key}` is empty")
    return text


def _number(value: Any) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        _refuse("something that should be a finite number is none")
    return float(value)


def _refuse(reason: str) -> NoReturn:
    raise BankError(f"This is not a sound memory bank: {reason}.")
