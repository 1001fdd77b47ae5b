import numpy as np
import pytest
import torch
from PIL import Image

from ntt_plugin.engine import references
from ntt_plugin.engine.images.load import to_tensor
from ntt_plugin.engine.references import (
    Provenance,
    Reference,
    crop_box,
    crop_reference,
    grid_weights,
    may_be_same,
    pool_reference,
    tight_box,
)
from ntt_plugin.errors import ReferenceRefusedError


def test_tight_boxes_are_exclusive_at_the_far_corner():
    mask = np.zeros((10, 12), bool)
    mask[2:5, 3:11] = True
    assert tight_box(mask) == (3, 2, 11, 5)


def test_a_reference_without_a_box_takes_its_masks():
    mask = np.eye(4, dtype=bool)
    assert Reference("image.png", mask, "a").resolved_box() == (0, 0, 4, 4)
    assert Reference("image.png", mask, "a", box=(1, 1, 2, 2)).resolved_box() == (1, 1, 2, 2)


@pytest.mark.parametrize(
    ("sample", "label", "field", "same"),
    [
        ("s", "l", "f", True),
        (None, "l", "f", True),
        ("s", "l", None, True),
        (None, "l", None, True),
        ("t", "l", "f", False),
        ("s", "m", "f", False),
        ("s", None, "f", False),
        ("s", "l", "g", False),
    ],
)
def test_what_is_not_known_of_a_label_may_be_any(sample, label, field, same):
    one = Provenance("one", "s", "l", field="f")
    other = Provenance("other", sample, label, field=field)
    assert may_be_same(one, other) == may_be_same(other, one) == same


def test_an_empty_mask_is_refused():
    with pytest.raises(ReferenceRefusedError, match="empty"):
        Reference("image.png", np.zeros((4, 4), bool), "a").resolved_box()


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        # 30 x 20 about (45, 50): a square of 36.
        ((30, 40, 60, 60), (27, 32, 63, 68)),
        # Truncated to 30 40 60 60 first.
        ((30, 40, 60.9, 60.9), (27, 32, 63, 68)),
        # Clamped at the top left: not square any more.
        ((0, 0, 20, 10), (0, 0, 22, 17)),
        # Clamped at the bottom right of 100 x 80.
        ((80, 60, 100, 80), (78, 58, 100, 80)),
        # One pixel: a square of 1.2 about (10.5, 10.5).
        ((10, 10, 11, 11), (9, 9, 11, 11)),
    ],
)
def test_crop_boxes_worked_by_hand(box, expected):
    assert crop_box(box, (80, 100), 0.2) == expected


def test_without_context_the_crop_is_the_square_about_the_box():
    assert crop_box((10, 20, 30, 30), (80, 100), 0.0) == (10, 15, 30, 35)


@pytest.mark.parametrize(
    "box",
    [(200, 200, 220, 220), (10.2, 10.2, 10.9, 10.9), (float("nan"), 0, 5, 5), (0, 0, 9e999, 5)],
)
def test_boxes_that_cover_no_pixel_are_refused(box):
    with pytest.raises(ReferenceRefusedError, match="box"):
        crop_box(box, (80, 100), 0.2)


def test_a_crop_of_the_networks_own_size_is_left_as_it_is():
    image = torch.rand(3, 40, 50)
    mask = torch.rand(40, 50) > 0.5
    crop, weights = crop_reference(image, mask, (13, 3, 33, 23), 20, 0.0)
    assert torch.allclose(crop, image[:, 3:23, 13:33], atol=1e-6)
    assert torch.equal(weights, mask[3:23, 13:33].float())


def test_shrinking_samples_and_does_not_average():
    # Antialiasing would turn single bright lines into grey.
    image = torch.zeros(3, 64, 64)
    image[:, :, 2::8] = 1
    crop, _ = crop_reference(image, torch.ones(64, 64), (0, 0, 64, 64), 8, 0.0)
    # Sample 0 lies at pixel 3.5: cubic weights of A = -0.75 at 1.5, .5, .5, 1.5 from 2, 3, 4, 5.
    assert torch.allclose(crop, torch.full_like(crop, -0.09375), atol=1e-5)


def test_mask_and_image_must_agree_in_size():
    with pytest.raises(ReferenceRefusedError, match=r"\(9, 8\).*\(8, 8\)"):
        crop_reference(torch.rand(3, 8, 8), torch.ones(9, 8), (0, 0, 8, 8), 14, 0.2)


def test_weights_are_every_fourteenth_pixel():
    mask = torch.rand(518, 518)
    assert torch.equal(grid_weights(mask, 37), mask[::14, ::14])


def test_the_feature_is_the_weighted_mean():
    generator = np.random.default_rng(0)
    features, weights = generator.random((5, 4, 4)), generator.random((4, 4))
    expected = np.average(features.reshape(5, -1), axis=1, weights=weights.ravel())
    ours = pool_reference(torch.from_numpy(features), torch.from_numpy(weights))
    assert np.allclose(ours.numpy(), expected)


def test_weights_that_are_all_zero_are_refused():
    with pytest.raises(ReferenceRefusedError, match="too small or too thin"):
        pool_reference(torch.rand(5, 4, 4), torch.zeros(4, 4))


def test_features_that_are_not_finite_are_refused():
    with pytest.raises(ReferenceRefusedError, match="not finite"):
        pool_reference(torch.full((5, 4, 4), float("nan")), torch.ones(4, 4))


@pytest.mark.parametrize("box", [(30, 40, 60, 60), (0, 0, 20, 10), (80, 60, 100, 80)])
def test_a_pictures_crop_is_the_same_and_the_rest_of_it_never_becomes_floats(box, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (80, 100, 3), dtype=np.uint8)
    picture, mask = Image.fromarray(pixels), torch.rand(80, 100) > 0.5
    expected = crop_reference(to_tensor(picture), mask, box, 70, 0.2)
    converted = []

    def convert(part):
        converted.append(part.size)
        return to_tensor(part)

    monkeypatch.setattr(references, "to_tensor", convert)
    crop, weights = crop_reference(picture, mask, box, 70, 0.2)
    assert torch.equal(crop, expected[0]) and torch.equal(weights, expected[1])
    left, top, right, bottom = crop_box(box, (80, 100), 0.2)
    assert converted == [(right - left, bottom - top)]


def test_a_picture_and_a_mask_of_another_size_are_refused():
    with pytest.raises(ReferenceRefusedError, match=r"mask is \(9, 8\) and its image \(8, 8\)"):
        crop_reference(Image.new("RGB", (8, 8)), torch.ones(9, 8), (0, 0, 8, 8), 14, 0.2)
