"""Scores of sound labels, equal to those of pycocotools by hand."""

import fiftyone as fo
import numpy as np
import pytest

from ntt_plugin.dataset.evaluation.evaluate import coco_figures, evaluate
from ntt_plugin.errors import DatasetError
from tests.dataset.coco_scenes import assert_figures, by_hand


@pytest.mark.parametrize(
    "kinds",
    [
        {},
        {"crowds": True},
        {"tied": True},
        {"fractional": True},
        {"spare_class": True},
        {"crowds": True, "tied": True, "fractional": True, "spare_class": True},
    ],
    ids=lambda kinds: "+".join(kinds) or "plain",
)
def test_all_figures_equal_pycocotools_by_hand(make, tmp_path, kinds):
    scenes, dataset = make(**kinds)

    evaluate(dataset, "found", "truth", "check")

    figures = coco_figures(dataset, "check")
    for kind, ours in (("bbox", figures.bbox), ("segm", figures.segm)):
        expected = by_hand(scenes, tmp_path, kind)
        assert 0 < expected[0] < 1
        np.testing.assert_allclose(list(ours.values()), expected, rtol=0, atol=1e-9)


def test_chosen_classes_equal_pycocotools_on_files_with_these_alone(make, tmp_path):
    scenes, dataset = make()
    evaluate(dataset, "found", "truth", "check", classes=["dog"])
    ours = coco_figures(dataset, "check")
    assert ours.classes == ["dog"]
    assert_figures(ours.segm, scenes, tmp_path, "segm", ["dog"])


def test_ap_by_class_is_that_of_each_class_alone(make, tmp_path):
    scenes, dataset = make(spare_class=True)
    evaluate(dataset, "found", "truth", "check")
    ours = coco_figures(dataset, "check")
    for kind, by_class in (("bbox", ours.bbox_ap), ("segm", ours.segm_ap)):
        alone = [by_hand(scenes, tmp_path, kind, [name])[0] for name in ours.classes]
        assert by_class == pytest.approx(alone, abs=1e-9)
    assert ours.bbox_ap[ours.classes.index("zebra.foal")] == -1


def test_fiftyones_map_equals_pycocotools_where_it_can(make):
    _, dataset = make()
    results = evaluate(dataset, "found", "truth", "check")
    assert results.mAP() == pytest.approx(coco_figures(dataset, "check").segm["AP"], abs=1e-9)


def test_fiftyone_marks_true_and_false_positives(make):
    _, dataset = make()
    evaluate(dataset, "found", "truth", "check")
    marks = dataset.count_values("found.detections.check")
    assert set(marks) == {"tp", "fp"}
    assert dataset.list_evaluations() == ["check"]
    assert sum(dataset.values("check_tp")) == marks["tp"]


def test_fractional_boxes_are_marked_by_boxes(make, caplog):
    """FiftyOne's dense masks break on them."""
    _, dataset = make(fractional=True)
    results = evaluate(dataset, "found", "truth", "check")
    assert not results.config.use_masks
    assert "by boxes" in caplog.text
    assert results.mAP() == pytest.approx(coco_figures(dataset, "check").bbox["AP"], abs=0.01)


def test_boxes_alone(make, tmp_path):
    scenes, dataset = make(count=8)
    evaluate(dataset, "found", "truth", "check", masks=False)
    ours = coco_figures(dataset, "check")
    assert ours.segm is None and ours.segm_ap is None
    assert_figures(ours.bbox, scenes, tmp_path, "bbox")


def test_figures_survive_a_reload_and_a_new_name(make):
    _, dataset = make(count=4)
    results = evaluate(dataset, "found", "truth", "check")
    before = coco_figures(dataset, "check")
    assert results.config.coco_figures == before.to_dict()
    dataset.rename_evaluation("check", "renamed")
    dataset.reload()
    assert coco_figures(dataset, "renamed") == before
    assert dataset.load_evaluation_results("renamed").mAP() == results.mAP()


def test_nothing_found_scores_zero(make):
    _, dataset = make(count=4)
    dataset.set_values("found", [fo.Detections() for _ in dataset])
    evaluate(dataset, "found", "truth", "check")
    figures = coco_figures(dataset, "check")
    assert figures.bbox["AP"] == figures.segm["AP"] == 0


