"""Masks of another size than their box: cropped ones stretched, whole ones placed, others told."""

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

from ntt_plugin.dataset.labels.placed_masks import full_mask, placed_mask, seems_inverted
from ntt_plugin.errors import DatasetError
from ntt_plugin.worker.labels.boxes import relative_box

SIZES = [(64, 96), (96, 64), (80, 80), (480, 641)]


def ellipse(size, box):
    """An ellipse that fills a pixel box x1 y1 x2 y2, bool of a size (H, W)."""
    x1, y1, x2, y2 = box
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    across, down = (columns - (x1 + x2) / 2) / (x2 - x1), (rows - (y1 + y2) / 2) / (y2 - y1)
    return across**2 + down**2 <= 0.25


def resized(mask, size):
    picture = Image.fromarray(mask).resize(size[::-1], Image.Resampling.NEAREST)
    return np.array(picture)


def boxes(size):
    """Boxes in all parts of an image, wide, high and square ones."""
    height, width = size
    for fraction in [(0.1, 0.1, 0.4, 0.8), (0.5, 0.3, 0.95, 0.6), (0.0, 0.0, 0.3, 0.5)]:
        x1, y1, x2, y2 = fraction
        yield round(x1 * width), round(y1 * height), round(x2 * width), round(y2 * height)
    # A square of no simple fraction of a square image: sizes must not agree by chance.
    side = min(size) * 9 // 20
    yield 5, 7, 5 + side, 7 + side
    yield width - side, height - side, width, height


def label(box, size, mask):
    return fo.Detection(label="a", bounding_box=relative_box(box, size), mask=mask)


@pytest.mark.parametrize("size", SIZES)
def test_a_mask_of_the_images_size_is_placed_as_it_is(size, tmp_path):
    for box in boxes(size):
        whole = ellipse(size, box)
        assert np.array_equal(full_mask(label(box, size, whole), size), whole)
        path = tmp_path / "mask.png"
        Image.fromarray(whole).save(path)
        detection = fo.Detection(bounding_box=relative_box(box, size), mask_path=str(path))
        assert np.array_equal(full_mask(detection, size), whole)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("change", [(-2, -2), (-1, 0), (1, 2), (0, -1)])
def test_a_mask_of_nearly_the_images_size_is_laid_over_the_image(size, change):
    for box in boxes(size):
        whole = ellipse(size, box)
        near = resized(whole, (size[0] + change[0], size[1] + change[1]))
        found = full_mask(label(box, size, near), size)
        assert (found & whole).sum() / (found | whole).sum() > 0.85


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", [0.5, 0.25, 2.0])
def test_a_mask_of_the_whole_image_at_another_resolution_is_laid_over_the_image(size, scale):
    for box in boxes(size):
        whole = ellipse(size, box)
        other = resized(whole, (round(size[0] * scale), round(size[1] * scale)))
        found = full_mask(label(box, size, other), size)
        assert (found & whole).sum() / (found | whole).sum() > 0.7


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", [0.3, 0.5, 2.0, 3.0])
def test_a_cropped_mask_at_another_resolution_is_stretched_to_its_box(size, scale):
    for box in boxes(size):
        x1, y1, x2, y2 = box
        whole = ellipse(size, box)
        crop = whole[y1:y2, x1:x2]
        other = resized(crop, tuple(round(side * scale) for side in crop.shape))
        found = full_mask(label(box, size, other), size)
        assert (found & whole).sum() / (found | whole).sum() > 0.8


def test_a_loose_cropped_mask_of_few_pixels_is_stretched_though_its_aspect_is_rounded():
    mask = np.zeros((4, 5), bool)
    mask[2:, 1:3] = True
    found = full_mask(label((20, 30, 30, 37), (64, 96), mask), (64, 96))
    assert 15 <= found.sum() <= 20 and found[34:37, 22:26].all()


@pytest.mark.parametrize("size", SIZES)
def test_a_square_mask_that_its_object_fills_is_stretched_to_its_box(size):
    """As detectors give masks, at 28 x 28 whatever the box."""
    for box in boxes(size):
        found = full_mask(label(box, size, ellipse((28, 28), (0, 0, 28, 28))), size)
        whole = ellipse(size, box)
        assert (found & whole).sum() / (found | whole).sum() > 0.8


