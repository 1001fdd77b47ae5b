"""Marking and teaching by hand: selections, Alt, patches, what the forms say, what comes next."""

from types import SimpleNamespace

import fiftyone as fo
import fiftyone.operators.types as types
import pytest
from fiftyone import ViewField as F
from fiftyone.operators.executor import ExecutionContext
from fiftyone.operators.registry import OperatorRegistry

import ntt_plugin as ntt
from ntt_plugin.app.operators.references import learning_form
from ntt_plugin.app.runtime.result_page import output_page
from tests.app.driver import loaded, page

LABELS = "ground_truth.detections"


def entries(sample, field, alt=(), count=2):
    """Some of a sample's labels as the App tells of them when they are selected."""
    return [
        {
            "label_id": label.id,
            "sample_id": sample.id,
            "field": field,
            "type": "alt" if index in alt else "default",
        }
        for index, label in enumerate(sample[field].detections[:count])
    ]


def selected(labels, **others):
    return {"selected_labels": labels, "view_target": "SELECTED_LABELS", **others}


def ask(plugin, dataset, operator, params, **request):
    """Run with what only the App passes on; the messages and the page at the end."""
    messages = list(plugin.stream(dataset, operator, params, **request))
    # A run that takes long shows a page with *Stop* first.
    *_, body = (m.body.params for m in messages if m.body.operator_uri == "show_output")
    return body["results"] or body["outputs"]


def marked(form):
    """What the form marks, but for required fields, which the App fills with their defaults."""
    return {name for name, reason in form.errors.items() if reason != "Required property"}


def tagged(dataset, tag, field="ground_truth"):
    view = fo.load_dataset(dataset.name).filter_labels(field, F("tags").contains(tag))
    return set(view.values(f"{field}.detections.id", unwind=True))


def test_selected_labels_are_counted_and_their_field_is_offered(plugin, dataset):
    labels = entries(dataset.last(), "ntt")
    form = plugin.form(dataset, "add_references", selected_labels=labels)
    assert form.default("label_field") == "ntt"
    assert "2 labels with 'reference'" in form.said("will_do")
    assert "copies are kept in 'ntt_references'" in form.said("will_do")
    assert not marked(form)


def test_labels_selected_with_alt_become_negatives_in_one_go(plugin, dataset):
    labels = entries(dataset.first(), "ground_truth", alt=(1,))
    form = plugin.form(dataset, "add_references", selected_labels=labels)
    assert "1 label with 'reference'" in form.said("will_do")
    assert "1 label with 'negative', those selected with Alt" in form.said("will_do")
    ask(plugin, dataset, "add_references", {"label_field": "ground_truth"}, **selected(labels))
    assert labels[0]["label_id"] in tagged(dataset, "reference")
    assert tagged(dataset, "negative") == {labels[1]["label_id"]}


def test_with_a_bank_both_kinds_are_learnt(plugin, dataset):
    bank = ntt.load_memory_bank(dataset, "shapes")
    held = {entry.provenance.label for label in bank.classes for entry in bank.references(label)}
    known = [
        (sample, label)
        for sample in dataset
        for label in sample["ground_truth"].detections
        if label.label in bank.classes and label.id not in held
    ]
    labels = [
        {"label_id": label.id, "sample_id": sample.id, "field": "ground_truth", "type": kind}
        for (sample, label), kind in zip(known, ("default", "alt"), strict=False)
    ]
    params = {"label_field": "ground_truth", "bank": "shapes"}
    told = ask(plugin, dataset, "add_references", params, **selected(labels))
    after = ntt.get_memory_bank_info(dataset, "shapes")
    assert sum(after.shots.values()) == len(bank) + 1
    assert after.negatives[known[1][1].label] == 1
    assert "learnt 1 of them" in told["message"]
    assert told["ntt_next"]["params"]["bank"] == "shapes"


def test_predictions_selected_with_alt_are_negatives_beside_references_of_another_field(
    plugin, dataset
):
    sample = dataset.last()
    labels = entries(sample, "ground_truth", count=1) + entries(sample, "ntt", alt=(0,), count=1)
    params = {"label_field": "ground_truth"}
    ask(plugin, dataset, "add_references", params, **selected(labels))
    assert labels[0]["label_id"] in tagged(dataset, "reference")
    dataset.reload()
    assert len(tagged(dataset, "negative", "ntt_references")) == 1


