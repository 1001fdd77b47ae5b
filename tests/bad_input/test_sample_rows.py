"""Samples and labels that are missing, that are there twice, or that share their ids."""

import fiftyone as fo
import pytest

from ntt_plugin.dataset.banks import add_references, banks
from ntt_plugin.dataset.banks.edit import update_memory_bank
from ntt_plugin.dataset.evaluation.compare import compare_segmentations
from ntt_plugin.dataset.evaluation.evaluate import coco_figures, evaluate
from ntt_plugin.dataset.evaluation.exclusions import LeftOut
from ntt_plugin.dataset.references.sampling import sample_references
from ntt_plugin.dataset.samples.label_lookup import find_sources
from ntt_plugin.dataset.segmentation.masks_from_boxes import masks_from_boxes
from ntt_plugin.dataset.segmentation.report import load_segment_report
from ntt_plugin.dataset.segmentation.segment import segment
from ntt_plugin.dataset.suggestions.suggest import suggest_references
from tests.bad_input.expectations import refused, row


@row("kept-field-taken")
@pytest.mark.parametrize("kind", ["text", "class", "polylines"])
def test_a_field_of_another_type_where_copies_are_kept_is_refused(dataset, segmenter, kind):
    segment(dataset, "blocks", segmenter=segmenter)
    held = {
        "text": "mine",
        "class": fo.Classification(label="mine"),
        "polylines": fo.Polylines(),
    }[kind]
    dataset.set_values("ntt_references", [held] * len(dataset))
    before = dataset.get_field_schema(flat=True)
    with refused("'ntt_references'", "not Detections", "rename_sample_field"):
        add_references.add_references(dataset, "ntt", "blocks", segmenter=segmenter)
    with refused("'ntt_references'", "not Detections"):
        add_references.add_negatives(dataset, "ntt", "blocks", segmenter=segmenter)
    assert dataset.get_field_schema(flat=True) == before
    assert all(found is not None for found in dataset.values("ntt_references"))
    assert dataset.count_label_tags("ntt") == {}
    assert "ntt_references" not in dataset.list_runs()


@row("shared-label-ids")
def test_labels_of_a_cloned_field_are_other_labels(dataset, segmenter):
    dataset.clone_sample_field("ground_truth", "second")
    built = banks.build_memory_bank(dataset, "second", "second", segmenter=segmenter)
    sources = [entry.provenance for label in built.classes for entry in built.references(label)]
    assert all(source.field == "second" for source in find_sources(sources))
    assert banks.load_references_view(dataset, "second").count("ground_truth.detections") == 0
    change = update_memory_bank(dataset, "ground_truth", "second", segmenter=segmenter)
    assert (sum(change.added.values()), change.already) == (18, 0)


@row("repeated-sample")
def test_a_sample_that_a_view_holds_twice_is_used_once(dataset, segmenter, caplog):
    twice = dataset.limit(4) + dataset.skip(2)
    once = "each is used once"
    assert once in sample_references(twice, "ground_truth", shots=50).notes[0]
    assert dataset.count_label_tags("ground_truth") == {"reference": 18}
    built = banks.build_memory_bank(twice, "ground_truth", "twice", segmenter=segmenter)
    assert len(built) == 18 and once in built.notes[0] and once in caplog.text
    change = update_memory_bank(twice, "ground_truth", "blocks", segmenter=segmenter)
    held = banks.load_memory_bank(dataset, "blocks")
    assert len(held) + len(change.refused) == 18
    report = segment(twice, "blocks", segmenter=segmenter)
    assert (report.segmented, report.failed) == (6, []) and once in report.notes[0].reason
    assert once in load_segment_report(dataset, "ntt").notes[0].reason
    report = masks_from_boxes(twice, "ground_truth", "filled", segmenter=segmenter)
    assert report.segmented == 6 and once in report.notes[0].reason
    found = compare_segmentations(twice, "ntt", "ground_truth")
    assert found.overall.second == 18 and once in found.left_out.notes[0]
    found = suggest_references(twice, "blocks", segmenter=segmenter, cache=False)
    assert found.images == 6 and once in found.notes[0].reason


@row("never-segmented")
def test_images_that_were_never_segmented_are_left_out_of_scores(dataset, segmenter, caplog):
    segment(dataset.limit(4), "blocks", segmenter=segmenter)
    last = dataset.last()
    results = evaluate(dataset, "ntt", "ground_truth", "check")
    assert results.config.left_out["sample_kinds"] == {"not_segmented": 2}
    assert last.filepath in caplog.text and last.reload() is None and last["check_fn"] is None
    found = compare_segmentations(dataset, "ntt", "ground_truth")
    assert (
        found.left_out.samples[last.id].kind == "not_segmented" and found.overall.only_second == 0
    )
    evaluate(dataset, "ntt", "ground_truth", "check", include_missing=True)
    last.reload()
    assert last["check_fn"] == 3
    with refused("None of the 2 images", "'ntt' was never written"):
        evaluate(dataset.skip(4), "ntt", "ground_truth", "none")
    assert dataset.list_evaluations() == ["check"]


@row("wrong-slice")
def test_a_slice_without_ground_truth_is_refused_and_the_right_one_named(dataset):
    grouped = fo.Dataset()
    grouped.add_group_field("group", default="left")
    try:
        for sample in dataset:
            group = fo.Group()
            right = fo.Sample(filepath=sample.filepath, group=group.element("right"))
            right["truth"], right["found"] = sample.ground_truth, sample.ground_truth.copy()
            for label in right["found"].detections:
                label.confidence = 0.9
            left = fo.Sample(filepath=sample.filepath, group=group.element("left"))
            grouped.add_samples([left, right], progress=False)
        with refused("'right' has them", "group_slices"):
            evaluate(grouped, "found", "truth", "check")
        with refused("'right' has them", "group_slices"):
            compare_segmentations(grouped, "found", "truth")
        results = evaluate(grouped, "found", "truth", "check", group_slices=["left", "right"])
        assert results.config.left_out["sample_kinds"] == {"not_labelled": 6}
    finally:
        grouped.delete()


@row("no-true-labels")
@pytest.mark.parametrize("truth", ["empty", "None", "crowds", "another class"])
def test_ground_truth_without_a_label_is_said_of_the_scores(dataset, segmenter, caplog, truth):
    """COCO's figures of it are -1, which looks like a score."""
    segment(dataset, "blocks", label_field="ntt", segmenter=segmenter)
    dataset.clone_sample_field("ground_truth", "truth")
    for sample in dataset:
        for label in sample.truth.detections:
            label["iscrowd"] = 1
        if truth != "crowds":
            sample["truth"] = None if truth == "None" else fo.Detections()
        if truth == "another class" and sample.id == dataset.first().id:
            sample["truth"] = sample.ground_truth.copy()
            sample.truth.detections = [x for x in sample.truth.detections if x.label == "red"]
        sample.save()
    classes = ["blue"] if truth == "another class" else None
    results = evaluate(
        dataset, "ntt", "truth", "check", classes=classes, include_missing=truth == "None"
    )
    assert coco_figures(dataset, "check").segm["AP"] == -1
    (note,) = LeftOut.from_dict(results.config.left_out).notes
    assert "None of the 6 images holds a label in 'truth'" in note and "-1" in note
    assert note in caplog.text


@row("no-true-labels")
def test_ground_truth_with_a_label_needs_no_such_note(dataset, segmenter):
    segment(dataset, "blocks", label_field="ntt", segmenter=segmenter)
    results = evaluate(dataset, "ntt", "ground_truth", "check")
    assert LeftOut.from_dict(results.config.left_out).notes == []
