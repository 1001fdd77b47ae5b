"""Each operator through FiftyOne's executor: at once, and by a real worker."""

import json
from pathlib import Path
from types import SimpleNamespace

import fiftyone as fo
import pytest
from fiftyone import ViewField as F
from fiftyone.operators.registry import OperatorRegistry

import ntt_plugin as ntt
from ntt_plugin.app.operators.labels import segment_with_memory_bank
from ntt_plugin.dataset.samples.sample_notes import SampleNote
from tests.app.driver import calls

LABELS = "ground_truth.detections"
ONE_CLASS = "magenta dotted arrow"


def sampled(dataset, folder):
    tagged = dataset.filter_labels("ground_truth", F("tags").contains("few"))
    counts = tagged.count_values(f"{LABELS}.label")
    assert set(counts) == set(dataset.distinct(f"{LABELS}.label"))
    assert max(counts.values()) == 1


def built(dataset, folder):
    info = ntt.get_memory_bank_info(dataset, "second")
    tagged = dataset.filter_labels("ground_truth", F("tags").contains("reference"))
    assert info.shots == tagged.count_values(f"{LABELS}.label")
    assert info.recipe.name == "tiny"


def added(dataset, folder):
    tagged = dataset.filter_labels("ground_truth", F("tags").contains("mine"))
    assert tagged.count(LABELS) == dataset.count(LABELS)


def updated(dataset, folder):
    info = ntt.get_memory_bank_info(dataset, "shapes")
    assert info.shots == dataset.count_values(f"{LABELS}.label")


def promoted(dataset, folder):
    tags = dataset.count_label_tags("ntt_references.detections")
    assert tags == {"reference": dataset.count("ntt_references.detections")}
    learnt = sum(ntt.get_memory_bank_info(dataset, "shapes").shots.values())
    assert learnt == tags["reference"] + dataset.count_label_tags(LABELS)["reference"]


def demoted(dataset, folder):
    negatives = ntt.get_memory_bank_info(dataset, "shapes").negatives
    tags = dataset.count_label_tags("ntt_references.detections")
    assert tags["negative"] == sum(negatives.values()) > 0


def removed(dataset, folder):
    shots = ntt.get_memory_bank_info(dataset, "shapes").shots
    assert len(shots) > 1 and ONE_CLASS not in shots


def duplicated(dataset, folder):
    assert ntt.list_memory_banks(dataset) == ["forms", "shapes"]


def merged(dataset, folder):
    shots = [ntt.get_memory_bank_info(dataset, name).shots for name in ("shapes", "both")]
    assert shots[0] == shots[1]


def segmented(dataset, folder):
    assert len(dataset.exists("found")) == len(dataset)
    assert dataset.count("found.detections") > len(dataset)
    assert dataset.distinct("found.detections.bank") == ["shapes"]


def masked(dataset, folder):
    assert dataset.count("masks.detections.mask") == dataset.count(LABELS)
    assert dataset.count("boxes.detections.mask") == 0


def suggested(dataset, folder):
    assert 0 < dataset.count("suggestions.detections") <= 7
    assert all(dataset.values("suggestions.detections.reason", unwind=True))


def evaluated(dataset, folder):
    figures = ntt.coco_figures(dataset, "score")
    assert figures.segm is not None
    assert -1 <= figures.segm["AP"] <= 1


def thresholds_saved(dataset, folder):
    found = ntt.best_thresholds(dataset, "check")
    saved = ntt.load_memory_bank(dataset, "shapes").thresholds
    assert saved == {label: entry.value for label, entry in found.items()} != {}


def thresholds_applied(dataset, folder):
    tagged = dataset.filter_labels("ntt", F("tags").contains("low"))
    assert 0 < tagged.count("ntt.detections") < dataset.count("ntt.detections")
    assert tagged.bounds("ntt.detections.confidence")[1] < 0.7


def compared(dataset, folder):
    assert dataset.list_evaluations() == []


def settings_changed(dataset, folder):
    assert ntt.load_memory_bank(dataset, "shapes").recipe.rescoring == "diffusion"


def renamed(dataset, folder):
    assert ntt.list_memory_banks(dataset) == ["forms"]


def deleted(dataset, folder):
    assert ntt.list_memory_banks(dataset) == []


def exported(dataset, folder):
    assert (folder / "out.safetensors").stat().st_size > 1000


def imported(dataset, folder):
    assert ntt.list_memory_banks(dataset) == ["shapes", "taken"]
    names = [ntt.get_memory_bank_info(dataset, name).digest for name in ("shapes", "taken")]
    assert names[0] == names[1]


def checked(dataset, folder):
    checks = ntt.reference_quality(dataset, "shapes")
    assert len(checks) == sum(ntt.get_memory_bank_info(dataset, "shapes").shots.values())
    assert all(check.recut_iou is not None for check in checks)


