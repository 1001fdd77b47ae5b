"""The way from an evaluation over saved thresholds to labels that can be trusted."""

import pytest
from fiftyone import ViewField as F

import ntt_plugin as ntt
from tests.app.driver import calls, page

SAVE = {"bank": "shapes", "eval_key": "check"}
APPLY = {"label_field": "ntt", "bank": "shapes"}
COMPARE = {"label_field": "ntt", "other_field": "boxes", "gt_field": "ground_truth"}


def every(dataset, value):
    """Thresholds for all classes of the bank."""
    return dict.fromkeys(ntt.get_memory_bank_info(dataset, "shapes").shots, value)


@pytest.fixture
def scored(dataset):
    ntt.evaluate(dataset.match_tags("target"), "ntt", "ground_truth", "check")
    return dataset


@pytest.fixture
def kept(scored):
    ntt.save_thresholds(scored, "shapes", thresholds=every(scored, 0.7))
    return scored


def test_without_an_evaluation_the_form_says_how_to_get_one(plugin, bare):
    form = plugin.form(bare, "save_thresholds")
    assert "Evaluate segmentation" in form.text() and form.errors


def test_the_form_shows_what_would_be_kept(plugin, scored):
    form = plugin.form(scored, "save_thresholds")
    assert (form.default("eval_key"), form.default("bank")) == ("check", "shapes")
    assert form.choices("eval_key") == {"check": "check (of ntt)"}
    label, found = next(iter(ntt.best_thresholds(scored, "check").items()))
    assert f"{label} {found.value:.2f}" in form.said("will_do")
    assert plugin.form(scored, "save_thresholds", params=SAVE).errors == {}


def test_a_bank_of_other_classes_is_marked(plugin, scored):
    ntt.build_memory_bank(
        scored, "ground_truth", "other", tag="reference", classes=["yellow plain triangle"],
        preset="tiny",
    )  # fmt: skip
    assert "yellow plain triangle" not in ntt.best_thresholds(scored, "check")
    form = plugin.form(scored, "save_thresholds", params={**SAVE, "bank": "other"})
    assert list(form.errors) == ["bank"]


def test_thresholds_that_would_be_replaced_must_be_ticked(plugin, kept):
    form = plugin.form(kept, "save_thresholds", params=SAVE)
    assert form.warns() and list(form.errors) == ["overwrite"]
    assert plugin.form(kept, "save_thresholds", params={**SAVE, "overwrite": True}).errors == {}


def test_the_end_of_an_evaluation_leads_to_thresholds(plugin, dataset):
    params = {"label_field": "ntt", "gt_field": "ground_truth", "eval_key": "score"}
    shown = page(plugin.run(dataset, "evaluate_segmentation", params))
    assert shown["ntt_next"]["operator"] == "save_thresholds"
    assert shown["ntt_next"]["params"] == {"bank": "shapes", "eval_key": "score"}


def test_an_evaluation_of_labels_that_no_bank_made_leads_nowhere(plugin, dataset):
    dataset.clone_sample_field("ntt", "copied")
    params = {"label_field": "copied", "gt_field": "ground_truth", "eval_key": "score"}
    assert "ntt_next" not in page(plugin.run(dataset, "evaluate_segmentation", params))


def with_another_bank(dataset):
    """A second bank, first in the alphabet and of other features than ``shapes``."""
    ntt.duplicate_memory_bank(dataset, "shapes", "another")
    ntt.remove_references(dataset, "another", classes=[next(iter(every(dataset, 0)))])


@pytest.mark.parametrize("operator", ["save_thresholds", "apply_thresholds"])
def test_a_renamed_bank_is_offered_by_its_new_name(operator, plugin, kept):
    with_another_bank(kept)
    ntt.rename_memory_bank(kept, "shapes", "renamed")
    form = plugin.form(kept, operator)
    assert form.default("bank") == "renamed" and "will_do" in form.fields


@pytest.mark.parametrize("operator", ["save_thresholds", "apply_thresholds"])
def test_no_other_bank_is_offered_for_one_that_is_gone(operator, plugin, kept):
    with_another_bank(kept)
    ntt.delete_memory_bank(kept, "shapes")
    form = plugin.form(kept, operator)
    assert form.default("bank") is None and "bank" in form.errors
    assert "'shapes' made these labels" in form.said("gone")


def test_the_end_of_an_evaluation_names_a_renamed_bank(plugin, dataset):
    ntt.rename_memory_bank(dataset, "shapes", "renamed")
    params = {"label_field": "ntt", "gt_field": "ground_truth", "eval_key": "score"}
    shown = page(plugin.run(dataset, "evaluate_segmentation", params))
    assert shown["ntt_next"]["params"]["bank"] == "renamed"


def test_saving_tells_each_threshold_and_leads_to_applying_them(plugin, scored):
    shown = page(plugin.run(scored, "save_thresholds", SAVE))
    saved = ntt.load_memory_bank(scored, "shapes").thresholds
    assert {row[0]: row[1] for row in shown["ntt_table"]["rows"]} == saved
    assert shown["ntt_next"]["operator"] == "apply_thresholds"
    assert shown["ntt_next"]["params"] == APPLY


def test_a_bank_without_thresholds_is_marked(plugin, dataset):
    form = plugin.form(dataset, "apply_thresholds", params=APPLY)
    assert list(form.errors) == ["bank"]
    assert "Save thresholds" in form.errors["bank"]
    assert "Estimate thresholds" in form.errors["bank"]


