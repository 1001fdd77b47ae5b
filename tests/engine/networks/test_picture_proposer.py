"""Proposals of candidates, against crops and full-size masks proposed by the plain ways."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ntt_plugin.engine import Candidate, Reference, Segmenter, match
from ntt_plugin.engine.images.load import read_image
from ntt_plugin.engine.proposals.proposals import Proposals
from ntt_plugin.errors import ImageError

HEIGHT, WIDTH = 50, 80
BOXES = [[2, 3, 20, 15], [30, 10, 70, 45], [44, 22, 60, 38]]


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def full(proposals: Proposals, index: int) -> np.ndarray:
    mask, found = proposals.masks[index], np.zeros((HEIGHT, WIDTH), bool)
    assert mask is not None
    x1, y1, x2, y2 = mask.box
    found[y1:y2, x1:x2] = mask.unpack()
    return found


def drawn() -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[20:41, 43:61] = np.random.default_rng(0).random((21, 18)) < 0.7
    mask[20, 43] = True
    return mask


def mean_feature(segmenter: Segmenter, image: np.ndarray, mask: np.ndarray) -> torch.Tensor:
    """The mean of the patch features, upsampled to the image's size, under a mask."""
    pixels = segmenter._pictures.pixels(read_image(image))
    side = segmenter._encoder.size
    small = F.interpolate(pixels[None], (side, side), mode="bicubic", align_corners=False)
    with torch.inference_mode():
        patches = segmenter._encoder.encode(small)
    large = F.interpolate(patches, mask.shape, mode="bilinear", antialias=True)[0]
    return F.normalize(large[:, torch.from_numpy(mask)].mean(dim=1), dim=0)


def test_boxes_become_the_masks_that_the_segmenter_makes(
    segmenter: Segmenter, image: np.ndarray
) -> None:
    candidates = [Candidate.of_box(box, 0.1 * (n + 1)) for n, box in enumerate(BOXES)]
    found = segmenter.propose_candidates(image, candidates)
    expected = [mask for mask in segmenter.masks_from_boxes(image, BOXES)]
    assert found.sources is not None
    assert found.sources.tolist() == [n for n, mask in enumerate(expected) if mask.any()]
    for place, source in enumerate(found.sources.tolist()):
        assert np.array_equal(full(found, place), expected[source])
        assert float(found.ious[place]) == pytest.approx(0.1 * (source + 1))


def test_masks_of_boxes_are_chosen_by_the_recipes_points(
    segmenter: Segmenter, image: np.ndarray
) -> None:
    pointed = segmenter.with_recipe(replace(segmenter.recipe, box_points=2))
    expected = pointed.masks_from_boxes(image, BOXES)
    plain = segmenter.masks_from_boxes(image, BOXES)
    assert any((one != other).any() for one, other in zip(expected, plain, strict=True))
    found = pointed.propose_candidates(image, [Candidate.of_box(box) for box in BOXES])
    assert found.sources is not None
    for place, source in enumerate(found.sources.tolist()):
        assert np.array_equal(full(found, place), expected[source])


def test_stability_is_measured_where_the_recipe_weighs_scores_by_it(
    segmenter: Segmenter, image: np.ndarray
) -> None:
    weighing = segmenter.with_recipe(replace(segmenter.recipe, stability_exponent=1.0))
    plain, found = segmenter.propose(image), weighing.propose(image)
    logits = plain.masks.logits.flatten(1)
    assert plain.stability is None and found.stability is not None
    assert torch.equal(found.stability, (logits > 1).sum(1) / (logits > -1).sum(1))
    given = [Candidate.of_box(BOXES[1]), Candidate.of_mask(drawn())]
    joined = weighing.propose_candidates(image, given, grid=True)
    assert joined.stability is not None and joined.sources is not None
    # A mask that is given counts in full.
    assert joined.stability[joined.sources == 1].tolist() == [1.0]
    assert (joined.stability[joined.sources == 0] < 1).all()
    kept = [index for index, mask in enumerate(found.masks) if mask is not None]
    assert torch.equal(joined.stability[joined.sources < 0], found.stability[kept])
    assert segmenter.propose_candidates(image, given, grid=True).stability is None


def test_a_boxs_feature_is_pooled_as_that_of_a_point(
    segmenter: Segmenter, image: np.ndarray
) -> None:
    found = segmenter.propose_candidates(image, [Candidate.of_box(BOXES[1])])
    picture = read_image(image)
    pixels = segmenter._pictures.pixels(picture)
    prompts = torch.tensor([BOXES[1]]) * torch.tensor([64 / WIDTH, 64 / HEIGHT] * 2)
    logits, ious = segmenter._proposer.masks_from_boxes(pixels, prompts)
    plain = Proposals.from_logits(
        logits, ious, segmenter._pictures._encode(pixels), (HEIGHT, WIDTH)
    )
    torch.testing.assert_close(found.features, plain.features)


def test_a_mask_is_taken_as_it_is_with_the_mean_feature_under_it(
    segmenter: Segmenter, image: np.ndarray
) -> None:
    found = segmenter.propose_candidates(image, [Candidate.of_mask(drawn(), confidence=0.3)])
    assert np.array_equal(full(found, 0), drawn())
    assert found.ious.tolist() == pytest.approx([0.3])
    torch.testing.assert_close(found.features[0], mean_feature(segmenter, image, drawn()))


