"""Labels that people made or judged, which stay in their field; new ones that overlap are left out.

They travel with an item of work as mappings: ``label``, its class; ``box``, x1 y1 x2 y2 in pixels;
``mask``, its pixels within the box (``encode_mask``); ``rejected``, whether a person said that it
is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...engine.typing import Array
from .label_bytes import NewLabel, decode_mask

KEPT = "kept"
"""Set on what a field holds of a sample while it holds people's labels and no run's."""

SAME_IOU = 0.5
"""A new label that overlaps one that stays by this IoU of their masks is left out."""


def without_kept(
    labels: Sequence[NewLabel], kept: Sequence[Mapping[str, Any]]
) -> tuple[list[NewLabel], int]:
    """New labels without those that show what a kept label shows, and how many these are.

    The class does not matter, but what a person rejected bars labels of its own class only: a
    wrong cat may be a right dog.
    """
    held = [(entry, decode_mask(entry["mask"])) for entry in kept]
    free = [label for label in labels if not any(_same(label, *one) for one in held)]
    return free, len(labels) - len(free)


def _same(label: NewLabel, entry: Mapping[str, Any], held: Array) -> bool:
    if label.mask is None or (entry["rejected"] and entry["label"] != label.label):
        return False
    rows, columns = label.mask.shape
    x, y, w, h = label.bounding_box
    # The mask has as many pixels as its box, which tells the image's size.
    left, top = round(x * columns / w), round(y * rows / h)
    x1, y1, x2, y2 = entry["box"]
    first_x, first_y = max(left, x1), max(top, y1)
    last_x, last_y = min(left + columns, x2), min(top + rows, y2)
    if first_x >= last_x or first_y >= last_y:
        return False
    new = label.mask[first_y - top : last_y - top, first_x - left : last_x - left]
    old = held[first_y - y1 : last_y - y1, first_x - x1 : last_x - x1]
    shared = int(np.count_nonzero(new & old))
    union = int(np.count_nonzero(label.mask)) + int(np.count_nonzero(held)) - shared
    return shared >= SAME_IOU * union
