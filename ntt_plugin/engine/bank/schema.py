"""Schema of a memory bank's JSON metadata; every value is validated on reading."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, fields
from typing import Any, NoReturn, TypeVar

from torch import Tensor

from ...errors import BankError, RecipeError
from ..recipe import ADDED_LATER, Recipe
from ..references import Box, Provenance
from .records import (
    LARGEST_VALUE,
    BankRecord,
    ClassMemory,
    Fingerprint,
    Refused,
    StoredReference,
    is_threshold,
)

FORMAT_VERSION = 1
MAX_SIDE = 65_536
# Labels keep it as a whole number of the database's.
MAX_VERSION = 2**31 - 1
# Names go into queries, forms and the database's documents of 16 MB, several at a time.
MAX_TEXT = 100_000
"""Characters of a name or of another text in a bank."""

# Errors quote values of untrusted files only up to this length.
_QUOTED = 300

_T = TypeVar("_T")


def to_document(record: BankRecord) -> dict[str, Any]:
    """Everything in a record except its features, as JSON values.

    Raises:
        BankError: a text is too long to be read again.
    """
    document = {
        "format_version": FORMAT_VERSION,
        "fingerprint": asdict(record.fingerprint),
        "recipe": asdict(record.recipe),
        "created": record.created,
        "version": record.version,
        "classes": [_class(label, entry) for label, entry in record.classes.items()],
        "refused": [
            {
                "label": _short(refused.label),
                "provenance": _origin(refused.provenance),
                "reason": refused.reason[:MAX_TEXT],
            }
            for refused in record.refused
        ],
    }
    # Versions before reading was told apart read past these keys.
    if record.notes:
        document["notes"] = [note[:MAX_TEXT] for note in record.notes]
    return document


def fingerprint_of(document: dict[str, Any]) -> Fingerprint:
    """Fingerprint of the encoder that a document names.

    Raises:
        BankError: the document has another format, or its fingerprint is invalid.
    """
    version = field(document, "format_version", int)
    if version != FORMAT_VERSION:
        refuse(f"its format is {version}, and this program reads {FORMAT_VERSION}")
    return _fingerprint(field(document, "fingerprint", dict))


def counts_of(document: dict[str, Any]) -> tuple[int, int]:
    """Numbers of references and of negatives that a document lists.

    Raises:
        BankError: they are not lists of classes.
    """
    entries = [mapping(entry) for entry in field(document, "classes", list)]
    references = sum(len(field(entry, "references", list)) for entry in entries)
    return references, sum(len(field(entry, "negatives", list)) for entry in entries)


def to_record(
    document: dict[str, Any], fingerprint: Fingerprint, features: Tensor, negatives: Tensor
) -> BankRecord:
    """Build a record from a document and its features.

    Args:
        document: result of ``to_document``, or an untrusted one.
        fingerprint: result of ``fingerprint_of`` for it.
        features: features of its references in order, float32 (n, C), n as in ``counts_of``.
        negatives: features of its negatives in order, float32 (m, C), m likewise.

    Raises:
        BankError: a value is missing or not allowed.
    """
    for values in (features, negatives):
        if not values.numel():
            continue
        low, high = values.aminmax()
        # Written so that a value that is no number is refused too.
        if not (-LARGEST_VALUE <= low and high <= LARGEST_VALUE):
            refuse(f"it holds features that are not finite or beyond {LARGEST_VALUE:g}")
    classes: dict[str, ClassMemory] = {}
    ids: set[str] = set()
    # Rows share the memory of the whole: copies would double what a large bank takes.
    positive_rows, negative_rows = iter(features.unbind()), iter(negatives.unbind())
    for entry in field(document, "classes", list):
        label = _text(mapping(entry), "label")
        if label in classes:
            refuse(f"the class {label!r} is there twice")
        references = _stored(field(entry, "references", list), positive_rows, ids)
        if not references:
            refuse(f"the class {label!r} has no reference")
        classes[label] = ClassMemory(
            references,
            _stored(field(entry, "negatives", list), negative_rows, ids),
            _share(entry, "threshold"),
            _share(entry, "expected_recall"),
        )
    version = field(document, "version", int)
    if not 0 <= version <= MAX_VERSION:
        refuse("its version is not one")
    return BankRecord(
        fingerprint=fingerprint,
        recipe=_recipe(field(document, "recipe", dict)),
        created=_text(document, "created"),
        version=version,
        classes=classes,
        refused=[_refused(mapping(entry)) for entry in field(document, "refused", list)],
        notes=_notes(document),
    )


def _stored(entries: list[Any], rows: Iterator[Tensor], ids: set[str]) -> list[StoredReference]:
    stored = []
    for entry in entries:
        reference_id = _text(mapping(entry), "id")
        if reference_id in ids:
            refuse(f"the reference {reference_id!r} is there twice")
        ids.add(reference_id)
        provenance = _provenance(field(entry, "provenance", dict))
        stored.append(StoredReference(reference_id, provenance, next(rows), _reading(entry)))
    return stored


def _reading(entry: dict[str, Any]) -> int:
    if "reading" not in entry:
        return 1
    reading = field(entry, "reading", int)
    if not 1 <= reading <= MAX_VERSION:
        refuse("a reference's reading is not one")
    return reading


def _notes(document: dict[str, Any]) -> list[str]:
    notes = field(document, "notes", list) if "notes" in document else []
    if not all(isinstance(note, str) and len(note) <= MAX_TEXT for note in notes):
        refuse(f"its notes are not made of texts of {MAX_TEXT:,} characters at most")
    return notes


def _fingerprint(entry: dict[str, Any]) -> Fingerprint:
    size, channels = field(entry, "size", int), field(entry, "channels", int)
    if not (1 <= size <= MAX_SIDE and 1 <= channels <= MAX_SIDE):
        refuse(f"its encoder has an input of {size} pixels and {channels} channels")
    ratio = _number(entry.get("context_ratio"))
    if ratio < 0:
        refuse("its encoder's context ratio is negative")
    return Fingerprint(_text(entry, "name"), _text(entry, "digest"), size, channels, ratio)


def _recipe(entry: dict[str, Any]) -> Recipe:
    known = {field.name for field in fields(Recipe)}
    if unknown := sorted(set(entry) - known):
        refuse(
            f"its recipe has the fields {unknown}, which this version does not know; a newer one "
            "wrote it, so update this program to read it"
        )
    for name, value in entry.items():
        if isinstance(value, str) and len(value) > MAX_TEXT:
            refuse(f"its recipe's `{name}` has {len(value):,} characters")
    # Missing fields never get a default: the bank was not made for it.
    if missing := sorted(known - set(entry) - set(ADDED_LATER)):
        refuse(f"its recipe lacks the fields {missing}")
    try:
        return Recipe(**{**ADDED_LATER, **entry})
    except RecipeError as error:
        refuse(str(error).removesuffix("."))


def _share(entry: dict[str, Any], name: str) -> float | None:
    if name not in entry:
        return None
    value = entry[name]
    if not is_threshold(value):
        refuse(f"its {name.replace('_', ' ')} is no number from 0 to 1")
    return float(value)


def _provenance(entry: dict[str, Any]) -> Provenance:
    dataset, sample, label, label_field = (
        entry.get(key) for key in ("dataset", "sample", "label", "field")
    )
    for text in (dataset, sample, label, label_field):
        if text is not None and not isinstance(text, str):
            refuse("a provenance is not made of texts")
        if text is not None and len(text) > MAX_TEXT:
            refuse(f"a text in a provenance has more than {MAX_TEXT:,} characters")
    return Provenance(dataset, sample, label, _box(entry.get("box")), label_field)


def _box(value: Any) -> Box | None:
    if value is None:
        return None
    # bool is a child of int, and true is no number.
    if (
        not isinstance(value, list)
        or len(value) != 4
        or not {type(edge) for edge in value} <= {int, float}
        or not all(map(math.isfinite, value))
    ):
        refuse("a box is not made of four finite numbers")
    x1, y1, x2, y2 = map(float, value)
    return x1, y1, x2, y2


def _refused(entry: dict[str, Any]) -> Refused:
    provenance = _provenance(field(entry, "provenance", dict))
    return Refused(_text(entry, "label"), provenance, _text(entry, "reason"))


def _class(label: str, entry: ClassMemory) -> dict[str, Any]:
    described: dict[str, Any] = {
        "label": _short(label),
        "references": [_describe(stored) for stored in entry.references],
        "negatives": [_describe(stored) for stored in entry.negatives],
    }
    # Files of before have no such key, and a bank without thresholds keeps its bytes.
    if entry.threshold is not None:
        described["threshold"] = entry.threshold
    if entry.expected_recall is not None:
        described["expected_recall"] = entry.expected_recall
    return described


def _describe(stored: StoredReference) -> dict[str, Any]:
    described = {"id": stored.id, "provenance": _origin(stored.provenance)}
    # As in files of before, and so that a bank that is read and written keeps its bytes.
    return described if stored.reading == 1 else {**described, "reading": stored.reading}


def _origin(provenance: Provenance) -> dict[str, Any]:
    # JSON knows nothing of numpy's numbers, which boxes are often made of.
    box = None if provenance.box is None else [float(edge) for edge in provenance.box]
    for text in (provenance.dataset, provenance.sample, provenance.label, provenance.field):
        if text is not None:
            _short(text)
    # Not asdict(), which copies deeply: a large bank has tens of thousands.
    origin = {**vars(provenance), "box": box}
    # Files of before have no such key, and a bank read from one keeps its bytes.
    if provenance.field is None:
        del origin["field"]
    return origin


def _short(text: str) -> str:
    """Return a text to be written; raise if it is longer than reading allows."""
    if isinstance(text, str) and len(text) > MAX_TEXT:
        raise BankError(
            f"A text in the bank has {len(text):,} characters ({text[:60]!r}...), and "
            f"{MAX_TEXT:,} are the most; shorten the name."
        )
    return text


def mapping(value: Any) -> dict[str, Any]:
    """Check that a value is a mapping and return it.

    Raises:
        BankError: it is not.
    """
    if not isinstance(value, dict):
        refuse("a part of its header is no mapping")
    return value


def field(entry: dict[str, Any], key: str, kind: type[_T]) -> _T:
    """Value of a key, checked for its type.

    Raises:
        BankError: it is missing or has another type.
    """
    value = entry.get(key)
    # bool is a child of int, and true is no number.
    if not isinstance(value, kind) or isinstance(value, bool):
        refuse(f"`{key}` is missing or of the wrong kind")
    return value


def _text(entry: dict[str, Any], key: str) -> str:
    text = field(entry, key, str)
    if len(text) > MAX_TEXT:
        refuse(f"`{key}` has {len(text):,} characters, and {MAX_TEXT:,} are the most")
    if not text.strip():
        refuse(f"`{key}` is empty")
    return text


def _number(value: Any) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        refuse("something that should be a finite number is none")
    return float(value)


def refuse(reason: str) -> NoReturn:
    """Raise the error for an invalid bank.

    Raises:
        BankError: always.
    """
    raise unsound(reason)


def unsound(reason: str) -> BankError:
    """The error for an invalid bank."""
    if len(reason) > _QUOTED:
        reason = reason[:_QUOTED] + "..."
    return BankError(
        f"This is not a sound memory bank: {reason}. Export it again where it was made, or build "
        "it again."
    )


def check_label(label: str) -> None:
    """Make sure that a bank can hold a class of a name.

    Raises:
        BankError: it cannot.
    """
    if not isinstance(label, str) or not label.strip():
        raise BankError(f"A class needs a name that is not empty, not {label!r}.")
    if len(label) > MAX_TEXT:
        raise BankError(
            f"The class name {label[:60]!r}... has {len(label):,} characters, and {MAX_TEXT:,} are "
            "the most; shorten it."
        )
