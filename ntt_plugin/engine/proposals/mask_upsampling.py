"""Upsampling of low-resolution mask logits to full-size masks (recipe, section 4.3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..device.device import send
from ..masks.packed import WORD, PackedMask, pack_mask, trim_words
from .feature_pooling import resize_matrix

# Rows of a mask that a processor computes at once.
_BAND = 128
# Bytes in hand on a GPU, and what a pixel of the image takes there, measured by counting: logits
# at the image's size twice, and what becomes of them.
_ON_DEVICE = 512 * 2**20
_PIXEL = 14


def upsample_masks(
    logits: Tensor, boxes: Tensor, image_size: tuple[int, int]
) -> list[PackedMask | None]:
    """Mask logits at the image's own size, cut at 0.

    Args:
        logits: float (n, m, m).
        boxes: x1 y1 x2 y2 of ``logits > 0``, inclusive pixel indices, (n, 4).
        image_size: (H, W).

    Returns:
        One mask for each, None where no pixel of the image is left.
    """
    masks = UpsampledMasks(logits, boxes, image_size)
    return list(masks.some(range(len(masks))))


class UpsampledMasks:
    """Masks upsampled from logits on access; the bits do not depend on the batch.

    Attributes:
        logits: low-resolution mask logits, float (n, m, m); the mask is ``logits > 0``.
    """

    def __init__(self, logits: Tensor, boxes: Tensor, image_size: tuple[int, int]) -> None:
        """Prepare upsampling; arguments are those of ``upsample_masks``.

        On a GPU the tables are copied at once, on the stream that made the logits: threads with
        streams of their own may ask for masks later.
        """
        self.logits = logits
        self._boxes: list[list[int]] = boxes.long().tolist()
        height, width = image_size
        rows, columns = ResizeAxis(logits.shape[-1], height), ResizeAxis(logits.shape[-1], width)
        self._upsampler: BandedUpsampler | BatchUpsampler
        if logits.device.type == "cpu":
            self._upsampler = BandedUpsampler(rows, columns)
        else:
            self._upsampler = BatchUpsampler(rows, columns, logits.device)
        self._batch = max(1, _ON_DEVICE // (_PIXEL * height * width))

    def __len__(self) -> int:
        return len(self._boxes)

    def __getitem__(self, index: int) -> PackedMask | None:
        return next(self.some([index]))

    def some(self, indices: Sequence[int]) -> Iterator[PackedMask | None]:
        """Yield masks in the order of ``indices``, upsampled one by one on a CPU, else batched."""
        upsampler = self._upsampler
        if isinstance(upsampler, BandedUpsampler):
            for index in indices:
                yield upsampler.upsample(self.logits[index], self._boxes[index])
            return
        for start in range(0, len(indices), self._batch):
            batch = list(indices[start : start + self._batch])
            chosen = self.logits[send(torch.tensor(batch), self.logits.device)]
            yield from upsampler.upsample(chosen, [self._boxes[index] for index in batch])


class ResizeAxis:
    """Bilinear, antialiased resizing along one axis.

    Attributes:
        matrix: float32 (target, source), on the CPU.
        first: first source sample with a weight, for each target sample, (target,).
        last: last source sample with a weight, (target,).
    """

    def __init__(self, source: int, target: int) -> None:
        self.matrix = resize_matrix(source, target)
        seen = self.matrix.numpy() != 0
        self.first = seen.argmax(axis=1)
        self.last = source - 1 - seen[:, ::-1].argmax(axis=1)

    def targets(self, low: int, high: int) -> range:
        """Target samples that depend on any of the source samples low..high."""
        start = np.searchsorted(self.last, low, side="left")
        stop = np.searchsorted(self.first, high, side="right")
        return range(int(start), int(stop))

    def sources(self, targets: range) -> slice:
        """Source samples that a non-empty range of target samples depends on."""
        return slice(int(self.first[targets[0]]), int(self.last[targets[-1]]) + 1)

    def weights(self, targets: range) -> Tensor:
        """Block of the matrix for target samples and their source samples."""
        return self.matrix[targets.start : targets.stop, self.sources(targets)]

    def taps(self) -> tuple[Tensor, Tensor]:
        """The matrix in sparse form: k taps per target sample, padded with weights of 0.

        Returns:
            Source indices, int64 (k, target), and weights, float32 (k, target, 1).
        """
        count = int((self.last - self.first).max()) + 1
        places = torch.from_numpy(self.first + np.arange(count)[:, None])
        places = places.clamp(max=self.matrix.shape[1] - 1)
        beyond = torch.from_numpy(self.first + np.arange(count)[:, None] > self.last)
        weights = self.matrix.T.gather(0, places).masked_fill(beyond, 0)
        return places, weights[..., None]


class BandedUpsampler:
    """Upsamples one mask at a time by matrix products that fit in a CPU's caches."""

    def __init__(self, rows: ResizeAxis, columns: ResizeAxis) -> None:
        self._rows = rows
        self._columns = columns

    def upsample(self, logits: Tensor, box: Sequence[int]) -> PackedMask | None:
        """One mask at the image's size; only what a positive logit can reach is computed.

        Args:
            logits: float (m, m).
            box: x1 y1 x2 y2 of ``logits > 0``, inclusive pixel indices.

        Returns:
            The mask, or None where no pixel of the image is left.
        """
        x1, y1, x2, y2 = box
        xs, ys = self._columns.targets(x1, x2), self._rows.targets(y1, y2)
        if not xs or not ys:
            return None
        source = logits[:, self._columns.sources(xs)].to(torch.float32)
        wide = source @ self._columns.weights(xs).T
        mask = np.empty((len(ys), len(xs)), dtype=bool)
        # In bands: a few rows see a few source rows only, which keeps the product small.
        for start in range(0, len(ys), _BAND):
            band = ys[start : start + _BAND]
            full = self._rows.weights(band) @ wide[self._rows.sources(band)]
            mask[start : start + _BAND] = (full > 0).numpy()
        return pack_mask(mask, xs.start, ys.start)


