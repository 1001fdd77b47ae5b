"""Many masks of one image in bounded memory: some as they are, the others deflated."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, overload

import numpy as np

from .codec import decode_mask, encode_mask
from .packed import PackedMask, PixelBox

Array = np.ndarray[Any, Any]

# 800 masks of 2 megapixels fit in it as they are, if each covers the whole image.
_BUDGET = 256 * 2**20
_INFLATED = 32


class _Deflated(NamedTuple):
    box: PixelBox
    area: int
    data: bytes


class CompressedMasks(Sequence[PackedMask]):
    """A list of masks that grows at its end; once it does not, threads may share it.

    Masks are kept as they are until they take the budget; from there on they are deflated, which
    makes them 8 to 50 times smaller, and a few of those that were asked for last are kept inflated.
    """

    def __init__(self, budget: int = _BUDGET) -> None:
        """Start empty; ``budget`` is in bytes."""
        self._budget = budget
        self._first: list[PackedMask] = []
        self._rest: list[_Deflated] = []
        self._inflated: OrderedDict[int, PackedMask] = OrderedDict()
        self._lock = threading.Lock()

    def append(self, mask: PackedMask) -> None:
        """Put a mask at the end."""
        if not self._rest and self._budget >= mask.words.nbytes:
            self._budget -= mask.words.nbytes
            self._first.append(mask)
        else:
            self._rest.append(_Deflated(mask.box, mask.area, encode_mask(mask)))

    def __len__(self) -> int:
        return len(self._first) + len(self._rest)

    @overload
    def __getitem__(self, index: int) -> PackedMask: ...
    @overload
    def __getitem__(self, index: slice) -> list[PackedMask]: ...
    def __getitem__(self, index: int | slice) -> PackedMask | list[PackedMask]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        if place < len(self._first):
            return self._first[place]
        return self._inflate(place - len(self._first))

    def _inflate(self, place: int) -> PackedMask:
        with self._lock:
            if place not in self._inflated:
                deflated = self._rest[place]
                mask = decode_mask(deflated.data, deflated.box, deflated.area)
                self._inflated[place] = mask
                if len(self._inflated) > _INFLATED:
                    self._inflated.popitem(last=False)
            self._inflated.move_to_end(place)
            return self._inflated[place]


class CachedMasks:
    """All masks of an image, each made once, in bounded memory; threads may share them."""

    def __init__(self, masks: Iterable[PackedMask | None]) -> None:
        """Make them; None stands for one that is empty."""
        self._masks = CompressedMasks()
        self._places: list[int | None] = []
        for mask in masks:
            self._places.append(None if mask is None else len(self._masks))
            if mask is not None:
                self._masks.append(mask)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> PackedMask | None:
        place = self._places[index]
        return None if place is None else self._masks[place]


class UnpackedMasks(Sequence[Array]):
    """Masks as bool arrays cropped to their boxes, made when they are asked for."""

    def __init__(self, masks: Sequence[PackedMask]) -> None:
        """Show packed masks, which stay as they are."""
        self._masks = masks

    def __len__(self) -> int:
        return len(self._masks)

    @overload
    def __getitem__(self, index: int) -> Array: ...
    @overload
    def __getitem__(self, index: slice) -> list[Array]: ...
    def __getitem__(self, index: int | slice) -> Array | list[Array]:
        if isinstance(index, slice):
            return [mask.unpack() for mask in self._masks[index]]
        return self._masks[index].unpack()
