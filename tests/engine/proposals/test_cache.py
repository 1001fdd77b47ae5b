import struct
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ntt_plugin.engine import Instances, MemoryBank, Proposals, Recipe, Segmenter, match
from ntt_plugin.engine.bank.memory_bank import Fingerprint
from ntt_plugin.engine.masks.packed import RecordError
from ntt_plugin.engine.proposals import cache as module
from ntt_plugin.engine.proposals.cache import ProposalCache, image_digest, proposal_key
from ntt_plugin.engine.proposals.codec import encode_proposals
from ntt_plugin.engine.proposals.record_files import list_records
from ntt_plugin.engine.proposals.store import ProposalStore
from tests.engine.masks.packed_masks import some_proposals

CHANNELS = 5
ENCODER = Fingerprint("encoder", "0123456789abcdef", 64, CHANNELS)
IMAGE = "a" * 64


@pytest.fixture
def store(tmp_path: Path) -> ProposalStore:
    return ProposalStore(tmp_path / "kept", max_bytes=10**9)


@pytest.fixture
def cache(store: ProposalStore) -> ProposalCache:
    return ProposalCache(store, "upstream", ENCODER)


def random_proposals(seed: int, count: int, image_size: tuple[int, int]) -> Proposals:
    """Proposals of smooth random logits, as a segmenter gives them."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, 1, 5, 5, generator=generator)
    logits = F.interpolate(coarse, 64, mode="bicubic")[:, 0] if count else torch.zeros(0, 64, 64)
    features = torch.randn(CHANNELS, 8, 8, generator=generator)
    ious = torch.rand(count, generator=generator)
    return Proposals.from_logits(logits, ious, features, image_size, ENCODER)


def random_bank(seed: int) -> MemoryBank:
    generator = torch.Generator().manual_seed(seed)
    bank = MemoryBank(ENCODER)
    for label in "abc":
        bank.add(label, torch.randn(3, CHANNELS, generator=generator))
    bank.add_negatives("b", torch.randn(2, CHANNELS, generator=generator))
    return bank


def assert_identical(one: Instances, other: Instances) -> None:
    assert one.labels == other.labels and one.references == other.references
    assert one.image_size == other.image_size
    for name in ("boxes", "scores", "margins", "proposal_ious"):
        found, expected = getattr(one, name), getattr(other, name)
        assert found.dtype == expected.dtype and np.array_equal(found, expected), name
    for mask, expected in zip(one.masks, other.masks, strict=True):
        assert np.array_equal(mask, expected)


@pytest.mark.parametrize(
    ("count", "image_size"),
    [(60, (120, 160)), (60, (33, 470)), (9, (3000, 4000)), (1, (7, 5)), (0, (50, 60))],
)
@pytest.mark.parametrize("rescoring", ["decay", "diffusion"])
def test_kept_proposals_match_as_fresh_ones_do_bit_for_bit(
    cache: ProposalCache, count: int, image_size: tuple[int, int], rescoring: str
) -> None:
    fresh = random_proposals(count, count, image_size)
    assert cache.save(IMAGE, fresh)
    kept = cache.load(IMAGE)
    assert kept is not None and len(kept) == len(fresh) and kept.fingerprint == ENCODER
    found = 0
    for seed in range(4):
        recipe = Recipe(rescoring=rescoring, nms_iou=0.3 + 0.2 * seed)
        bank = random_bank(seed)
        expected = match(fresh, bank, recipe)
        assert_identical(match(kept, bank, recipe), expected)
        found += len(expected)
    assert found > 0 or count == 0


def test_proposals_of_networks_match_the_same_when_kept(store: ProposalStore) -> None:
    segmenter = Segmenter.from_preset("tiny", device="cpu", grid=6)
    rng = np.random.default_rng(0)
    image = np.kron(rng.integers(0, 256, (6, 8, 3)), np.ones((40, 40, 1))).astype(np.uint8)
    bank = MemoryBank(segmenter.fingerprint, segmenter.recipe)
    for label in "ab":
        bank.add(label, torch.randn(3, segmenter.fingerprint.channels))
    assert segmenter.upstream is not None
    cache = ProposalCache(store, segmenter.upstream, segmenter.fingerprint)
    fresh = segmenter.propose(image)
    cache.save(image_digest(image), fresh)
    kept = cache.load(image_digest(image))

    assert kept is not None and len(fresh) > 3
    expected = match(fresh, bank, segmenter.recipe)
    assert len(expected) > 1
    assert_identical(match(kept, bank, segmenter.recipe), expected)


def test_another_image_or_another_segmenter_has_its_own(
    store: ProposalStore, cache: ProposalCache
) -> None:
    cache.save(IMAGE, some_proposals())

    assert cache.load("b" * 64) is None
    assert ProposalCache(store, "other weights", ENCODER).load(IMAGE) is None
    assert store.counts.damaged == 0


def test_damage_is_a_miss_that_is_reported(store: ProposalStore, cache: ProposalCache) -> None:
    cache.save(IMAGE, some_proposals())
    (record,) = list_records(store.folder)
    data = bytearray(record.path.read_bytes())
    data[len(data) // 2] ^= 1
    record.path.write_bytes(data)

    assert cache.load(IMAGE) is None
    assert (store.counts.misses, store.counts.damaged) == (1, 1)
    assert "is damaged" in str(store.counts.problem)


def test_a_record_that_cannot_be_decoded_is_a_miss_that_is_reported(
    store: ProposalStore, cache: ProposalCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RecordError("it is cut short")

    cache.save(IMAGE, some_proposals())
    monkeypatch.setattr(module, "decode_proposals", refuse)

    assert cache.load(IMAGE) is None
    assert (store.counts.hits, store.counts.misses, store.counts.damaged) == (0, 1, 1)
    assert "cut short" in str(store.counts.problem)


def test_what_cannot_be_kept_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = ProposalCache(ProposalStore(tmp_path / "file", 10**9), "upstream", ENCODER)

    assert not cache.save(IMAGE, some_proposals())
    assert cache.load(IMAGE) is None


@pytest.mark.parametrize(
    "forged",
    [
        {"ious": torch.full((6,), float("nan"))},
        {"boxes": torch.full((6, 4), float("inf"))},
        {"features": torch.full((6, CHANNELS), float("nan"))},
        {"features": torch.full((6, CHANNELS), 1e30)},
        {"features": torch.zeros(6, CHANNELS + 1)},
        {"image_size": (91, 140)},
        {"stability": torch.full((6,), float("nan"))},
        {"stability": torch.full((6,), 1.5)},
    ],
    ids=str,
)
def test_a_record_with_absurd_content_is_a_miss_that_is_reported(
    store: ProposalStore, cache: ProposalCache, forged: dict[str, object]
) -> None:
    """Whoever can write to the folder can write a valid checksum."""
    cache.save(IMAGE, replace(some_proposals(), **forged))

    assert cache.load(IMAGE, (90, 140)) is None
    assert (store.counts.hits, store.counts.misses, store.counts.damaged) == (0, 1, 1)


def test_fuzzed_records_with_valid_checksums_match_or_are_reported(
    store: ProposalStore, cache: ProposalCache
) -> None:
    """Each field of the layout, written over with what it may not hold."""
    size = (90, 140)
    data = encode_proposals(some_proposals(image_size=size))
    key, bank, rng = proposal_key(IMAGE, "upstream"), random_bank(0), np.random.default_rng(0)
    used = 0
    for _ in range(1500):
        forged = bytearray(data)
        for place in rng.integers(0, len(data) // 4 - 1, rng.integers(1, 4)) * 4:
            words = (0, 1, 2**31 - 1, 2**32 - 1, 0x7F800000, 0x7FC00000, int(rng.integers(2**32)))
            struct.pack_into("<I", forged, int(place), int(rng.choice(words)))
        assert store.put(key, bytes(forged))
        kept = cache.load(IMAGE, size)
        if kept is None:
            continue
        with suppress(RecordError):
            for mask in match(kept, bank, Recipe()).masks:
                assert mask.any()
            used += 1
    assert 0 < used < 1500