def undone(dataset, folder):
    # One class was removed before.
    assert ONE_CLASS in ntt.get_memory_bank_info(dataset, "shapes").shots


def estimated(dataset, folder):
    info = ntt.get_memory_bank_info(dataset, "shapes")
    assert set(info.thresholds) == set(info.expected_recalls) != set()


def taught(dataset, folder):
    rejected = dataset.count_values("ntt.detections.review")["rejected"]
    assert 0 < sum(ntt.get_memory_bank_info(dataset, "shapes").negatives.values()) <= rejected


def accepted(dataset, folder):
    approved = dataset.count_values("ntt.detections.review")["approved"]
    assert dataset.count("good.detections") == approved > 0


def written(dataset, folder):
    annotations = json.loads((folder / "labels.json").read_text())["annotations"]
    assert len(annotations) == dataset.count(LABELS)


def unchanged(dataset, folder):
    assert ntt.list_memory_banks(dataset) == ["shapes"]


def kept(dataset, folder):
    assert ntt.propose(dataset, preset="tiny", progress=False).computed == 0


def cleared(dataset, folder):
    assert ntt.get_proposals_info().entries == 0


CASES = {
    "sample_references": ({"label_field": "ground_truth", "shots": 1, "tag": "few"}, sampled),
    "add_references": ({"label_field": "ground_truth", "tag": "mine"}, added),
    "masks_from_boxes": ({"label_field": "boxes", "new_field": "masks", "preset": "tiny"}, masked),
    "build_memory_bank": (
        {"label_field": "ground_truth", "name": "second", "tag": "reference", "preset": "tiny"},
        built,
    ),
    "update_memory_bank": ({"label_field": "ground_truth", "name": "shapes"}, updated),
    "undo_memory_bank": ({"name": "shapes"}, undone),
    "segment_with_memory_bank": ({"bank": "shapes", "label_field": "found"}, segmented),
    "evaluate_segmentation": (
        {"label_field": "ntt", "gt_field": "ground_truth", "eval_key": "score"},
        evaluated,
    ),
    "estimate_thresholds": ({"bank": "shapes"}, estimated),
    "save_thresholds": ({"bank": "shapes", "eval_key": "check"}, thresholds_saved),
    "apply_thresholds": ({"label_field": "ntt", "tag": "low"}, thresholds_applied),
    "compare_segmentations": (
        {"label_field": "ntt", "other_field": "boxes", "gt_field": "ground_truth"},
        compared,
    ),
    "compare_recipes": (
        {
            "bank": "shapes",
            "recipes": ["own", "own rescoring=diffusion"],
            "gt_field": "ground_truth",
        },
        unchanged,
    ),
    "change_recipe": ({"name": "shapes", "preset": "own rescoring=diffusion"}, settings_changed),
    "teach_review": ({"label_field": "ntt", "bank": "shapes", "kind": "negatives"}, taught),
    "accept_labels": ({"label_field": "ntt", "into": "good"}, accepted),
    "export_labels": ({"field": "ground_truth", "path": "FOLDER/labels.json"}, written),
    "suggest_references": ({"bank": "shapes", "count": 7}, suggested),
    "promote_references": ({"label_field": "ntt", "bank": "shapes"}, promoted),
    "add_negatives": ({"label_field": "ntt", "bank": "shapes"}, demoted),
    "remove_references": ({"name": "shapes", "classes": [ONE_CLASS]}, removed),
    "load_references_view": ({"name": "shapes"}, unchanged),
    "check_references": ({"name": "shapes"}, checked),
    "get_memory_bank_info": ({"name": "shapes"}, unchanged),
    "rename_memory_bank": ({"name": "shapes", "new_name": "forms"}, renamed),
    "duplicate_memory_bank": ({"name": "shapes", "new_name": "forms"}, duplicated),
    "merge_memory_banks": ({"names": ["shapes", "second"], "new_name": "both"}, merged),
    "delete_memory_bank": ({"name": "shapes"}, deleted),
    "export_memory_bank": ({"name": "shapes", "path": "FOLDER/out.safetensors"}, exported),
    "import_memory_bank": ({"path": "FOLDER/in.safetensors", "name": "taken"}, imported),
    "compute_proposals": ({"preset": "tiny"}, kept),
    "get_proposals_info": ({}, unchanged),
    "clear_proposals": ({}, cleared),
    "download_networks": ({"preset": "tiny"}, unchanged),
}


# Images that the button at the end opens, of five; no button for the others.
SHOWN = {
    "sample_references": 4,
    "add_references": 5,
    "masks_from_boxes": 5,
    "build_memory_bank": 3,
    "update_memory_bank": 5,
    "promote_references": 2,
    "add_negatives": 2,
    "segment_with_memory_bank": 5,
    "apply_thresholds": 2,
    # Only two images hold both fields; the others are left out.
    "compare_segmentations": 2,
    "teach_review": 2,
    "accept_labels": 2,
    "suggest_references": 7,
    "load_references_view": 3,
}