def test_typed_thresholds_need_no_bank(plugin, dataset):
    first, second = sorted(dataset.distinct("ntt.detections.label"))[:2]
    params = {"label_field": "ntt", "own_thresholds": f"{first}=0.5,  {second} = 1"}
    form = plugin.form(dataset, "apply_thresholds", params=params)
    assert form.errors == {} and "bank" not in form.fields
    below = dataset.filter_labels(
        "ntt",
        ((F("label") == first) & (F("confidence") < 0.5))
        | ((F("label") == second) & (F("confidence") < 1)),
    ).values("ntt.detections.id", unwind=True)
    assert f"will tag {len(below)} " in form.said("will_do")
    plugin.run(dataset, "apply_thresholds", {**params, "tag": "low"})
    dataset.reload()
    assert set(
        dataset.match_labels(tags="low")
        .select_labels(tags="low")
        .values("ntt.detections.id", unwind=True)
    ) == set(below)


@pytest.mark.parametrize("text", ["0.5", "CLASS=", "CLASS=1.5", "CLASS=0.5 and more", "none=0.5"])
def test_typed_thresholds_that_cannot_be_read_are_marked(text, plugin, dataset):
    text = text.replace("CLASS", dataset.distinct("ntt.detections.label")[0])
    params = {"label_field": "ntt", "own_thresholds": text}
    assert list(plugin.form(dataset, "apply_thresholds", params=params).errors) == [
        "own_thresholds"
    ]


def test_estimating_replaces_a_persons_thresholds_only_if_ticked(plugin, kept):
    form = plugin.form(kept, "estimate_thresholds", params={"bank": "shapes"})
    assert form.warns() and "replaced" not in form.said("will_do")
    ticked = {"bank": "shapes", "overwrite": True}
    form = plugin.form(kept, "estimate_thresholds", params=ticked)
    assert form.errors == {} and "are replaced" in form.said("will_do")


def test_estimating_asks_nothing_where_there_is_nothing_to_replace(plugin, dataset):
    form = plugin.form(dataset, "estimate_thresholds", params={"bank": "shapes"})
    assert form.errors == {} and "replaced" not in form.said("will_do")
    bank = ntt.load_memory_bank(dataset, "shapes")
    bank.set_thresholds(dict.fromkeys(bank.classes, 0.4), dict.fromkeys(bank.classes, 0.9))
    ntt.save_memory_bank(dataset, "shapes", bank, overwrite=True)
    form = plugin.form(dataset, "estimate_thresholds", params={"bank": "shapes"})
    assert form.errors == {} and "are replaced" in form.said("will_do")


def test_a_tag_that_cannot_be_is_marked(plugin, kept):
    form = plugin.form(kept, "apply_thresholds", params={**APPLY, "tag": "$x"})
    assert list(form.errors) == ["tag"]


def test_the_form_says_how_many_are_below(plugin, kept):
    below = kept.filter_labels("ntt", F("confidence") < 0.7).count("ntt.detections")
    total = kept.count("ntt.detections")
    said = plugin.form(kept, "apply_thresholds").said("will_do")
    assert f"Of {total} labels will tag {below} with 'below_threshold'" in said
    said = plugin.form(kept, "apply_thresholds", params={**APPLY, "action": "hide"}).said("will_do")
    assert f"will hide {below}" in said


def test_hiding_opens_the_view_at_once_and_changes_nothing(plugin, kept):
    messages = plugin.run(kept, "apply_thresholds", {**APPLY, "action": "hide"})
    assert calls(messages) == ["set_view", "notify"]
    assert kept.count_label_tags("ntt") == {}


def test_hiding_names_the_classes_without_a_threshold(plugin, kept):
    bank = ntt.load_memory_bank(kept, "shapes")
    left, *others = bank.thresholds
    bank.set_thresholds({label: bank.thresholds[label] for label in others})
    ntt.save_memory_bank(kept, "shapes", bank, overwrite=True)
    messages = plugin.run(kept, "apply_thresholds", {**APPLY, "action": "hide"})
    assert f"No threshold: {left} (" in str(messages[-1])


def test_a_comparison_is_a_table_by_class(plugin, dataset):
    shown = page(plugin.run(dataset, "compare_segmentations", COMPARE))
    found = ntt.compare_segmentations(dataset, "ntt", "boxes", "ground_truth")
    rows = {row[0]: row[1:] for row in shown["ntt_table"]["rows"]}
    both = dataset.exists("ntt").exists("boxes")
    assert len(both) < len(dataset)
    assert set(rows) == {"all classes", *found.by_class}
    assert rows["all classes"][:3] == [
        both.count("ntt.detections"),
        both.count("boxes.detections"),
        found.overall.same,
    ]
    assert rows["all classes"][-2] == pytest.approx(found.overall.first_ap)
    assert len(shown["ntt_table"]["columns"]) == 9


def test_a_comparison_needs_no_truth(plugin, dataset):
    params = {"label_field": "ntt", "other_field": "ground_truth"}
    shown = page(plugin.run(dataset, "compare_segmentations", params))
    assert len(shown["ntt_table"]["columns"]) == 7


def test_truth_is_neither_of_the_two(plugin, dataset):
    form = plugin.form(dataset, "compare_segmentations", params=COMPARE)
    assert set(form.choices("gt_field")) == {"ground_truth"}
    assert "ntt" not in form.choices("other_field")
