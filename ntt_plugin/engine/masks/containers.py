"""Containers for the masks of one image, in bounded memory."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar, overload

from ..typing import Array
from .packed import PackedMask, PixelBox, decode_mask, encode_mask

T = TypeVar("T")

# Bytes for uncompressed masks: enough for 800 masks of 2 megapixels.
_BUDGET = 256 * 2**20
_INFLATED = 32


class _Deflated(NamedTuple):
    box: PixelBox
    area: int
    data: bytes


class LazySequence(Sequence[T]):
    """A sequence whose items are made on access: subclasses give ``__len__`` and ``_item``."""

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        count = len(self)
        if isinstance(index, slice):
            return [self._item(place) for place in range(count)[index]]
        return self._item(index if 0 <= index < count else range(count)[index])

    @abstractmethod
    def _item(self, place: int) -> T:
        """The item at a place from 0."""


class CompressedMasks(LazySequence[PackedMask]):
    """An append-only list of masks, compressed beyond a memory budget.

    Compressed masks are 8 to 50 times smaller; the last few accessed stay decompressed. Reading
    is thread-safe, appending is not.
    """

    def __init__(self, budget: int = _BUDGET) -> None:
        """Start empty; ``budget`` is in bytes."""
        self._budget = budget
        self._first: list[PackedMask] = []
        self._rest: list[_Deflated] = []
        self._inflated: OrderedDict[int, PackedMask] = OrderedDict()
        self._lock = threading.Lock()

    def append(self, mask: PackedMask) -> None:
        """Append a mask."""
        if not self._rest and self._budget >= mask.words.nbytes:
            self._budget -= mask.words.nbytes
            self._first.append(mask)
        else:
            self._rest.append(_Deflated(mask.box, mask.area, encode_mask(mask)))

    def __len__(self) -> int:
        return len(self._first) + len(self._rest)

    def _item(self, place: int) -> PackedMask:
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


class ChosenMasks(LazySequence[PackedMask]):
    """Some masks of a sequence, which are not copied."""

    def __init__(self, masks: Sequence[PackedMask], indices: Sequence[int]) -> None:
        self._masks = masks
        self._indices = indices

    def __len__(self) -> int:
        return len(self._indices)

    def _item(self, place: int) -> PackedMask:
        return self._masks[self._indices[place]]


class CachedMasks:
    """All masks of an image, computed once and kept in bounded memory; thread-safe."""

    def __init__(self, masks: Iterable[PackedMask | None]) -> None:
        """Consume ``masks``; None stands for an empty mask."""
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


class UnpackedMasks(LazySequence[Array]):
    """Masks as bool arrays cropped to their boxes, unpacked on access."""

    def __init__(self, masks: Sequence[PackedMask]) -> None:
        self._masks = masks

    def __len__(self) -> int:
        return len(self._masks)

    def _item(self, place: int) -> Array:
        return self._masks[place].unpack()
