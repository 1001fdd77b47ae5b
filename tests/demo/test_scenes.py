import numpy as np
import pytest

from ntt_plugin.demo.classes import ALL_CLASSES, BASE_CLASSES, NOVEL_CLASSES, PATTERNS, SHAPES
from ntt_plugin.demo.scenes import make_scene, shape_distance
from ntt_plugin.demo.streams import reference_scene, scoring_scene, training_scene


def test_the_split_is_whole_and_keeps_novel_classes_apart() -> None:
    assert len(ALL_CLASSES) == len({entry.name for entry in ALL_CLASSES}) == 192
    assert len(NOVEL_CLASSES) == len(set(NOVEL_CLASSES)) == 16
    assert not set(NOVEL_CLASSES) & set(BASE_CLASSES)
    assert set(NOVEL_CLASSES) | set(BASE_CLASSES) == set(ALL_CLASSES)


def test_every_attribute_of_a_novel_class_is_known_from_base_classes() -> None:
    for entry in NOVEL_CLASSES:
        assert any(entry.shape == base.shape for base in BASE_CLASSES)
        assert any(entry.pattern == base.pattern for base in BASE_CLASSES)
        assert any(entry.colour == base.colour for base in BASE_CLASSES)
    assert {entry.shape for entry in NOVEL_CLASSES} == set(SHAPES)
    assert {entry.pattern for entry in NOVEL_CLASSES} == set(PATTERNS)


def test_the_same_seed_gives_the_same_scene() -> None:
    first, second = make_scene(5, NOVEL_CLASSES), make_scene(5, NOVEL_CLASSES)
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.owners, second.owners)
    assert first.classes == second.classes
    assert not np.array_equal(first.image, make_scene(6, NOVEL_CLASSES).image)


@pytest.mark.parametrize("index", range(12))
def test_a_scene_shows_every_instance_well_enough(index: int) -> None:
    scene = scoring_scene(index)
    assert scene.image.shape == (256, 256, 3)
    assert scene.image.dtype == np.uint8
    assert 1 <= len(scene.classes) <= 8
    assert scene.owners.max() == len(scene.classes)
    assert all(scene.mask(number).sum() >= 220 for number in range(len(scene.classes)))


@pytest.mark.parametrize("index", range(6))
def test_training_sees_base_classes_only_and_scoring_novel_ones(index: int) -> None:
    assert set(training_scene(index).classes) <= set(BASE_CLASSES)
    assert set(reference_scene(index).classes) <= set(NOVEL_CLASSES)
    assert set(scoring_scene(index).classes) <= set(NOVEL_CLASSES)
    assert not np.array_equal(reference_scene(index).image, scoring_scene(index).image)


def test_a_mask_is_where_its_objects_colour_is() -> None:
    """An object's pixels differ from the same scene's background far more than noise does."""
    red = [entry for entry in ALL_CLASSES if entry.name == "red plain disc"]
    scene = make_scene(1, red)
    colours = scene.image.astype(float)
    redness = colours[..., 0] - colours[..., 1:].mean(axis=2)
    inside, outside = scene.owners > 0, scene.owners == 0
    assert redness[inside].min() > 30
    assert (redness[outside] > 40).mean() < 0.02


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_fits_the_unit_circle_and_has_an_inside(shape: str) -> None:
    y, x = np.mgrid[-1.5:1.5:61j, -1.5:1.5:61j].astype(np.float32)
    distance = shape_distance(shape, x, y)
    inside = distance < 0
    assert 0.08 < inside.mean() < 0.4
    assert np.hypot(x, y)[inside].max() <= 1.03
