"""The form says what an undo brings back and takes away."""

import ntt_plugin as ntt

PARAMS = {"name": "shapes"}


def test_without_a_former_state_the_bank_is_marked(plugin, dataset):
    ntt.duplicate_memory_bank(dataset, "shapes", "never_changed")
    form = plugin.form(dataset, "undo_memory_bank", params={"name": "never_changed"})
    assert list(form.errors) == ["name"] and "nothing to take back" in form.errors["name"]


def test_it_says_what_comes_and_after_an_undo_what_goes(plugin, dataset):
    gone, *_ = ntt.get_memory_bank_info(dataset, "shapes").shots
    ntt.remove_references(dataset, "shapes", classes=[gone])
    said = plugin.form(dataset, "undo_memory_bank", params=PARAMS).said("will_do")
    assert f"bring back 1 reference ({gone} (1))" in said and "take away" not in said
    ntt.undo_memory_bank(dataset, "shapes")
    said = plugin.form(dataset, "undo_memory_bank", params=PARAMS).said("will_do")
    assert f"take away 1 entry ({gone} (1))" in said and "bring back" not in said
    ntt.undo_memory_bank(dataset, "shapes")
    assert gone not in ntt.get_memory_bank_info(dataset, "shapes").shots


def test_it_says_which_settings_change_back(plugin, dataset):
    ntt.change_recipe(dataset, "shapes", "own tile=128")
    said = plugin.form(dataset, "undo_memory_bank", params=PARAMS).said("will_do")
    assert "change settings (tile from 128 to none) of" in said
    result = plugin.run(dataset, "undo_memory_bank", params=PARAMS)
    assert "tile from 128 to none" in str(result)