def test_samples_selected_with_alt_are_negatives(plugin, dataset):
    first, second = dataset.values("id")[:2]
    chosen = [{"id": first, "type": "default"}, {"id": second, "type": "alt"}]
    request = {"selected_samples": chosen, "view_target": "SELECTED_SAMPLES"}
    form = plugin.form(dataset, "add_references", **request)
    counts = [len(dataset[key]["ground_truth"].detections) for key in (first, second)]
    assert f"{counts[0]} labels with 'reference'" in form.said("will_do")
    assert f"{counts[1]} labels with 'negative'" in form.said("will_do")


def test_the_button_is_above_the_grid_or_in_the_open_sample(plugin, dataset):
    operator = OperatorRegistry().get_operator(plugin.uri("add_references"))
    for current, place in (
        (None, types.Places.SAMPLES_GRID_ACTIONS),
        (dataset.first().id, types.Places.SAMPLES_VIEWER_ACTIONS),
    ):
        placement = operator.resolve_placement(SimpleNamespace(current_sample=current))
        assert placement.place == place
        assert placement.view.label == "Add references" and placement.view.prompt


@pytest.mark.parametrize("operator", ["promote_references", "add_negatives"])
def test_the_bank_that_made_the_labels_is_offered(operator, plugin, dataset):
    ntt.duplicate_memory_bank(dataset, "shapes", "another")
    labels = entries(dataset.last(), "ntt")
    form = plugin.form(dataset, operator, selected_labels=labels)
    assert (form.default("label_field"), form.default("bank")) == ("ntt", "shapes")
    assert "'shapes' up to 2" in form.said("will_do")
    assert not marked(form)


def with_another_bank(dataset):
    """A second bank, first in the alphabet and of other features than ``shapes``."""
    ntt.duplicate_memory_bank(dataset, "shapes", "another")
    ntt.remove_references(
        dataset, "another", classes=list(ntt.get_memory_bank_info(dataset, "shapes").shots)[:1]
    )


@pytest.mark.parametrize("operator", ["promote_references", "add_negatives"])
def test_the_bank_that_made_the_labels_is_offered_by_its_new_name(operator, plugin, dataset):
    with_another_bank(dataset)
    ntt.rename_memory_bank(dataset, "shapes", "renamed")
    form = plugin.form(dataset, operator, selected_labels=entries(dataset.last(), "ntt"))
    assert form.default("bank") == "renamed"
    assert "'renamed' up to 2" in form.said("will_do")


@pytest.mark.parametrize("operator", ["promote_references", "add_negatives"])
def test_no_bank_is_offered_for_labels_whose_own_is_gone(operator, plugin, dataset):
    with_another_bank(dataset)
    ntt.delete_memory_bank(dataset, "shapes")
    form = plugin.form(dataset, operator, selected_labels=entries(dataset.last(), "ntt"))
    assert form.default("bank") is None
    assert "'shapes' made these labels" in form.said("gone")
    form = plugin.form(dataset, operator, params={"bank": "another"})
    assert "gone" not in form.fields and "'another' up to" in form.said("will_do")


@pytest.mark.parametrize("operator", ["promote_references", "add_negatives"])
def test_all_predictions_are_taken_with_a_warning_only(operator, plugin, dataset):
    form = plugin.form(dataset, operator)
    assert "Nothing is selected" in form.said("everything")
    view = dataset.filter_labels("ntt", F("confidence") > 0.5)
    assert "everything" not in plugin.form(dataset, operator, view=view).fields


def test_classes_that_the_bank_lacks_are_told_before_they_are_left_out(plugin, dataset):
    shots = ntt.get_memory_bank_info(dataset, "shapes").shots
    gone = next(iter(shots))
    ntt.remove_references(dataset, "shapes", classes=[gone])
    view = dataset.filter_labels("ground_truth", F("label") == gone)
    params = {"label_field": "ground_truth"}
    form = plugin.form(dataset, "add_negatives", view=view, params=params)
    assert gone in form.said("unknown")
    form = plugin.form(dataset, "promote_references", view=view, params=params)
    assert f"New to it: {gone}" in form.said("will_do")


def test_the_page_at_the_end_opens_the_form_to_segment_again(plugin, dataset):
    labels = entries(dataset.last(), "ntt")
    params = {"label_field": "ntt", "bank": "shapes"}
    told = ask(plugin, dataset, "promote_references", params, **selected(labels))
    button = output_page(told).type.properties["next"].view
    assert button.prompt and button.operator == plugin.uri("segment_with_memory_bank")
    form = plugin.form(dataset, "segment_with_memory_bank", params=button.params)
    assert form.errors == {}
    written = len(dataset.exists("ntt"))
    assert 0 < written < len(dataset)
    assert f"into 'ntt' of {written} images" in form.said("will_do")
    assert "the proposals of all of them are kept" in form.said("will_do")
    words = list(form.choices("view_target").values())
    assert words == ["Whole dataset", "Images that were segmented before"]
    before = dataset.exists("ntt").values("id")
    plugin.run(dataset, "segment_with_memory_bank", dict(button.params))
    dataset.reload()
    assert dataset.exists("ntt").values("id") == before
    version = ntt.load_memory_bank(dataset, "shapes").version
    assert dataset.distinct("ntt.detections.bank_version") == [version]