def test_the_grids_proposals_come_first_and_are_those_without_candidates(
    segmenter: Segmenter, image: np.ndarray
) -> None:
    candidates = [Candidate.of_mask(drawn()), Candidate.of_box(BOXES[0])]
    found = segmenter.propose_candidates(image, candidates, grid=True)
    alone = segmenter.propose(image)
    masks = [mask for mask in alone.some_masks(range(len(alone))) if mask is not None]
    assert found.sources is not None
    assert found.sources.tolist()[: len(masks)] == [-1] * len(masks)
    assert sorted(found.sources.tolist()[len(masks) :]) == [0, 1]
    for place, mask in enumerate(masks):
        kept = found.masks[place]
        assert kept is not None and kept.box == mask.box
        assert np.array_equal(kept.unpack(), mask.unpack())


def test_in_tiles_a_candidate_is_looked_at_like_in_a_crop(
    segmenter: Segmenter, image: np.ndarray
) -> None:
    tiled = segmenter.with_recipe(replace(segmenter.recipe, tile=40, tile_overlap=0.25))
    box = BOXES[2]
    found = tiled.propose_candidates(image, [Candidate.of_box(box), Candidate.of_mask(drawn())])
    # Tiles begin at 0, 20 and 40 pixels from the left, at 0 and 10 from above.
    crop = np.ascontiguousarray(image[10:50, 40:80])
    inner = [box[0] - 40, box[1] - 10, box[2] - 40, box[3] - 10]
    (mask,) = segmenter.masks_from_boxes(crop, [inner])
    assert np.array_equal(full(found, 0), np.pad(mask, ((10, 0), (40, 0))))
    assert np.array_equal(full(found, 1), drawn())
    cropped = drawn()[10:50, 40:80]
    torch.testing.assert_close(found.features[1], mean_feature(segmenter, crop, cropped))


def test_instances_name_the_candidates_they_were_made_of(
    segmenter: Segmenter, image: np.ndarray
) -> None:
    bank = segmenter.build_bank([Reference(image, drawn(), "thing")], progress=False)
    other = np.zeros((HEIGHT, WIDTH), bool)
    other[2:9, 3:20] = True
    candidates = [Candidate.of_mask(other, confidence=0.9), Candidate.of_mask(drawn())]
    found = match(segmenter.propose_candidates(image, candidates), bank, segmenter.recipe)
    assert found.sources is not None
    for index, source in enumerate(found.sources.tolist()):
        assert np.array_equal(found.full_mask(index), [other, drawn()][source])
    assert match(segmenter.propose(image), bank, segmenter.recipe).sources is None


def test_no_candidates_give_no_proposals(segmenter: Segmenter, image: np.ndarray) -> None:
    assert len(segmenter.propose_candidates(image, [])) == 0


def test_a_mask_of_another_image_is_named(segmenter: Segmenter, image: np.ndarray) -> None:
    large = np.ones((HEIGHT, WIDTH + 1), bool)
    with pytest.raises(ImageError, match="candidate 1 reaches to 81, 50"):
        segmenter.propose_candidates(image, [Candidate.of_mask(drawn()), Candidate.of_mask(large)])


def seen_as_squares(segmenter: Segmenter) -> Segmenter:
    return segmenter.with_recipe(replace(segmenter.recipe, encoding="squares"))


@pytest.mark.parametrize("axis", [0, 1])
def test_features_of_squares_are_pooled_over_the_squares_patches(
    segmenter: Segmenter, axis: int
) -> None:
    parts = np.random.default_rng(4).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    image = np.concatenate(list(parts), axis=axis)
    mask = np.zeros(image.shape[:2], bool)
    mask[(slice(90, 150), slice(5, 40))[:: 1 if axis == 0 else -1]] = True
    found = seen_as_squares(segmenter).propose_candidates(image, [Candidate.of_mask(mask)])
    pictures, size = segmenter._pictures, segmenter._encoder.size
    boxes = [(0, start, 64, start + 64) for start in (0, 64, 128)]
    made = []
    for box in (
        boxes if axis == 0 else [(top, left, bottom, right) for left, top, right, bottom in boxes]
    ):
        pixels = pictures.pixels(read_image(image), box)[None]
        small = F.interpolate(pixels, (size, size), mode="bicubic", align_corners=False)
        with torch.inference_mode():
            made.append(segmenter._encoder.encode(small)[0])
    patches = torch.cat(made, dim=axis + 1)[None]
    large = F.interpolate(patches, mask.shape, mode="bilinear", antialias=True)[0]
    expected = F.normalize(large[:, torch.from_numpy(mask)].mean(dim=1), dim=0)
    assert torch.allclose(found.features[0], expected, atol=1e-5)


def test_squares_change_features_alone(segmenter: Segmenter, image: np.ndarray) -> None:
    plain, found = segmenter.propose(image), seen_as_squares(segmenter).propose(image)
    assert len(found) and torch.equal(found.ious, plain.ious)
    assert all(
        np.array_equal(full(found, index), full(plain, index)) for index in range(len(found))
    )
    assert not torch.allclose(found.features, plain.features, atol=1e-3)


def test_a_square_image_is_one_square(segmenter: Segmenter, image: np.ndarray) -> None:
    square = np.ascontiguousarray(image[:, :HEIGHT])
    plain, found = segmenter.propose(square), seen_as_squares(segmenter).propose(square)
    assert len(found) and torch.equal(found.features, plain.features)
