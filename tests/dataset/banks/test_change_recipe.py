"""A saved bank's recipe changed, and the change taken back."""

import pytest

from ntt_plugin.dataset.banks import banks, change_recipe, edit
from ntt_plugin.errors import RecipeError
from tests.dataset import scenes


@pytest.fixture
def colours(monkeypatch):
    """The engine by colours, under whatever recipe is asked for."""

    def get(recipe, device=None):
        segmenter = scenes.ColourSegmenter()
        segmenter.recipe = recipe
        return segmenter

    monkeypatch.setattr(change_recipe, "get_segmenter", get)


def test_an_undo_says_which_settings_changed_back(dataset, bank, colours):
    change_recipe.change_recipe(dataset, "blocks", "own tile=128 rescoring=diffusion")
    expected = {"tile": ("128", "none"), "rescoring": ("diffusion", "decay")}
    assert edit.preview_undo(dataset, "blocks").settings == expected
    undone = edit.undo_memory_bank(dataset, "blocks")
    assert undone.settings == expected
    assert "settings changed: rescoring from diffusion to decay, tile from 128 to none" in str(
        undone
    )
    assert banks.load_memory_bank(dataset, "blocks").recipe == bank.recipe
    again = edit.undo_memory_bank(dataset, "blocks")
    assert again.settings == {"tile": ("none", "128"), "rescoring": ("decay", "diffusion")}


def test_an_undo_of_references_tells_of_no_settings(dataset, bank):
    edit.remove_references(dataset, "blocks", classes=["red"])
    undone = edit.undo_memory_bank(dataset, "blocks")
    assert undone.settings == {} and "settings" not in str(undone)


@pytest.mark.parametrize("preset", [None, 3, ["own"]])
def test_a_bank_is_not_changed_to_what_is_no_recipe(preset, dataset, bank):
    with pytest.raises(RecipeError, match="is no recipe; give a Recipe"):
        change_recipe.change_recipe(dataset, "blocks", preset)
    assert banks.load_memory_bank(dataset, "blocks").to_bytes() == bank.to_bytes()
