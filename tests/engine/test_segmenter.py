import copy
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import Sam2Model

from ntt_plugin.engine import Instances, MemoryBank, Provenance, Recipe, Reference, Segmenter, match
from ntt_plugin.engine.proposals.codec import decode_proposals, encode_proposals
from ntt_plugin.errors import BankError, ImageError, RecipeError, ReferenceRefusedError


def picture(seed: int, height: int = 50, width: int = 80) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def square(top: int, left: int, side: int, height: int = 50, width: int = 80) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    mask[top : top + side, left : left + side] = True
    return mask


def test_segmenting_is_proposing_and_matching(segmenter: Segmenter) -> None:
    bank = segmenter.build_bank([Reference(picture(0), square(5, 5, 30), "cat")])
    joined = segmenter.segment(picture(1), bank)
    halves = match(segmenter.propose(picture(1)), bank, segmenter.recipe)
    assert len(joined) == len(halves)
    assert np.array_equal(joined.scores, halves.scores)
    assert joined.image_size == (50, 80)


def test_the_input_is_resized_by_pil_and_the_encoders_from_that(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recipe, sections 3.1 and 3.2: the encoder sees the segmenter's resized input."""
    seen = {}
    encode, propose = segmenter._encoder.encode, segmenter._proposer.propose

    def keep_encode(images: torch.Tensor) -> torch.Tensor:
        seen["encoder"] = images
        return encode(images)

    def keep_propose(image: torch.Tensor, *arguments: float) -> tuple[torch.Tensor, torch.Tensor]:
        seen["segmenter"] = image
        return propose(image, *arguments)

    monkeypatch.setattr(segmenter._encoder, "encode", keep_encode)
    monkeypatch.setattr(segmenter._proposer, "propose", keep_propose)
    segmenter.propose(picture(2))
    resized = Image.fromarray(picture(2)).resize((64, 64), Image.Resampling.BICUBIC)
    expected = torch.from_numpy(np.array(resized)).permute(2, 0, 1).float() / 255
    torch.testing.assert_close(seen["segmenter"], expected)
    small = torch.nn.functional.interpolate(
        expected[None], (42, 42), mode="bicubic", align_corners=False, antialias=False
    )
    torch.testing.assert_close(seen["encoder"], small)


def test_a_bank_keeps_the_recipe_that_it_was_built_with(segmenter: Segmenter) -> None:
    bank = segmenter.build_bank([Reference(picture(0), square(5, 5, 30), "cat")])
    assert bank.recipe == segmenter.recipe


def test_classes_may_have_different_numbers_of_references(segmenter: Segmenter) -> None:
    references = [Reference(picture(i), square(5, 5 + i, 30), "cat") for i in range(3)]
    references.append(Reference(picture(9), square(0, 0, 40), "dog"))
    bank = segmenter.build_bank(references, progress=False)
    assert [bank.shots(label) for label in bank.classes] == [3, 1]
    assert bank.fingerprint == segmenter.fingerprint


def test_a_reference_without_a_feature_is_named_and_left_out(segmenter: Segmenter) -> None:
    empty = Reference(
        picture(0), np.zeros((50, 80), bool), "cat", provenance=Provenance(sample="s1", label="l1")
    )
    bank = segmenter.build_bank([Reference(picture(0), square(5, 5, 30), "cat"), empty])
    assert bank.shots("cat") == 1
    (refused,) = bank.refused
    assert refused.provenance.label == "l1"
    assert "empty" in refused.reason


@pytest.mark.parametrize("mask", [None, square(5, 5, 30)[0], square(5, 5, 30)[..., None]])
def test_a_mask_of_another_form_is_refused_like_any_other(
    segmenter: Segmenter, mask: np.ndarray
) -> None:
    good = Reference(picture(0), square(5, 5, 30), "cat")
    bank = segmenter.build_bank([good, Reference(picture(0), mask, "cat")])
    assert bank.shots("cat") == 1
    assert "not an array (height, width)" in bank.refused[0].reason


def test_a_class_left_without_references_is_an_error_that_names_it(segmenter: Segmenter) -> None:
    references = [
        Reference(picture(0), square(5, 5, 30), "cat"),
        Reference(picture(0), np.zeros((50, 80), bool), "dog"),
    ]
    with pytest.raises(ReferenceRefusedError, match=r"'dog'.*mask is empty"):
        segmenter.build_bank(references)


def test_no_references_are_an_error(segmenter: Segmenter) -> None:
    with pytest.raises(BankError, match="no references"):
        segmenter.build_bank([])


def test_a_bank_of_another_encoder_is_refused_with_both_names(
    segmenter: Segmenter, sam2_folder: Path, tmp_path: Path
) -> None:
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(7)
    config = Dinov2Config(
        hidden_size=64, num_hidden_layers=1, num_attention_heads=1, image_size=42, patch_size=14
    )
    Dinov2Model(config).save_pretrained(tmp_path / "other_encoder")
    other = Segmenter.from_preset(
        Recipe(
            segmenter=str(sam2_folder), encoder=str(tmp_path / "other_encoder"), encoder_size=42
        ),
        device="cpu",
    )
    bank = other.build_bank([Reference(picture(0), square(5, 5, 30), "cat")])
    with pytest.raises(BankError) as caught:
        segmenter.segment(picture(1), bank)
    assert "other_encoder" in str(caught.value)
    assert segmenter.fingerprint.name in str(caught.value)


def test_an_image_without_proposals_has_no_instances(
    sam2_folder: Path, dinov2_folder: Path
) -> None:
    recipe = Recipe(
        segmenter=str(sam2_folder), encoder=str(dinov2_folder), encoder_size=42, iou_threshold=1.0
    )
    segmenter = Segmenter.from_preset(recipe, device="cpu")
    bank = segmenter.build_bank([Reference(picture(0), square(5, 5, 30), "cat")])
    found = segmenter.segment(picture(1), bank)
    assert isinstance(found, Instances)
    assert len(found) == 0


def test_masks_from_boxes_have_the_images_size(segmenter: Segmenter) -> None:
    masks = segmenter.masks_from_boxes(picture(0), [[2, 3, 40, 30], [10, 10, 70, 45]])
    assert [mask.shape for mask in masks] == [(50, 80), (50, 80)]
    assert all(mask.dtype == bool for mask in masks)


def test_boxes_are_scaled_to_the_segmenters_input(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {}
    decode = segmenter._proposer.masks_from_boxes

    def keep(
        image: torch.Tensor, boxes: torch.Tensor, batch: int, points: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        seen["boxes"] = boxes
        return decode(image, boxes, batch, points)

    monkeypatch.setattr(segmenter._proposer, "masks_from_boxes", keep)
    segmenter.masks_from_boxes(picture(0), [[0, 0, 40, 25]])
    torch.testing.assert_close(seen["boxes"], torch.tensor([[0.0, 0.0, 32.0, 32.0]]))


@pytest.mark.parametrize(
    "box",
    [
        [1, 2, 3],
        [1, 2, 3, 4, 5],
        [1, 2, 3, float("nan")],
        [0, 0, float("inf"), 9],
        [0, 0, 1e300, 10**400],
        "abcd",
        7,
    ],
)
def test_a_box_that_is_none_is_named(segmenter: Segmenter, box: object) -> None:
    with pytest.raises(ImageError, match=r"Box 1 is .*four finite numbers"):
        segmenter.masks_from_boxes(picture(0), [[2, 3, 40, 30], box])


def test_an_empty_bank_is_refused_before_the_networks_run(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segmenter, "propose", None)
    with pytest.raises(BankError, match="holds no class"):
        segmenter.segment(picture(0), MemoryBank(segmenter.fingerprint))


def test_no_boxes_give_no_masks(segmenter: Segmenter) -> None:
    assert segmenter.masks_from_boxes(picture(0), []) == []


def test_overrides_change_a_named_preset() -> None:
    segmenter = Segmenter.from_preset("tiny", device="cpu", grid=3, max_instances=2)
    assert (segmenter.recipe.grid, segmenter.recipe.max_instances) == (3, 2)


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(RecipeError, match="huge"):
        Segmenter.from_preset("huge", device="cpu")


def test_other_constants_run_over_the_same_networks(segmenter: Segmenter) -> None:
    recipe = replace(segmenter.recipe, iou_threshold=0.5, max_instances=3, context_ratio=1.0)
    other = segmenter.with_recipe(recipe)
    assert other._encoder is segmenter._encoder and other._proposer is segmenter._proposer
    assert other.recipe == recipe and other.fingerprint.context_ratio == 1.0
    assert segmenter.recipe.max_instances == 100 and segmenter.fingerprint.context_ratio == 0.2
    assert (other.propose(picture(0)).ious > 0.5).all()


@pytest.mark.parametrize(
    "change",
    [{"segmenter": "a/b"}, {"encoder": "a/b"}, {"encoder_size": 56}, {"precision": "bfloat16"}],
)
def test_other_networks_are_not_taken_for_these(
    segmenter: Segmenter, change: dict[str, object]
) -> None:
    with pytest.raises(RecipeError, match="needs the networks"):
        segmenter.with_recipe(replace(segmenter.recipe, **change))


def test_near_duplicates_are_dropped_if_the_recipe_says_so(segmenter: Segmenter) -> None:
    every = segmenter.propose(picture(3))
    fewer = segmenter.with_recipe(replace(segmenter.recipe, duplicate_iou=0.5)).propose(picture(3))
    assert 0 < len(fewer) < len(every)


def test_near_duplicates_of_all_tiles_are_dropped_too(segmenter: Segmenter) -> None:
    recipe = replace(segmenter.recipe, tile=40, tile_overlap=0.5, duplicate_iou=0.5)
    for found in (
        segmenter.with_recipe(recipe).propose(picture(3)),
        segmenter.with_recipe(recipe).propose_candidates(picture(3), [], grid=True),
    ):
        masks = [found.masks[index] for index in range(len(found))]
        shared = [a.intersection(b) for a, b in combinations(masks, 2)]
        areas = [a.area + b.area for a, b in combinations(masks, 2)]
        assert len(masks) > 1
        assert all(s / (a - s) < 0.5 for s, a in zip(shared, areas, strict=True))


def test_what_is_upstream_of_proposals_is_told_by_weights_and_recipe(
    segmenter: Segmenter, sam2_model: Sam2Model, tmp_path: Path
) -> None:
    twin = Segmenter.from_preset(replace(segmenter.recipe, nms_iou=0.9), device="cpu")
    assert segmenter.upstream == twin.upstream
    assert segmenter.with_recipe(replace(segmenter.recipe, grid=3)).upstream != twin.upstream

    changed = copy.deepcopy(sam2_model)
    next(changed.mask_decoder.parameters()).data += 1
    changed.save_pretrained(tmp_path / "changed")
    recipe = replace(segmenter.recipe, segmenter=str(tmp_path / "changed"))
    assert Segmenter.from_preset(recipe, device="cpu").upstream != twin.upstream


def test_of_unknown_weights_nothing_upstream_is_told(segmenter: Segmenter) -> None:
    unknown = Segmenter(segmenter.recipe, segmenter._encoder, segmenter._proposer, segmenter.device)
    assert unknown.upstream is None


def test_tiles_are_proposed_like_images_of_their_own(segmenter: Segmenter) -> None:
    tiled = segmenter.with_recipe(replace(segmenter.recipe, tile=40, tile_overlap=0.25))
    image = picture(3)
    found = tiled.propose(image)
    # 50 x 80 pixels: two rows of tiles, three columns 20 pixels apart.
    views = [(0, 0, 80, 50)] + [(x, y, x + 40, y + 40) for y in (0, 10) for x in (0, 20, 40)]
    expected: list[tuple[float, np.ndarray, torch.Tensor]] = []
    for x1, y1, x2, y2 in views:
        alone = segmenter.propose(np.ascontiguousarray(image[y1:y2, x1:x2]))
        for index, mask in enumerate(alone.some_masks(range(len(alone)))):
            if mask is None:
                continue
            full = np.zeros((50, 80), bool)
            u1, v1, u2, v2 = mask.box
            full[y1 + v1 : y1 + v2, x1 + u1 : x1 + u2] = mask.unpack()
            left, right = (x1 > 0 and u1 == 0), (x2 < 80 and u2 == x2 - x1)
            above, below = (y1 > 0 and v1 == 0), (y2 < 50 and v2 == y2 - y1)
            if not (left or right or above or below):
                expected.append((float(alone.ious[index]), full, alone.features[index]))
    whole = len(segmenter.propose(image))
    assert whole < len(expected) == len(found)
    for place, (iou, full, feature) in enumerate(expected):
        mask = found.masks[place]
        assert mask is not None and float(found.ious[place]) == iou
        x1, y1, x2, y2 = mask.box
        assert np.array_equal(full[y1:y2, x1:x2], mask.unpack()) and full.sum() == mask.area
        assert torch.equal(found.features[place], feature)


def test_an_image_no_larger_than_a_tile_is_proposed_as_without_tiles(segmenter: Segmenter) -> None:
    plain = segmenter.propose(picture(3))
    tiled = segmenter.with_recipe(replace(segmenter.recipe, tile=80)).propose(picture(3))
    assert torch.equal(plain.boxes, tiled.boxes) and torch.equal(plain.features, tiled.features)


def test_progress_counts_the_tiles_and_can_stop_the_work(segmenter: Segmenter) -> None:
    tiled = segmenter.with_recipe(replace(segmenter.recipe, tile=40, tile_overlap=0.25))
    seen = []
    tiled.propose(picture(3), lambda done, total: seen.append((done, total)))
    assert seen == [(done, 7) for done in range(1, 8)]

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiled.propose(picture(3), stop)


def test_the_batch_stays_halved_for_the_tiles_that_follow(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiled = segmenter.with_recipe(replace(segmenter.recipe, tile=40, point_batch=16))
    expected = tiled.propose(picture(3))
    attend, sizes = segmenter._proposer._decoder.attend_points, []

    def attend_few(shared: object, points: torch.Tensor) -> object:
        sizes.append(len(points))
        if len(points) > 8:
            raise MemoryError
        return attend(shared, points)

    monkeypatch.setattr(segmenter._proposer._decoder, "attend_points", attend_few)
    found = tiled.propose(picture(3))
    assert sizes.count(16) == 1 and set(sizes) == {16, 8}
    assert len(found) == len(expected)
    torch.testing.assert_close(found.ious, expected.ious)


def test_proposals_of_tiles_are_kept_and_matched_as_fresh_ones(segmenter: Segmenter) -> None:
    tiled = segmenter.with_recipe(replace(segmenter.recipe, tile=40))
    bank = tiled.build_bank([Reference(picture(0), square(5, 5, 30), "cat")])
    fresh = tiled.propose(picture(3))
    kept = decode_proposals(encode_proposals(fresh), tiled.fingerprint)
    one, other = (match(proposals, bank, tiled.recipe) for proposals in (fresh, kept))
    assert len(one) > 0 and np.array_equal(one.scores, other.scores)
    assert all(np.array_equal(one.full_mask(i), other.full_mask(i)) for i in range(len(one)))