def test_samples_not_segmented_yet_count_as_empty_if_asked_for(make):
    _, dataset = make(count=4)
    dataset.clear_sample_field("found")
    evaluate(dataset, "found", "truth", "check", include_missing=True)
    assert coco_figures(dataset, "check").segm["AR_100"] == 0


def test_labels_without_confidence_are_no_predictions(make):
    _, dataset = make(count=4)
    with pytest.raises(DatasetError, match=r"No label in 'truth' has a confidence.*predictions"):
        evaluate(dataset, "truth", "truth", "check")
    assert dataset.list_evaluations() == []


@pytest.mark.parametrize("field", ["truth", "found"])
def test_a_field_without_masks_is_told_what_to_do(make, field):
    _, dataset = make(count=4)
    for sample in dataset:
        for detection in sample[field].detections:
            detection.mask = None
        sample.save()
    with pytest.raises(DatasetError, match=rf"'{field}' has a mask.*masks=False.*masks_from_boxes"):
        evaluate(dataset, "found", "truth", "check")
    evaluate(dataset, "found", "truth", "check", masks=False)
    assert coco_figures(dataset, "check").bbox["AP"] > 0


def test_polylines_are_refused_with_a_remedy(make):
    _, dataset = make(count=2)
    dataset.add_sample_field("drawn", fo.EmbeddedDocumentField, embedded_doc_type=fo.Polylines)
    with pytest.raises(DatasetError, match=r"'drawn' holds Polylines.*to_detection"):
        evaluate(dataset, "found", "drawn", "check")


def test_the_slices_of_a_grouped_dataset_are_scored(make, tmp_path):
    scenes, dataset = make(count=8)
    grouped = fo.Dataset(f"{dataset.name}_grouped")
    try:
        grouped.add_group_field("group", default="left")
        copies = []
        for index, sample in enumerate(dataset):
            group = fo.Group().element(["left", "right"][index % 2])
            labels = {name: sample[name].copy() for name in ("truth", "found")}
            copies.append(fo.Sample(filepath=sample.filepath, group=group, **labels))
        grouped.add_samples(copies, progress=False)
        for slices, own in ((None, scenes[::2]), ("right", scenes[1::2])):
            evaluate(grouped, "found", "truth", "check", group_slices=slices)
            ours = coco_figures(grouped, "check").segm
            assert_figures(ours, own, tmp_path, "segm")
    finally:
        grouped.delete()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("found", "nothing", "check"), "no field 'nothing'"),
        (("found", "truth", "two words"), "letters, digits"),
    ],
)
def test_bad_names_are_told(make, arguments, said):
    _, dataset = make(count=2)
    with pytest.raises(DatasetError, match=said):
        evaluate(dataset, *arguments)


def test_an_evaluation_of_someone_else_has_no_figures(make):
    _, dataset = make(count=2)
    dataset.evaluate_detections("found", gt_field="truth", eval_key="other", progress=False)
    with pytest.raises(DatasetError, match="holds no figures"):
        coco_figures(dataset, "other")
    with pytest.raises(DatasetError, match="it has 'other'"):
        coco_figures(dataset, "nope")


def test_the_panels_summary_has_pycocotools_figures(make, tmp_path):
    scenes, dataset = make()
    evaluate(dataset, "found", "truth", "check")
    kept = dataset.load_evaluation_results("check", cache=False).custom_metrics
    shown = {entry["label"]: entry["value"] for entry in kept.values()}
    for kind, words in (("segm", "Masks"), ("bbox", "Boxes")):
        ap, ap50, ap75 = by_hand(scenes, tmp_path, kind)[:3]
        assert shown[f"{words}, AP (pycocotools)"] == pytest.approx(ap)
        assert shown[f"{words}, AP at IoU 0.50 (pycocotools)"] == pytest.approx(ap50)
        assert shown[f"{words}, AP at IoU 0.75 (pycocotools)"] == pytest.approx(ap75)
    assert len(shown) == 6
    # The App takes a dot in a key for a step into what is there.
    assert not any("." in key or entry["lower_is_better"] for key, entry in kept.items())


def test_the_panels_summary_leaves_out_what_was_not_scored(make):
    _, dataset = make(count=4)
    results = evaluate(dataset, "found", "truth", "check", masks=False)
    assert all("Boxes" in entry["label"] for entry in results.custom_metrics.values())
