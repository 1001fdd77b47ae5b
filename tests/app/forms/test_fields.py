"""Fields that are emptied, folded away or hold no whole number: the form says what will be run."""

import re

import fiftyone.operators.types as types
import pytest

import ntt_plugin as ntt
from ntt_plugin.app.operators import OPERATORS
from tests.app.driver import page

BUILD = {"label_field": "ground_truth", "name": "second", "preset": "tiny"}
PROMOTE = {"label_field": "ntt", "view_target": "DATASET"}
SEGMENT = {"bank": "shapes", "label_field": "found"}
EMPTY = [
    ("build_memory_bank", "tag"),
    ("build_memory_bank", "sample_tag"),
    ("build_memory_bank", "device"),
    ("add_references", "bank"),
    ("promote_references", "bank"),
    ("compare_segmentations", "gt_field"),
    ("segment_with_memory_bank", "preset"),
]


@pytest.mark.parametrize(("operator", "field"), EMPTY)
def test_a_choice_that_may_be_none_can_be_emptied(operator, field, plugin, dataset):
    dataset.tag_samples("any")
    form = plugin.form(dataset, operator, params={"advanced": True})
    # The App's Dropdown has no button for it.
    assert isinstance(form.fields[field].view, types.AutocompleteView)
    assert field not in plugin.form(dataset, operator, params={field: None}).errors


@pytest.mark.parametrize("field", ["preset", "label_field"])
def test_a_choice_that_always_is_one_cannot_be_emptied(field, plugin, worked_on):
    form = plugin.form(worked_on, "build_memory_bank")
    assert isinstance(form.fields[field].view, types.Dropdown)


@pytest.mark.parametrize("tag", [None, "reference"])
def test_what_is_announced_of_a_label_tag_is_what_is_learned(tag, plugin, dataset):
    assert plugin.form(dataset, "build_memory_bank").default("tag") == "reference"
    form = plugin.form(dataset, "build_memory_bank", params={**BUILD, "tag": tag})
    [announced] = re.findall(r"up to (\d+) references", form.said("will_do"))
    plugin.run(dataset, "build_memory_bank", {**BUILD, "tag": tag})
    assert len(ntt.load_memory_bank(dataset, "second")) == int(announced)


def test_promoting_to_no_bank_is_announced(plugin, dataset):
    assert plugin.form(dataset, "promote_references").default("bank") == "shapes"
    form = plugin.form(dataset, "promote_references", params={**PROMOTE, "bank": None})
    assert "no memory bank learns them" in form.said("will_do")
    before = len(ntt.load_memory_bank(dataset, "shapes"))
    plugin.run(dataset, "promote_references", {**PROMOTE, "bank": None})
    assert len(ntt.load_memory_bank(dataset, "shapes")) == before


def test_without_a_required_name_nothing_is_announced(plugin, worked_on):
    form = plugin.form(worked_on, "build_memory_bank", params={**BUILD, "name": ""})
    assert "name" in form.errors
    assert "will_do" not in form.fields


def test_references_that_are_taken_out_of_the_list_again_are_not_announced(plugin, dataset):
    kept = ntt.load_memory_bank(dataset, "shapes")
    first = kept.references(kept.classes[0])[0]
    source = first.provenance
    selected = [{"label_id": source.label, "sample_id": source.sample, "field": source.field}]
    form = plugin.form(dataset, "remove_references", selected_labels=selected)
    assert form.default("references") == [first.id]
    assert "Will take out" in form.said("will_do")
    params = {"name": "shapes", "references": []}
    form = plugin.form(dataset, "remove_references", selected_labels=selected, params=params)
    assert "Choose references" in form.errors["references"]
    assert "will_do" not in form.fields


@pytest.mark.parametrize("value", [None, 0, 2.5, "3", True])
@pytest.mark.parametrize(
    ("operator", "field"),
    [
        ("sample_references", "shots"),
        ("suggest_references", "count"),
        ("segment_with_memory_bank", "batch_size"),
        ("sample_references", "seed"),
    ],
)
def test_what_is_no_whole_number_is_marked(operator, field, value, plugin, worked_on):
    params = {"label_field": "ground_truth", "tag": "few"} if field in ("shots", "seed") else {}
    params |= {field: value, "advanced": True}
    form = plugin.form(worked_on, operator, params=params)
    allowed = (field, value) in (("batch_size", None), ("seed", 0))
    assert ("whole number" in form.errors.get(field, "")) != allowed
    assert ("will_do" in form.fields) == allowed


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda o: o.operator_name)
def test_what_the_switch_folds_away_is_what_the_operator_says(operator, plugin, dataset):
    dataset.tag_samples("any")
    name = operator.operator_name
    shown = plugin.form(dataset, name, params={"advanced": True}).fields
    folded = plugin.form(dataset, name, params={"advanced": False}).fields
    # Tiles are shown unasked where images are large, so what was chosen counts though they fold.
    assert set(shown) - set(folded) - {"tile"} == set(operator.seldom)


def test_what_is_folded_away_is_not_run_with(plugin, dataset):
    hidden = {"preset": "paper", "batch_size": -3}
    closed = {**SEGMENT, **hidden, "advanced": False}
    form = plugin.form(dataset, "segment_with_memory_bank", params=dict(closed))
    assert form.errors == {}
    assert "Runs tiny" in form.said("will_do")
    done = page(plugin.run(dataset, "segment_with_memory_bank", dict(closed)))
    assert "tiny" in str(done)
    assert len(dataset.exists("found")) == len(dataset)


def test_what_a_script_gives_is_not_folded_away(plugin, worked_on):
    form = plugin.form(worked_on, "segment_with_memory_bank", params={**SEGMENT, "preset": "fast"})
    assert form.default("advanced")
    assert "sam2.1-hiera-small" in form.said("will_do")
