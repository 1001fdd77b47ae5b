import pytest

import ntt_plugin as ntt
from ntt_plugin.app.panel import selected_label
from tests.app.panel_driver import PanelOnScreen


@pytest.fixture
def panel(plugin, dataset):
    return PanelOnScreen(dataset)


def select(panel, sample, field, label):
    chosen = {"label_id": label.id, "sample_id": sample.id, "field": field, "type": "default"}
    panel.request["selected_labels"] = [chosen]
    panel.event("on_change_selected_labels")


def images(panel):
    return [part["default"] for part in panel.parts() if part["view"]["name"] == "ImageView"]


def test_a_selected_prediction_is_shown_beside_its_reference(panel, dataset):
    sample = dataset.exists("ntt").first()
    label = sample["ntt"].detections[0]
    select(panel, sample, "ntt", label)
    text = panel.text()
    assert f"Why {label.label}?" in text
    assert f"score {label.confidence:.2f}, margin to the next class {label.margin:.2f}" in text
    assert len(images(panel)) == 2


@pytest.mark.parametrize(
    ("words", "operator"),
    [
        ("Wrong: add as negative", "add_negatives"),
        ("Right: promote to reference", "promote_references"),
    ],
)
def test_it_can_be_told_right_from_wrong(panel, dataset, words, operator):
    sample = dataset.exists("ntt").first()
    select(panel, sample, "ntt", sample["ntt"].detections[0])
    panel.click(words)
    [asked] = panel.asked("prompt_user_for_operation")
    assert asked["operator_uri"].endswith(f"/{operator}")
    assert asked["params"] == {"bank": "shapes", "label_field": "ntt"}


def test_it_tells_that_its_bank_was_changed_since(panel, dataset):
    sample = dataset.exists("ntt").first()
    label = sample["ntt"].detections[0]
    select(panel, sample, "ntt", label)
    assert "bank shapes\n" in panel.text()
    ntt.update_memory_bank(dataset, "ground_truth", "shapes", progress=False)
    select(panel, sample, "ntt", label)
    assert "bank shapes, which was changed since" in panel.text()


@pytest.mark.parametrize("missing", ["confidence", "margin", "reference", "bank_version"])
def test_a_label_that_lost_something_on_its_way_is_shown_without_it(panel, dataset, missing):
    sample = dataset.exists("ntt").first()
    label = sample["ntt"].detections[0]
    label[missing] = None
    sample.save()
    select(panel, sample, "ntt", label)
    text = panel.text()
    assert f"Why {label.label}?" in text and "bank shapes" in text and "None" not in text
    assert ("score" in text, "margin" in text) == (missing != "confidence", missing != "margin")


def test_a_label_whose_bank_is_not_known_has_no_cause(panel, dataset):
    sample = dataset.exists("ntt").first()
    label = sample["ntt"].detections[0]
    label["bank"] = None
    sample.save()
    select(panel, sample, "ntt", label)
    assert "Why" not in panel.text()


def test_it_stays_when_the_bank_is_deleted(panel, dataset):
    ntt.delete_memory_bank(dataset, "shapes")
    sample = dataset.exists("ntt").first()
    select(panel, sample, "ntt", sample["ntt"].detections[0])
    # What a label keeps of its reference is enough to find it.
    assert len(images(panel)) == 2


def test_a_selected_label_of_a_person_has_no_cause(panel, dataset):
    sample = dataset.first()
    select(panel, sample, "ground_truth", sample["ground_truth"].detections[0])
    assert "Why" not in panel.text()


def test_a_selected_label_that_is_gone_is_no_obstacle(panel, dataset):
    sample = dataset.exists("ntt").first()
    label = sample["ntt"].detections.pop(0)
    sample.save()
    select(panel, sample, "ntt", label)
    assert "Why" not in panel.text()


def test_a_selected_patch_is_shown_beside_its_reference(panel, dataset):
    patches = dataset.to_patches("ntt")
    patch = patches.first()
    panel.request |= {"view": patches._serialize(), "selected": [patch.id]}
    panel.event("on_change_selected")
    assert f"Why {patch.ntt.label}?" in panel.text()
    assert len(images(panel)) == 2


def test_a_selected_patch_of_an_evaluation_is_shown_beside_its_reference(panel, dataset):
    ntt.evaluate(dataset.match_tags("target"), "ntt", "ground_truth", "check")
    patches = dataset.to_evaluation_patches("check")
    shown = next(patch for patch in patches if patch.ntt is not None and patch.ntt.detections)
    missed = next((patch for patch in patches if not getattr(patch.ntt, "detections", None)), None)
    panel.request |= {"view": patches._serialize(), "selected": [shown.id]}
    panel.event("on_change_selected")
    assert f"Why {shown.ntt.detections[0].label}?" in panel.text()
    assert missed is not None
    panel.request["selected"] = [missed.id]
    panel.event("on_change_selected")
    assert "Why" not in panel.text()


def test_the_reference_is_shown_from_the_field_and_sample_that_it_was_learnt_from(panel, dataset):
    dataset.clone_sample_field("ground_truth", "second")
    for sample in dataset.iter_samples(autosave=True):
        for label in sample["second"].detections:
            label.mask = label.mask[:, ::-1].copy()
    ntt.update_memory_bank(dataset.exists("ntt", False), "second", "shapes", progress=False)
    bank = ntt.load_memory_bank(dataset, "shapes")
    entries = [entry.provenance for name in bank.classes for entry in bank.references(name)]
    sample = dataset.exists("ntt").first()
    for field in ("ground_truth", "second"):
        [source] = [
            entry
            for entry in entries
            if (entry.label, entry.field) == (entries[0].label, field)
            and entry.sample == entries[0].sample
        ]
        label = sample["ntt"].detections[0]
        label["reference"], label["reference_sample"] = source.label, source.sample
        label["reference_field"] = field
        sample.save()
        assert selected_label._source(dataset, label) == source