def shown(plugin, dataset, operator: str, done):
    """The view that the page of a delegated run's result offers; None if it offers none."""
    found = OperatorRegistry().get_operator(plugin.uri(operator))
    result = done.result.result
    page = found.resolve_output(SimpleNamespace(results=result))
    button = page.type.properties.get("show")
    if button is None:
        return None
    return fo.DatasetView._build(dataset, button.view.params["view"])


def prepared(operator: str, dataset, folder: Path) -> dict:
    params = dict(CASES[operator][0])
    if "path" in params:
        params["path"] = params["path"].replace("FOLDER", str(folder))
    if operator == "import_memory_bank":
        ntt.load_memory_bank(dataset, "shapes").save(params["path"])
    if operator == "merge_memory_banks":
        ntt.duplicate_memory_bank(dataset, "shapes", "second")
    if operator == "estimate_thresholds":
        ntt.update_memory_bank(dataset, "ground_truth", "shapes", progress=False)
    if operator == "undo_memory_bank":
        ntt.remove_references(dataset, "shapes", classes=[ONE_CLASS])
    if operator in ("teach_review", "accept_labels"):
        page = ntt.review_queue(dataset, "ntt").page()
        right, wrong = [item.key for item in page[::2]], [item.key for item in page[1::2]]
        ntt.review_labels(dataset, "ntt", approve=right, reject=wrong)
    if operator == "save_thresholds":
        ntt.evaluate(dataset.match_tags("target"), "ntt", "ground_truth", "check")
    if operator == "apply_thresholds":
        every = ntt.get_memory_bank_info(dataset, "shapes").shots
        ntt.save_thresholds(dataset, "shapes", thresholds=dict.fromkeys(every, 0.7))
    return params


def test_every_operator_has_its_case(operators):
    assert sorted(CASES) == sorted(operator.operator_name for operator in operators)


@pytest.mark.parametrize("operator", CASES)
def test_immediate(operator, plugin, dataset, tmp_path):
    messages = plugin.run(dataset, operator, prepared(operator, dataset, tmp_path))
    dataset.reload()
    CASES[operator][1](dataset, tmp_path)
    if operator == "load_references_view":
        assert calls(messages) == ["set_view", "notify"]
    else:
        assert calls(messages)[0] == "set_progress"
        assert calls(messages)[-1] == "show_output"


@pytest.mark.parametrize("operator", CASES)
def test_delegated(operator, plugin, dataset, tmp_path, worker):
    operation = plugin.queue(dataset, operator, prepared(operator, dataset, tmp_path))
    done = worker(operation)
    assert done.run_state == "completed", done.result.error
    dataset.reload()
    CASES[operator][1](dataset, tmp_path)
    assert done.result.result["message"]
    assert done.status.label
    assert len(shown(plugin, dataset, operator, done) or ()) == SHOWN.get(operator, 0)


def test_a_view_of_many_images_names_none_of_them(dataset, monkeypatch):
    monkeypatch.setattr(segment_with_memory_bank, "MOST_BY_ID", 1)
    report = ntt.segment(dataset, "shapes", "found", progress=False)
    outcome = segment_with_memory_bank.reported(SimpleNamespace(dataset=dataset), report)
    assert len(outcome.view) == len(dataset)
    assert dataset.first().id not in str(outcome.as_dict())


def test_a_note_without_a_file_begins_with_its_reason(dataset):
    report = ntt.segment(dataset, "shapes", "found", progress=False)
    report.notes.append(SampleNote("", "", "memory ran out"))
    outcome = segment_with_memory_bank.reported(SimpleNamespace(dataset=dataset), report)
    assert outcome.problems[-1] == "memory ran out"


def test_the_window_at_the_end_tells_how_to_see_what_its_buttons_show(plugin, dataset):
    def said(operator, params):
        [shown] = [m for m in plugin.run(dataset, operator, params) if "outputs" in m["params"]]
        return str(shown["params"]["outputs"])

    assert "press **Done**" in said(
        "segment_with_memory_bank", {"bank": "shapes", "label_field": "found"}
    )
    assert "press **Done**" not in said("get_proposals_info", {})


def test_what_was_done_to_another_slice_is_shown(worked_on):
    grouped = fo.Dataset()
    grouped.add_group_field("group", default="left")
    group, path = fo.Group(), worked_on.first().filepath
    grouped.add_samples(
        [fo.Sample(filepath=path, group=group.element(name)) for name in ("left", "right")]
    )
    try:
        [right] = grouped.select_group_slices("right").values("id")
        report = ntt.SegmentReport("ntt", "shapes", "tiny", segmented=1, segmented_ids=[right])
        outcome = segment_with_memory_bank.reported(SimpleNamespace(dataset=grouped), report)
        assert outcome.view.values("id") == [right]
    finally:
        grouped.delete()
