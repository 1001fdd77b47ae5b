import dataclasses

import numpy as np
import pytest

from ntt_plugin.engine import recipe as config
from ntt_plugin.engine.recipe import PRESETS, Recipe, recipe_of_text
from ntt_plugin.errors import RecipeError


def test_the_default_recipe_holds_the_papers_constants():
    expected = {
        "name": "paper",
        "segmenter": "facebook/sam2-hiera-large",
        "encoder": "facebook/dinov2-large",
        "encoder_size": 518,
        "precision": "float32",
        "context_ratio": 0.2,
        "grid": 32,
        "point_batch": 256,
        "iou_threshold": 0.4,
        "duplicate_iou": None,
        "nms_iou": 0.5,
        "max_instances": 100,
        "candidate_factor": 8,
        "rescoring": "decay",
        "merge_exponent": 0.5,
        "negative_sigma": 0.8,
        "tile": None,
        "tile_overlap": 0.2,
        "iou_exponent": 0.0,
        "stability_exponent": 0.0,
        "box_points": 0,
        "encoding": "whole",
    }
    assert dataclasses.asdict(Recipe()) == expected == dataclasses.asdict(PRESETS["paper"])


def test_presets_carry_their_own_names():
    assert {name: recipe.name for name, recipe in PRESETS.items()} == {
        name: name for name in ("paper", "balanced", "fast", "best", "tiny")
    }


def test_a_preset_takes_other_values():
    recipe = Recipe.from_preset("fast", grid=8)
    assert (recipe.grid, recipe.encoder) == (8, "facebook/dinov2-base")


def test_an_unknown_preset_is_refused_with_those_there_are():
    with pytest.raises(RecipeError, match=r"'slow'.*paper, balanced, fast, best, tiny"):
        Recipe.from_preset("slow")


@pytest.mark.parametrize("name", [None, 3, ["tiny"], {"tiny": 1}])
def test_what_is_no_text_is_no_preset(name):
    with pytest.raises(RecipeError, match=r"no preset .*paper, balanced, fast, best, tiny"):
        Recipe.from_preset(name)


@pytest.mark.parametrize("text", [None, 3, ["tiny"], b"tiny"])
def test_what_is_no_text_is_no_recipe(text):
    with pytest.raises(RecipeError, match=r"is no recipe; give a Recipe.*paper, balanced"):
        config.recipe_of_text(text)


def test_numbers_of_numpy_are_kept_as_pythons():
    recipe = Recipe(tile=np.int64(64), grid=np.uint8(8), nms_iou=np.float32(0.25))
    assert recipe == Recipe(tile=64, grid=8, nms_iou=0.25)
    kinds = [type(value) for value in (recipe.tile, recipe.grid, recipe.nms_iou)]
    assert kinds == [int, int, float]
    with pytest.raises(RecipeError, match="tile"):
        Recipe(tile=np.float64(64.5))
    with pytest.raises(RecipeError, match="grid"):
        Recipe(grid=np.bool_(True))


@pytest.mark.parametrize("name", ["tiny", "mine"])
def test_recipes_that_differ_have_texts_that_differ(name):
    one = dataclasses.replace(PRESETS["tiny"], name=name)
    changed = {"tile": 64, "encoder": "Tiny", "merge_exponent": 2.0}
    others = [dataclasses.replace(one, **{field: value}) for field, value in changed.items()]
    texts = {config.text_of_recipe(recipe) for recipe in (one, *others)}
    assert len(texts) == 4
    assert all(text.split()[0] == name for text in texts)


def test_an_unknown_field_is_refused_with_those_there_are():
    with pytest.raises(RecipeError, match=r"'gird'.*grid"):
        Recipe.from_preset("paper", gird=3)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("segmenter", "  "),
        ("encoder", None),
        ("encoder_size", 0),
        ("duplicate_iou", 0),
        ("duplicate_iou", "0.9"),
        ("rescoring", "none"),
        ("encoder_size", 518.0),
        ("precision", "float64"),
        ("precision", ["float32"]),
        ("context_ratio", -0.1),
        ("context_ratio", float("nan")),
        ("grid", 0),
        ("grid", True),
        ("point_batch", 0),
        ("iou_threshold", 1.1),
        ("nms_iou", -1),
        ("nms_iou", "0.5"),
        ("max_instances", 0),
        ("candidate_factor", 0),
        ("merge_exponent", float("inf")),
        ("merge_exponent", 10**400),
        ("negative_sigma", 0),
        ("tile", 0),
        ("tile", 512.0),
        ("tile_overlap", 1),
        ("tile_overlap", None),
        ("iou_exponent", -1),
        ("stability_exponent", None),
        ("box_points", -1),
        ("box_points", 17),
        ("encoding", "square"),
    ],
)
def test_a_value_that_is_not_allowed_names_its_field(field, value):
    with pytest.raises(RecipeError, match=rf"Recipe\.{field} is .*it must be"):
        Recipe(**{field: value})


def test_every_field_has_a_rule():
    assert set(config._RULES) == {field.name for field in dataclasses.fields(Recipe)}


def test_what_was_added_later_is_off_but_where_it_was_measured():
    measured = {
        "best": {"iou_exponent": 1.0, "stability_exponent": 2.0, "encoding": "squares"},
        "tiny": {"box_points": 3},
    }
    for name, recipe in PRESETS.items():
        expected = {**config.ADDED_LATER, **measured.get(name, {})}
        assert {field: getattr(recipe, field) for field in config.ADDED_LATER} == expected


def test_spaces_around_the_sign_of_a_setting_do_not_matter():
    assert recipe_of_text("fast tile = 512  grid= 8") == Recipe.from_preset(
        "fast", tile=512, grid=8
    )


def test_a_misspelt_setting_is_told_with_the_one_that_is_meant():
    with pytest.raises(RecipeError, match=r"'tiel=512' is no setting.*Did you mean 'tile'\?"):
        recipe_of_text("fast tiel=512")
