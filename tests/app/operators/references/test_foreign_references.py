"""A bank of the engine alone beside one of the dataset: ids that FiftyOne never gave."""

import pytest

import ntt_plugin as ntt
from ntt_plugin.engine import Provenance
from tests.app.driver import loaded, page


@pytest.fixture
def mixed(dataset):
    """Its bank has in each class a reference of the dataset and one whose ids are file names."""
    bank = ntt.load_memory_bank(dataset, "shapes")
    for label in bank.classes:
        feature = bank.references(label)[0].feature
        bank.add(label, feature.roll(1), Provenance("lab", "img_001.png", f"{label} 2"))
    ntt.save_memory_bank(dataset, "shapes", bank, overwrite=True)
    return dataset


def test_the_form_of_remove_references_lists_them(plugin, mixed):
    form = plugin.form(mixed, "remove_references", params={"name": "shapes"})
    shots = sum(ntt.get_memory_bank_info(mixed, "shapes").shots.values())
    assert len(form.choices("references")) == shots


def test_the_others_are_shown(plugin, mixed):
    one, other = ntt.load_memory_bank(mixed, "shapes").classes[:2]
    shown = loaded(plugin, "app.panel.layout").references_view(mixed, "shapes", [one, other])
    assert shown.count("ground_truth.detections") == 2


def test_checks_that_flag_them_are_told(plugin, mixed):
    bank = ntt.load_memory_bank(mixed, "shapes")
    one, other = bank.classes[:2]
    # A label under two classes stands out.
    for reference in bank.references(one):
        bank.add(other, reference.feature, reference.provenance)
    ntt.save_memory_bank(mixed, "shapes", bank, overwrite=True)
    told = page(plugin.run(mixed, "check_references", {"name": "shapes"}))
    assert f"a reference of {other!r} (label {one} 2)" in " ".join(told["problems"])
    assert "ntt_view" in told
