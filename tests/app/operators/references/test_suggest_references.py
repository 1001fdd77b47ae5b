"""Suggestions in the App: the form asks before a person's work goes, the run opens the patches."""

import fiftyone as fo
import pytest

import ntt_plugin as ntt
from tests.app.driver import calls, page

ASKED = {"bank": "shapes", "count": 5}


def corrected(dataset):
    """Suggestions of which a person gave one another class."""
    found = ntt.suggest_references(dataset, "shapes", 5, progress=False)
    [sample] = dataset.select(found.view.first().sample_id)
    sample.suggestions.detections[0].label = "something else"
    sample.save()


def test_the_patches_are_opened_with_the_most_telling_first(plugin, dataset):
    messages = plugin.run(dataset, "suggest_references", ASKED)
    [opened] = [m["params"] for m in messages if m["operator_uri"] == "set_view"]
    view = fo.DatasetView._build(dataset, opened["view"])
    gains = view.values("suggestions.gain")
    assert len(gains) == 5
    assert gains == sorted(gains, reverse=True)
    assert calls(messages)[-3:] == ["set_view", "set_active_fields", "show_output"]
    [switched_on] = [m["params"] for m in messages if m["operator_uri"] == "set_active_fields"]
    assert switched_on == {"fields": ["suggestions"]}


def test_the_page_says_of_each_why(plugin, dataset):
    messages = plugin.run(dataset, "suggest_references", ASKED)
    dataset.reload()
    found = [label for s in dataset if s.suggestions for label in s.suggestions.detections]
    found.sort(key=lambda label: -label.gain)
    rows = page(messages)["ntt_table"]["rows"]
    assert [list(row) for row in rows] == [[label.label, label.reason] for label in found]


def test_the_page_tells_what_to_do_next(plugin, dataset):
    message = page(plugin.run(dataset, "suggest_references", ASKED))["message"]
    assert "Promote to references" in message and "Add as negatives" in message


def test_nothing_to_suggest_opens_no_view(plugin, dataset, tmp_path):
    bare = fo.Dataset()
    bare.add_sample(fo.Sample(filepath=str(tmp_path / "missing.jpg")))
    try:
        params = {"bank": "shapes", "bank_dataset": dataset.name}
        messages = plugin.run(bare, "suggest_references", params)
        assert "set_view" not in calls(messages)
        assert page(messages)["Failed"] == 1
        assert "missing.jpg" in page(messages)["problems"][0]
    finally:
        bare.delete()


def test_what_a_person_corrected_must_be_ticked_to_go(plugin, dataset):
    corrected(dataset)
    form = plugin.form(dataset, "suggest_references", params=ASKED)
    assert list(form.errors) == ["overwrite"]
    assert "1 label in" in form.said("replaces")
    assert (
        plugin.form(dataset, "suggest_references", params={**ASKED, "overwrite": True}).errors == {}
    )


def test_former_suggestions_alone_go_without_a_tick(plugin, dataset):
    ntt.suggest_references(dataset, "shapes", 5, progress=False)
    form = plugin.form(dataset, "suggest_references", params=ASKED)
    assert form.errors == {}
    assert "5 images" in form.said("will_do")


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"count": 0}, "count"),
        ({"count": 2.5}, "count"),
        ({"field": "ground_truth"}, "field"),
        ({"field": "ntt"}, "field"),
        ({"field": "a b"}, "field"),
        ({"bank": "none"}, "bank"),
    ],
)
@pytest.mark.parametrize("tick", [False, True])
def test_a_bad_value_is_marked_at_its_field(params, field, tick, plugin, worked_on):
    form = plugin.form(
        worked_on, "suggest_references", params={**ASKED, **params, "overwrite": tick}
    )
    assert list(form.errors) == [field]
