"""Names of classes that a person cannot tell apart, and what tells them apart.

Names are never changed nor merged: two that look alike are two classes. But a person who does not
know so finds half of the references missing, so it is said.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from .checks import listed, quoted

# Letters of other alphabets that most fonts draw like Latin ones, upper and lower case apart:
# the Cyrillic capital VE looks like a B, but the small one not like a b. First Cyrillic, then
# Greek, then the Latin i without its dot.
_DRAWN_LIKE = str.maketrans(
    "\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0425\u0423\u0406\u0408\u0405"
    "\u0430\u0435\u043e\u0440\u0441\u0445\u0443\u0456\u0458\u0455\u04bb\u0501\u051b\u051d"
    "\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7"
    "\u03b1\u03b9\u03bf\u03bd\u03c1\u03c5\u0131",
    "ABEKMHOPCTXYIJS" + "aeopcxyijshdqw" + "ABEZHIKMNOPTYX" + "aiovpui",
)

_MOST_PAIRS = 10


def look_alikes(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Groups of unequal names that look alike, each in the order given.

    Alike are names that differ only in case, in blanks, in invisible characters, in how an accent
    is encoded, in compatibility forms (full width, ligatures), or in Cyrillic and Greek letters
    drawn like Latin ones.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for name in dict.fromkeys(names):
        groups[_as_drawn(name)].append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def look_alike_notes(names: Iterable[str]) -> list[str]:
    """A sentence for each group of ``look_alikes``: the names, and the characters that differ."""
    return [
        f"The classes {listed(group)} look alike and are kept apart "
        f"({'; '.join(_differences(group))}). Give their labels one name if they are one class."
        for group in look_alikes(names)
    ]


def unmatched_classes(
    samples: Any, label_field: str, gt_field: str, names: Iterable[str]
) -> list[str]:
    """What a person should know of the classes of predictions and of ground truth.

    Classes match by their exact names. Said is where the two fields have no class in common, and
    which names of the one look like a name of the other: as ``look_alikes``, and without regard to
    blanks, hyphens and underscores.

    Args:
        samples: a dataset or view.
        label_field: the predictions' field, ``Detections``.
        gt_field: the ground truth's field, ``Detections``.
        names: the classes that are scored.
    """
    scored = set(names)
    found, true = (
        sorted(scored.intersection(samples.distinct(f"{field}.detections.label")))
        for field in (label_field, gt_field)
    )
    shared = set(found) & set(true)
    pairs = [
        (one, other)
        for one in found
        for other in true
        if one != other and not {one, other} <= shared and _loosely(one) == _loosely(other)
    ]
    shown = [f"{quoted(one)} and {quoted(other)}" for one, other in pairs[:_MOST_PAIRS]]
    shown += [f"{len(pairs) - _MOST_PAIRS} more"] if len(pairs) > _MOST_PAIRS else []
    alike = f"look alike but differ in case, blanks or characters: {'; '.join(shown)}"
    if found and true and not shared:
        text = (
            f"{label_field!r} and {gt_field!r} have no class in common, so nothing can match: "
            f"{listed(found)} against {listed(true)}."
        )
        remedy = " Give both fields the same names, by dataset.map_values() or map_labels()."
        return [f"{text} These {alike}.{remedy}" if pairs else text]
    if not pairs:
        return []
    return [
        f"Classes of {label_field!r} and of {gt_field!r} {alike}. They do not match; give their "
        "labels one name if they are one class."
    ]


def _loosely(name: str) -> str:
    drawn = _as_drawn(name)
    return "".join(c for c in drawn if c not in " _-") or drawn


def _as_drawn(name: str) -> str:
    plain = unicodedata.normalize("NFKC", name).translate(_DRAWN_LIKE).casefold()
    visible = "".join(c for c in plain if unicodedata.category(c) != "Cf")
    return " ".join(unicodedata.normalize("NFKC", visible).split())


def _differences(group: tuple[str, ...], most: int = 4) -> list[str]:
    common = set.intersection(*(set(name) for name in group))
    found = []
    for name in group[:most]:
        own = [c for c in dict.fromkeys(name) if c not in common]
        if own:
            letters = ", ".join(_character(c) for c in own[:most])
            found.append(f"{quoted(name)} has {letters}{' and more' if len(own) > most else ''}")
    return found or ["they differ in the number or order of their characters"]


def _character(character: str) -> str:
    return f"U+{ord(character):04X} {unicodedata.name(character, 'without a name')}"