class _Taps(NamedTuple):
    places: Tensor
    weights: Tensor

    def resize(self, values: Tensor, targets: range) -> Tensor:
        """Values (n, source, k), resized along their rows: (n, len(targets), k).

        Sums tap by tap: the summation order of a matrix product depends on the batch size, and a
        mask would depend on the others in its batch.
        """
        window = slice(targets.start, targets.stop)
        total = values.new_zeros(())
        for places, weights in zip(self.places[:, window], self.weights[:, window], strict=True):
            total = torch.addcmul(total, values.index_select(1, places), weights)
        return total


class BatchUpsampler:
    """Upsamples many masks at once, with a single copy from the device."""

    def __init__(self, rows: ResizeAxis, columns: ResizeAxis, device: torch.device) -> None:
        self._rows = rows
        self._columns = columns
        self._row_taps, self._column_taps = (
            _Taps(*(send(part, device) for part in axis.taps())) for axis in (rows, columns)
        )
        # Bit order as in numpy.packbits: the first pixel is the highest bit.
        powers = torch.tensor([128, 64, 32, 16, 8, 4, 2, 1], dtype=torch.uint8)
        self._powers = send(powers, device)

    def upsample(self, logits: Tensor, boxes: Sequence[Sequence[int]]) -> list[PackedMask | None]:
        """Masks at the image's size; only what one of them can reach is computed.

        Args:
            logits: float (n, m, m), n at least 1.
            boxes: x1 y1 x2 y2 of ``logits > 0``, inclusive pixel indices, of each.

        Returns:
            The masks, None where no pixel of the image is left.
        """
        x1, y1, x2, y2 = zip(*boxes, strict=True)
        xs = self._columns.targets(min(x1), max(x2))
        ys = self._rows.targets(min(y1), max(y2))
        if not xs or not ys:
            return [None] * len(logits)
        wide = self._column_taps.resize(logits.float().mT.contiguous(), xs).mT.contiguous()
        filled = self._row_taps.resize(wide, ys) > 0
        left = xs.start % WORD
        bits = torch.unflatten(F.pad(filled, (left, -xs.stop % WORD)), -1, (-1, 8))
        packed = (bits * self._powers).sum(dim=-1, dtype=torch.int32).to(torch.uint8)
        words = packed.cpu().numpy().view(np.uint64)
        return [trim_words(mask, xs.start - left, ys.start) for mask in words]