def test_labels_that_no_run_made_are_segmented_again_where_the_bank_was_used(plugin, dataset):
    told = page(
        plugin.run(dataset, "add_references", {"label_field": "ground_truth", "bank": "shapes"})
    )
    assert told["ntt_next"]["params"]["label_field"] == "ntt"


def test_a_bank_that_segmented_nothing_offers_no_next_step(plugin, dataset):
    ntt.duplicate_memory_bank(dataset, "shapes", "unused")
    told = page(
        plugin.run(dataset, "add_references", {"label_field": "ground_truth", "bank": "unused"})
    )
    assert "ntt_next" not in told


def test_references_that_no_bank_learnt_are_followed_by_building_one(plugin, dataset):
    ids = dataset.values("id")[:1]
    params = {"label_field": "ground_truth", "tag": "mine"}
    step = page(plugin.run(dataset, "add_references", params))["ntt_next"]
    assert step["params"]["tag"] == "mine"
    form = plugin.form(dataset, step["operator"], params=step["params"], selected=ids)
    labels = dataset.count("ground_truth.detections")
    assert f"up to {labels} references" in form.said("will_do")


def test_a_new_bank_is_followed_by_segmenting_the_whole_dataset(plugin, dataset):
    params = {"label_field": "ground_truth", "name": "second", "preset": "tiny"}
    step = page(plugin.run(dataset, "build_memory_bank", params))["ntt_next"]
    params = {**step["params"], "label_field": "other"}
    ids = dataset.values("id")[:1]
    form = plugin.form(dataset, step["operator"], params=params, selected=ids)
    assert form.errors == {}
    assert f"into 'other' of {len(dataset)} images" in form.said("will_do")


def test_the_marked_labels_are_shown(plugin, dataset):
    labels = entries(dataset.last(), "ntt")
    params = {"label_field": "ntt", "bank": "shapes"}
    told = ask(plugin, dataset, "promote_references", params, **selected(labels))
    button = output_page(told).type.properties["show"].view
    shown = fo.DatasetView._build(fo.load_dataset(dataset.name), button.params["view"])
    assert shown.count("ntt_references.detections") == 2
    assert (shown.count("ntt.detections"), shown.count(LABELS)) == (0, 0)


def test_many_marked_labels_are_shown_by_their_tag(dataset, monkeypatch):
    added = ntt.add_references(dataset, "ground_truth", tag="mine")
    monkeypatch.setattr(learning_form, "MOST_BY_ID", 1)
    shown = learning_form._shown(dataset, [added])
    assert set(shown.values(f"{LABELS}.id", unwind=True)) == set(added.label_ids)
    assert added.label_ids[0] not in str(shown._serialize())


def test_patches_that_are_selected_are_promoted(plugin, dataset):
    patches = dataset.to_patches("ntt").sort_by("ntt.confidence", reverse=True)
    chosen = [{"id": key, "type": "default"} for key in patches.limit(2).values("id")]
    request = {"selected_samples": chosen, "view_target": "SELECTED_SAMPLES"}
    form = plugin.form(dataset, "promote_references", view=patches, **request)
    assert form.default("label_field") == "ntt"
    assert "'shapes' up to 2" in form.said("will_do")
    operator = OperatorRegistry().get_operator(plugin.uri("promote_references"))
    context = ExecutionContext(
        {
            **request,
            "dataset_name": dataset.name,
            "view": patches._serialize(),
            "params": {"label_field": "ntt", "bank": "shapes"},
        }
    )
    told = operator.run(context, None).as_dict()
    assert "2 labels tagged" in told["message"]
    again = told["ntt_next"]["params"]
    assert again["view_target"] == "CUSTOM_VIEW_TARGET"
    view = fo.DatasetView._build(dataset, again["custom_view_target"])
    assert view.values("id") == dataset.exists("ntt").values("id")


@pytest.mark.parametrize(("target", "images"), [("CURRENT_VIEW", 1), ("DATASET", 5)])
def test_whole_images_are_segmented_while_patches_are_shown(target, images, plugin, dataset):
    patches = dataset.limit(1).to_patches("ground_truth")
    params = {"bank": "shapes", "label_field": "found", "view_target": target}
    form = plugin.form(dataset, "segment_with_memory_bank", view=patches, params=params)
    assert form.errors == {}
    assert f"into 'found' of {images} image" in form.said("will_do")


