import numpy as np
import pytest
import torch

from ntt_plugin.engine import Candidate, Fingerprint
from ntt_plugin.engine.proposals.cache import digest_with_candidates
from ntt_plugin.engine.proposals.candidates import assign_to_tiles, candidates_digest
from ntt_plugin.engine.proposals.codec import decode_proposals, encode_proposals
from ntt_plugin.engine.proposals.joined import join_proposals
from ntt_plugin.engine.proposals.tiles import Tile, whole_image
from ntt_plugin.errors import ImageError
from tests.engine.masks.packed_masks import some_proposals

SIZE = (100, 100)
TILES = [whole_image(SIZE), Tile(0, 0, 60, 100), Tile(40, 0, 100, 100)]


def mask() -> np.ndarray:
    found = np.zeros((20, 30), bool)
    found[5:9, 10:22] = True
    return found


@pytest.mark.parametrize(
    "box",
    [[1, 2, 3], [5, 5, 5, 9], [9, 5, 2, 8], [0, 0, float("nan"), 4], "abcd", None, [0, 0, "x", 3]],
)
def test_a_box_that_is_none_is_refused(box: object) -> None:
    with pytest.raises(ImageError, match=r"box is .*four finite numbers"):
        Candidate.of_box(box)


@pytest.mark.parametrize("confidence", [-0.1, 1.5, float("nan"), "high", None])
def test_a_confidence_beyond_0_to_1_is_refused(confidence: object) -> None:
    with pytest.raises(ImageError, match=r"confidence is .*from 0 to 1"):
        Candidate.of_box([0, 0, 4, 4], confidence)


def test_a_masks_box_is_tight_and_at_its_place() -> None:
    assert Candidate.of_mask(mask(), left=100, top=7).box == (110, 12, 122, 16)


@pytest.mark.parametrize("wrong", [np.zeros((4, 4), bool), np.ones((4, 4, 1), bool), [[True]]])
def test_a_mask_that_is_none_is_refused(wrong: object) -> None:
    with pytest.raises(ImageError, match="A candidate's mask"):
        Candidate.of_mask(wrong)


@pytest.mark.parametrize(
    ("box", "tile"),
    [
        ((5, 5, 20, 20), 1),
        ((80, 5, 95, 20), 2),
        # Both tiles show it; it lies nearer to the second one's middle.
        ((48, 40, 58, 60), 2),
        # It touches the first tile's right edge and the second one's left edge.
        ((40, 40, 60, 60), 0),
        ((5, 5, 90, 20), 0),
    ],
)
def test_a_candidate_is_looked_at_where_it_is_whole(
    box: tuple[int, int, int, int], tile: int
) -> None:
    assigned = assign_to_tiles([Candidate.of_box(box)], TILES, SIZE)
    assert [len(given) for given in assigned] == [int(place == tile) for place in range(3)]


def test_without_tiles_all_candidates_are_looked_at_in_the_image() -> None:
    candidates = [Candidate.of_box((0, 0, 100, 100)), Candidate.of_box((-5, 3, 400, 9))]
    assert assign_to_tiles(candidates, TILES[:1], SIZE) == [[0, 1]]


def test_all_that_proposals_depend_on_changes_the_digest() -> None:
    other = mask()
    other[6, 12] = False
    moved = Candidate.of_mask(mask(), top=1)
    cases = [
        ([], False),
        ([], True),
        ([Candidate.of_box((0, 0, 9, 9))], False),
        ([Candidate.of_box((0, 0, 9, 9))] * 2, False),
        ([Candidate.of_box((0, 0, 9, 8))], False),
        ([Candidate.of_box((0, 0, 9, 9), 0.5)], False),
        ([Candidate.of_mask(mask())], False),
        ([Candidate(Candidate.of_mask(mask()).box)], False),
        ([moved], False),
        ([Candidate.of_mask(other)], False),
    ]
    digests = {candidates_digest(candidates, grid) for candidates, grid in cases}
    assert len(digests) == len(cases)
    box = [Candidate.of_box((0, 0, 9, 9))]
    assert len({candidates_digest(box, False, points) for points in (0, 3, 5)} - digests) == 2
    given = [Candidate.of_mask(mask())]
    assert candidates_digest(given, False, 3) == candidates_digest(given, False)
    assert candidates_digest([Candidate.of_mask(mask())], True) == candidates_digest(
        [Candidate.of_mask(mask().astype(int))], True
    )


def test_an_image_with_candidates_has_another_key() -> None:
    assert len({digest_with_candidates("image", text) for text in ("a", "b")} | {"image"}) == 3


def test_kept_proposals_say_which_candidate_they_are_of() -> None:
    part = some_proposals(0, count=5)
    sources = torch.tensor([3, 0, 7, 1, 2])
    given = type(part)(
        part.ious, part.features, part.boxes, part.masks, part.image_size, sources=sources
    )
    joined = join_proposals(
        [(part, whole_image((90, 140))), (given, whole_image((90, 140)))],
        (90, 140),
        Fingerprint("e", "d", 42, 5),
    )
    # The second of each has no pixel.
    assert joined.sources is not None
    assert joined.sources.tolist() == [-1, -1, -1, -1, 3, 7, 1, 2]
    kept = decode_proposals(encode_proposals(joined))
    assert kept.sources is not None and torch.equal(kept.sources, joined.sources)
    assert all(
        np.array_equal(kept.masks[i].unpack(), joined.masks[i].unpack()) for i in range(len(joined))
    )
    assert torch.equal(kept.features, joined.features)


def test_proposals_without_candidates_are_stored_as_before() -> None:
    data = encode_proposals(some_proposals())
    assert data[:4] == b"\1\0\0\0" and decode_proposals(data).sources is None
