"""Class names that look alike.

They are never changed nor merged: two names are two classes. Whoever does not notice it misses half
of the references, so notes say it.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from .samples.checks import listed, quoted

_MOST_PAIRS = 10


def look_alikes(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Groups of different names that look alike, each in the order given.

    They differ only in case, in blanks, in how an accent is encoded, or in compatibility forms
    (full width, ligatures): they are equal after Unicode's NFKC and case folding.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for name in dict.fromkeys(names):
        groups[_folded(name)].append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def look_alike_notes(names: Iterable[str]) -> list[str]:
    """A sentence for each group of ``look_alikes``."""
    return [
        f"The classes {listed(group)} look alike and are kept apart: they differ in case, blanks "
        "or how characters are encoded. Give their labels one name if they are one class."
        for group in look_alikes(names)
    ]


def unmatched_classes(
    samples: Any, label_field: str, gt_field: str, names: Iterable[str]
) -> list[str]:
    """Notes on classes of predictions and of ground truth that do not match but look alike.

    Classes match by their exact names. Look-alikes are those of ``look_alikes``, also where blanks,
    hyphens and underscores differ. A note says too if the two fields have no class in common.
    """
    scored = set(names)
    found, true = (
        sorted(scored.intersection(samples.distinct(f"{field}.detections.label")))
        for field in (label_field, gt_field)
    )
    shared = set(found) & set(true)
    alike_true: dict[str, list[str]] = defaultdict(list)
    for name in true:
        alike_true[_loosely(name)].append(name)
    pairs = [
        (one, other)
        for one in found
        for other in alike_true.get(_loosely(one), ())
        if one != other and not {one, other} <= shared
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
    folded = _folded(name)
    return "".join(c for c in folded if c not in " _-") or folded


def _folded(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())