def test_references_whose_labels_are_selected_are_offered_for_removal(plugin, dataset):
    view = ntt.load_references_view(dataset, "shapes")
    labels = entries(view.first(), "ground_truth", count=1)
    form = plugin.form(dataset, "remove_references", selected_labels=labels)
    [reference] = form.default("references")
    assert form.choices("references")[reference] in form.said("will_do")
    assert marked(form) == {"confirm"}
    plugin.run(dataset, "remove_references", {"name": "shapes", "references": [reference]})
    bank = ntt.load_memory_bank(dataset, "shapes")
    left = {entry.id for label in bank.classes for entry in bank.references(label)}
    assert left and reference not in left


def test_a_removal_of_nothing_or_of_what_is_gone_is_marked(plugin, dataset):
    assert marked(plugin.form(dataset, "remove_references")) == {"references"}
    params = {"name": "shapes", "references": ["gone"]}
    form = plugin.form(dataset, "remove_references", params=params)
    assert "no longer" in form.errors["references"]


def test_an_update_says_what_happens_to_predictions(plugin, dataset):
    params = {"name": "shapes", "label_field": "ntt"}
    form = plugin.form(dataset, "update_memory_bank", params=params)
    assert "Promote to references" in form.said("will_do")


def test_promoted_suggestions_are_followed_by_the_segmentation_with_their_bank(plugin, dataset):
    suggestions = ntt.suggest_references(dataset, "shapes", count=3, progress=False)
    first = suggestions.label_ids[0]
    labels = [{"label_id": first, "sample_id": "", "field": "suggestions", "type": "default"}]
    form = plugin.form(dataset, "promote_references", view=suggestions.view, selected_labels=labels)
    assert (form.default("label_field"), form.default("bank")) == ("suggestions", "shapes")
    params = {"label_field": "suggestions", "bank": "shapes"}
    told = ask(plugin, dataset, "promote_references", params, **selected(labels))
    assert told["ntt_next"]["params"]["label_field"] == "ntt"
    dataset.reload()
    assert dataset.count("ntt_references.detections") == 1


def test_what_an_update_learnt_is_shown_also_where_no_reference_of_the_bank_is_here(
    plugin, dataset
):
    # As of a bank that was imported: what it was built from is elsewhere.
    dataset.delete_samples(ntt.load_references_view(dataset, "shapes").values("id"))
    ids = dataset.values("ntt.detections.id", unwind=True)
    params = {"label_field": "ntt", "name": "shapes", "negatives": True}
    told = page(plugin.run(dataset, "update_memory_bank", params))
    assert f"learnt {len(ids)} labels" in told["message"]
    button = output_page(told).type.properties["show"].view
    shown = fo.DatasetView._build(fo.load_dataset(dataset.name), button.params["view"])
    assert ids and shown.values("ntt.detections.id", unwind=True) == ids


def test_an_update_of_many_labels_shows_the_first(plugin, dataset, monkeypatch):
    monkeypatch.setattr(loaded(plugin, "app.operators.banks.update_memory_bank"), "MOST_BY_ID", 1)
    told = page(
        plugin.run(dataset, "update_memory_bank", {"label_field": "ground_truth", "name": "shapes"})
    )
    assert told["ntt_view"]["label"] == "Show the first 1 it learnt"


@pytest.mark.parametrize(("kind", "field"), [("fp", "ntt"), ("tp", "ntt"), ("fn", "ground_truth")])
def test_of_a_patch_of_an_evaluation_the_field_that_holds_it_is_offered(
    kind, field, plugin, dataset
):
    targets = dataset.match_tags("target")
    for sample in targets.iter_samples(autosave=True):
        # One prediction of each image is taken for another class, so that each kind is there.
        sample["ntt"].detections[0].label = "another"
    ntt.evaluate(targets, "ntt", "ground_truth", "check")
    patches = dataset.to_evaluation_patches("check")
    chosen = [
        {"id": key, "type": "default"} for key in patches.match(F("type") == kind)[:1].values("id")
    ]
    assert chosen
    request = {"selected_samples": chosen, "view_target": "SELECTED_SAMPLES"}
    form = plugin.form(dataset, "add_negatives", view=patches, **request)
    assert form.default("label_field") == field


def test_of_patches_of_an_evaluation_predictions_are_offered_first(plugin, dataset):
    ntt.evaluate(dataset.match_tags("target"), "ntt", "ground_truth", "check")
    patches = dataset.to_evaluation_patches("check")
    assert plugin.form(dataset, "promote_references", view=patches).default("label_field") == "ntt"
