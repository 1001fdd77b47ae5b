"""Merging in the App: what can be chosen, what is told before and after."""

import ntt_plugin as ntt
from tests.app.driver import page


def hurt(dataset, name):
    """Damage a bank in the database, with the facts beside it."""
    key = f"ntt_bank_{name}"
    results = dataset.init_run_results(key, bank="no bank")
    dataset.save_run_results(key, results, overwrite=True, cache=False)
    config = dataset.get_run_info(key).config
    config.facts = {}
    dataset.update_run_config(key, config)


def test_one_bank_is_not_merged_with_itself(plugin, dataset):
    form = plugin.form(dataset, "merge_memory_banks", params={"new_name": "both"})
    assert "the only memory bank" in form.errors["names"]
    ntt.duplicate_memory_bank(dataset, "shapes", "second")
    params = {"names": ["shapes"], "new_name": "both"}
    assert (
        "two or more" in plugin.form(dataset, "merge_memory_banks", params=params).errors["names"]
    )


def test_a_merger_into_a_bank_that_is_there_must_be_ticked(plugin, dataset):
    ntt.duplicate_memory_bank(dataset, "shapes", "second")
    params = {"names": ["shapes", "second"], "new_name": "second"}
    form = plugin.form(dataset, "merge_memory_banks", params=params)
    assert list(form.errors) == ["overwrite"]
    ticked = plugin.form(dataset, "merge_memory_banks", params={**params, "overwrite": True})
    assert ticked.errors == {}


def test_a_damaged_bank_is_left_out_and_named(plugin, dataset):
    for name in ("second", "damaged"):
        ntt.duplicate_memory_bank(dataset, "shapes", name)
    hurt(dataset, "damaged")
    params = {"names": ["shapes", "second"], "new_name": "both"}
    form = plugin.form(dataset, "merge_memory_banks", params=params)
    assert form.errors == {} and "will_do" in form.fields
    assert set(form.choices("names")) == {"shapes", "second"}
    assert "'damaged'" in form.said("damaged")
    params["names"] = ["shapes", "damaged"]
    assert list(plugin.form(dataset, "merge_memory_banks", params=params).errors) == ["names"]


def test_beside_damaged_ones_one_bank_is_not_merged(plugin, dataset):
    ntt.duplicate_memory_bank(dataset, "shapes", "damaged")
    hurt(dataset, "damaged")
    form = plugin.form(dataset, "merge_memory_banks", params={"new_name": "both"})
    assert "'shapes' is the only whole memory bank" in form.errors["names"]
    hurt(dataset, "shapes")
    form = plugin.form(dataset, "merge_memory_banks", params={"new_name": "both"})
    assert "There is no whole memory bank" in form.errors["names"]


def test_one_reference_of_one_class_is_said_so(plugin, dataset):
    shots = ntt.get_memory_bank_info(dataset, "shapes").shots
    one = next(name for name, count in shots.items() if count == 1)
    ntt.remove_references(dataset, "shapes", classes=[name for name in shots if name != one])
    ntt.duplicate_memory_bank(dataset, "shapes", "second")
    params = {"names": ["shapes", "second"], "new_name": "both"}
    told = page(plugin.run(dataset, "merge_memory_banks", params))
    assert "1 reference of 1 class." in told["message"]
