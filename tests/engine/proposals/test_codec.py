import struct
from dataclasses import replace

import numpy as np
import pytest
import torch

from ntt_plugin.engine.masks import packed as mask_codec
from ntt_plugin.engine.proposals import codec as proposal_codec
from ntt_plugin.engine.proposals.codec import (
    RecordError,
    decode_proposals,
    encode_proposals,
)
from ntt_plugin.engine.proposals.mask_upsampling import upsample_masks
from ntt_plugin.engine.proposals.proposals import Proposals, mask_boxes
from tests.engine.masks.packed_masks import same_mask, same_proposals, some_proposals


def test_proposals_come_back_bit_for_bit() -> None:
    stored = some_proposals()

    assert same_proposals(decode_proposals(encode_proposals(stored)), stored)


def test_what_was_read_can_be_written_again() -> None:
    data = encode_proposals(some_proposals())

    assert encode_proposals(decode_proposals(data)) == data


def test_upsampled_masks_come_back_bit_for_bit() -> None:
    logits = torch.nn.functional.interpolate(
        torch.randn(12, 1, 6, 6, generator=torch.Generator().manual_seed(0)), 64, mode="bicubic"
    )[:, 0]
    boxes = mask_boxes(logits > 0)
    masks = upsample_masks(logits, boxes, (300, 410))
    stored = Proposals(torch.rand(12), torch.rand(12, 3), boxes, masks, (300, 410))

    assert same_proposals(decode_proposals(encode_proposals(stored)), stored)


def test_numbers_that_are_none_come_back_as_they_are() -> None:
    odd = torch.tensor([float("nan"), float("inf"), -0.0, 1e-42])
    stored = replace(some_proposals(count=4), ious=odd)

    found = decode_proposals(encode_proposals(stored)).ious

    assert np.array_equal(found.numpy().view(np.uint32), odd.numpy().view(np.uint32))


@pytest.mark.parametrize("of_candidates", [False, True])
def test_the_stability_of_masks_comes_back(of_candidates: bool) -> None:
    sources = torch.tensor([2, -1, 0, -1, 4, 1]) if of_candidates else None
    stored = replace(some_proposals(), stability=torch.rand(6), sources=sources)
    data = encode_proposals(stored)
    found = decode_proposals(data)
    assert found.stability is not None and stored.stability is not None
    assert torch.equal(found.stability, stored.stability) and same_proposals(found, stored)
    assert (None if found.sources is None else found.sources.tolist()) == (
        sources.tolist() if sources is not None else None
    )
    assert encode_proposals(found) == data
    for length in range(len(data) - 1):
        with pytest.raises(RecordError):
            decode_proposals(data[:length])


def test_an_image_without_proposals_comes_back() -> None:
    stored = some_proposals(count=0, channels=7)

    found = decode_proposals(encode_proposals(stored))

    assert found.features.shape == (0, 7)
    assert found.boxes.shape == (0, 4)
    assert found.image_size == stored.image_size
    assert list(found.masks) == []


def test_half_precision_features_are_kept_as_float32() -> None:
    stored = some_proposals()
    stored = replace(stored, features=stored.features.to(torch.bfloat16))

    found = decode_proposals(encode_proposals(stored)).features

    assert found.dtype == torch.float32
    assert torch.equal(found, stored.features.float())


def test_only_masks_that_are_asked_for_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = some_proposals(count=8)
    found = decode_proposals(encode_proposals(stored))
    areas = []

    def decode(data: memoryview, box: tuple[int, int, int, int], area: int) -> object:
        areas.append(area)
        return mask_codec.decode_mask(data, box, area)

    monkeypatch.setattr(proposal_codec, "decode_mask", decode)

    assert same_mask(found.masks[5], stored.masks[5])
    assert same_mask(found.masks[-6], stored.masks[2])
    assert areas == [mask.area for mask in (stored.masks[5], stored.masks[2]) if mask]


def test_a_mask_beyond_the_last_is_an_index_error() -> None:
    found = decode_proposals(encode_proposals(some_proposals(count=3)))

    with pytest.raises(IndexError):
        found.masks[3]


def test_another_version_is_refused() -> None:
    data = bytearray(encode_proposals(some_proposals()))
    data[:4] = struct.pack("<I", proposal_codec.CODEC_VERSION + 1)

    with pytest.raises(RecordError, match="version"):
        decode_proposals(data)


def test_no_beginning_of_a_record_is_taken_for_one() -> None:
    data = encode_proposals(some_proposals(count=3))

    for length in range(len(data)):
        with pytest.raises(RecordError):
            decode_proposals(data[:length])


def test_a_header_that_promises_terabytes_is_refused_at_once() -> None:
    header = struct.pack("<5I", proposal_codec.CODEC_VERSION, 10, 10, 2**32 - 1, 2**32 - 1)

    with pytest.raises(RecordError, match="short"):
        decode_proposals(header + bytes(1000))


def test_an_image_larger_than_any_is_refused() -> None:
    data = bytearray(encode_proposals(some_proposals()))
    struct.pack_into("<2I", data, 4, 2**32 - 1, 2**32 - 1)

    with pytest.raises(RecordError, match="larger than any"):
        decode_proposals(data)


def test_any_damage_gives_proposals_or_an_error_of_ours() -> None:
    """Without the store's checksum wrong numbers may come out, but nothing else may happen."""
    data = encode_proposals(some_proposals(count=4))
    rng = np.random.default_rng(0)
    for _ in range(2000):
        damaged = bytearray(data)
        for place in rng.integers(0, len(data), rng.integers(1, 9)):
            damaged[place] = rng.integers(256)
        try:
            found = decode_proposals(damaged)
            masks = list(found.masks)
        except RecordError:
            continue
        height, width = found.image_size
        for mask in masks:
            if mask is not None:
                x1, y1, x2, y2 = mask.box
                assert 0 <= x1 < x2 <= width
                assert 0 <= y1 < y2 <= height
                assert mask.unpack().shape == (y2 - y1, x2 - x1)