@pytest.mark.parametrize("size", SIZES)
def test_a_whole_mask_whose_object_lies_elsewhere_is_refused(size):
    """It would be stretched into the box; of a square image and box nothing else would tell."""
    height, width = size
    side = min(size) * 9 // 20
    whole = ellipse(size, (0, 0, side - 8, side - 8))
    box = (width - side, height - side, width, height)
    for mask in (whole, resized(whole, (height // 2, width // 2))):
        with pytest.raises(DatasetError, match=r"whole image.*lies at.*its box at.*stretched"):
            full_mask(label(box, size, mask), size)


def test_a_mask_of_the_padded_square_that_a_network_saw_is_refused():
    whole = np.zeros((641, 641), bool)
    whole[:480] = ellipse((480, 641), (100, 50, 200, 300))
    with pytest.raises(DatasetError, match="stretched out of shape"):
        full_mask(label((100, 50, 200, 300), (480, 641), whole), (480, 641))


def test_a_mask_of_the_image_as_it_is_stored_is_refused_with_the_reason():
    """An annotation tool that ignores the EXIF orientation saw the picture lying on its side."""
    sideways = ellipse((96, 64), (10, 20, 40, 50))
    with pytest.raises(DatasetError, match="EXIF orientation"):
        full_mask(label((10, 14, 50, 54), (64, 96), sideways), (64, 96))


def test_a_box_given_as_corners_is_told():
    size = (100, 200)
    whole = ellipse(size, (40, 30, 120, 60))
    corners = [40 / 200, 30 / 100, 120 / 200, 60 / 100]
    for mask in (whole, whole[30:60, 40:120]):
        with pytest.raises(DatasetError, match="x1 y1 x2 y2"):
            full_mask(fo.Detection(bounding_box=corners, mask=mask), size)


@pytest.mark.parametrize("box", [(1, 0, 96, 64), (2, 3, 95, 62), (0, 0, 96, 64), (0, 1, 96, 63)])
def test_of_a_box_of_nearly_the_whole_image_a_whole_mask_stays_where_it_is(box):
    whole = ellipse((64, 96), box) & (np.arange(96) < 60)
    whole[30, 5] = True
    assert np.array_equal(full_mask(label(box, (64, 96), whole), (64, 96)), whole)


def test_a_mask_as_large_as_the_image_of_a_box_that_reaches_outside_is_cropped_with_it():
    mask = ellipse((64, 96), (0, 0, 96, 64))
    found = full_mask(label((-20, -10, 76, 54), (64, 96), mask), (64, 96))
    assert np.array_equal(found[:54, :76], mask[10:, 20:])


def test_a_cropped_mask_is_told_from_any_other():
    size, box = (64, 96), (10, 20, 40, 50)
    crop = ellipse(size, box)[20:50, 10:40]
    assert placed_mask(label(box, size, crop), size).as_stored
    assert placed_mask(label(box, size, crop.astype(np.uint8) * 255), size).as_stored
    whole = ellipse(size, box)
    others = [whole, crop[::2, ::2], crop[:-1], np.stack([crop] * 3, axis=-1)]
    for mask in others:
        assert not placed_mask(label(box, size, mask), size).as_stored
    assert not placed_mask(label((-5, 20, 25, 50), size, crop), size).as_stored
    assert not placed_mask(label((10.4, 20, 40.4, 50), size, crop), size).as_stored


@pytest.mark.parametrize("size", SIZES)
def test_a_transposed_mask_is_refused_with_the_remedy(size):
    for box in boxes(size):
        x1, y1, x2, y2 = box
        crop = ellipse(size, box)[y1:y2, x1:x2]
        if abs(crop.shape[0] - crop.shape[1]) > 1:
            with pytest.raises(DatasetError, match=r"transposed; store mask\.T"):
                full_mask(label(box, size, crop.T.copy()), size)


@pytest.mark.parametrize("margin", [((1, 1), (1, 1)), ((4, 4), (4, 4)), ((10, 10), (0, 3))])
def test_an_empty_margin_around_a_cropped_mask_is_cut_off(margin):
    size, box = (480, 641), (100, 50, 160, 130)
    whole = ellipse(size, box)
    padded = np.pad(whole[50:130, 100:160], margin)
    assert np.array_equal(full_mask(label(box, size, padded), size), whole)


def test_an_empty_mask_path_is_no_mask():
    detection = fo.Detection(bounding_box=[0.1, 0.1, 0.5, 0.5], mask_path="")
    with pytest.raises(DatasetError, match="It has no mask"):
        full_mask(detection, (64, 96))


def drawn(size, *boxes, fill=True):
    """Rectangles x1 y1 x2 y2 of one value on the other."""
    mask = np.full(size, not fill)
    for x1, y1, x2, y2 in boxes:
        mask[y1:y2, x1:x2] = fill
    return mask


def person(size=(90, 50)):
    """A head, a body and two legs, as large as the box."""
    height, width = size
    body = drawn(size, (0, height // 4, width, 2 * height // 3))
    legs = drawn(size, (5, 0, 18, height), (width - 18, 0, width - 5, height))
    legs[: height // 2] = False
    return ellipse(size, (width // 4, 0, 3 * width // 4, height // 3)) | body | legs


OBJECTS = {
    "ellipse": ellipse((60, 80), (0, 0, 80, 60)),
    "small ellipse": ellipse((14, 13), (0, 0, 13, 14)),
    "person": person(),
    "crop a pixel too wide": np.pad(person(), ((1, 0), (1, 1))),
    "crop with a margin": np.pad(person(), 4),
    "image that one object nearly fills": ellipse((64, 96), (4, 2, 92, 62)),
}

ORDINARY = {
    **OBJECTS,
    "inverse of a smaller object in its image": ~ellipse((64, 96), (30, 20, 60, 50)),
    "full": np.ones((40, 50), bool),
    "frame": ~drawn((40, 50), (3, 3, 47, 37)),
    "thin frame": ~drawn((40, 50), (1, 1, 49, 39)),
    "window of four panes": ~drawn((40, 50), (3, 3, 24, 19), (26, 3, 47, 19), (3, 21, 24, 37)),
    "ring": ellipse((80, 80), (0, 0, 80, 80)) & ~ellipse((80, 80), (5, 5, 75, 75)),
    "ring around an image": ~ellipse((64, 96), (10, 10, 80, 54)),
    "table": ~drawn((40, 60), (5, 8, 55, 40)),
    "table with thin legs": ~drawn((40, 60), (1, 1, 59, 40)),
    "arch": ~ellipse((60, 60), (5, 5, 55, 115)),
    "posts": ~drawn((40, 60), (6, 0, 54, 40)),
    "sky": ~ellipse((64, 96), (-20, 20, 116, 108)),
    "ground": ~drawn((64, 96), (0, 0, 96, 40)),
    "grid": ~np.kron(np.eye(8, dtype=bool) | True, np.pad(np.ones((6, 6), bool), 1)),
    "corners of a small box": ~ellipse((8, 9), (0, 0, 9, 8)),
    "a pixel": np.ones((1, 1), bool),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_the_inverse_of_an_objects_mask_seems_inverted(name):
    assert seems_inverted(~OBJECTS[name])


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_masks_do_not_seem_inverted(name):
    assert not seems_inverted(ORDINARY[name])
    assert not seems_inverted(np.pad(ORDINARY[name], 30))


def test_an_inverted_mask_of_the_image_is_refused_with_the_remedy():
    size, box = (64, 96), (10, 20, 40, 50)
    with pytest.raises(DatasetError, match=r"whole image.*zeros lie in the box.*`mask == 0`"):
        full_mask(label(box, size, ~ellipse(size, box)), size)
    with pytest.raises(DatasetError) as caught:
        full_mask(label(box, size, ellipse(size, (50, 0, 90, 40))), size)
    assert "zeros" not in str(caught.value)
