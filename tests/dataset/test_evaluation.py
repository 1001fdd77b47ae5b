from __future__ import annotations

import contextlib
import io
import json
import uuid
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ntt_plugin.dataset.evaluation import coco_figures, evaluate
from ntt_plugin.dataset.left_out import LeftOut, LeftOutLabel
from ntt_plugin.errors import DatasetError

CLASSES = ["cat", "dog", "zebra.foal"]


def ellipse(size, centre, radii):
    rows, columns = np.mgrid[: size[0], : size[1]]
    return ((columns - centre[0]) / radii[0]) ** 2 + ((rows - centre[1]) / radii[1]) ** 2 <= 1


def tight(mask):
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    x, y = int(columns[0]), int(rows[0])
    return [x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y]


def random_scene(rng, crowds, tied, fractional, spare_class):
    """One image: size, ground truth and predictions as (class, mask, pixel box, extra)."""
    size = int(rng.integers(110, 170)), int(rng.integers(110, 220))
    truth, found = [], []
    for _ in range(rng.integers(1, 6)):
        label = CLASSES[rng.integers(2)]
        centre = rng.uniform(0, size[1]), rng.uniform(0, size[0])
        radii = rng.uniform(4, 65, 2)
        mask = ellipse(size, centre, radii)
        if mask.sum() < 4:
            continue
        box = tight(mask)
        if fractional:
            # As in COCO's files: within half a pixel of the mask's, with two decimals.
            x, y = (round(edge + rng.uniform(0, 0.49), 2) for edge in box[:2])
            w = round(box[0] + box[2] - rng.uniform(0, 0.49) - x, 2)
            h = round(box[1] + box[3] - rng.uniform(0, 0.49) - y, 2)
            box = [x, y, max(w, 0.6), max(h, 0.6)]
        crowd = int(crowds and rng.random() < 0.3)
        truth.append((label, mask, box, crowd))
        for _ in range(rng.integers(0, 3) + 3 * crowd):
            shift, scale = rng.normal(0, 4, 2), rng.uniform(0.8, 1.15, 2)
            guess = ellipse(size, np.add(centre, shift), np.multiply(radii, scale))
            if guess.any():
                said = label if rng.random() < 0.85 else CLASSES[rng.integers(2 + spare_class)]
                score = float(rng.random())
                found.append((said, guess, tight(guess), round(score, 1) if tied else score))
    return size, truth, found


def make_dataset(scenes, folder):
    dataset = fo.Dataset(f"test_{uuid.uuid4().hex}")
    samples = []
    for index, (size, truth, found) in enumerate(scenes):
        path = folder / f"{index}.png"
        Image.new("L", (size[1], size[0])).save(path)
        sample = fo.Sample(filepath=str(path))
        for field, rows in (("truth", truth), ("found", found)):
            labels = []
            for label, mask, (x, y, w, h), extra in rows:
                cut = mask[round(y) : round(y + h), round(x) : round(x + w)]
                kept = {"iscrowd": extra} if field == "truth" else {"confidence": extra}
                box = [x / size[1], y / size[0], w / size[1], h / size[0]]
                labels.append(fo.Detection(label=label, bounding_box=box, mask=cut, **kept))
            sample[field] = fo.Detections(detections=labels)
        samples.append(sample)
    dataset.add_samples(samples, progress=False)
    return dataset


def by_hand(scenes, folder, kind, classes=CLASSES):
    """The twelve figures by pycocotools, from two JSON files as anyone would write them."""

    def encoded(mask):
        rle = mask_utils.encode(np.asfortranarray(mask.astype(np.uint8)))
        return {"size": rle["size"], "counts": rle["counts"].decode()}

    images, annotations, results = [], [], []
    for index, (size, truth, found) in enumerate(scenes):
        images.append({"id": index + 1, "width": size[1], "height": size[0]})
        for label, mask, box, crowd in truth:
            if label in classes:
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": index + 1,
                        "category_id": CLASSES.index(label) + 1,
                        "bbox": box,
                        "area": int(mask.sum()),
                        "segmentation": encoded(mask),
                        "iscrowd": crowd,
                    }
                )
        for label, mask, box, score in found:
            if label in classes:
                shape = {"bbox": box} if kind == "bbox" else {"segmentation": encoded(mask)}
                place = {"image_id": index + 1, "category_id": CLASSES.index(label) + 1}
                results.append({**place, **shape, "score": score})
    categories = [{"id": CLASSES.index(name) + 1, "name": name} for name in classes]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "truth.json").write_text(json.dumps(content))
    (folder / "found.json").write_text(json.dumps(results))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(folder / "truth.json"))
        evaluation = COCOeval(coco, coco.loadRes(str(folder / "found.json")), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


@pytest.fixture
def make(tmp_path):
    made = []

    def build(count=14, seed=0, crowds=False, tied=False, fractional=False, spare_class=False):
        rng = np.random.default_rng(seed)
        scenes = [random_scene(rng, crowds, tied, fractional, spare_class) for _ in range(count)]
        if fractional:
            # COCO's importer keeps of a mask what is in its box, and so must the comparison.
            scenes = [(size, [within(row) for row in truth], f) for size, truth, f in scenes]
        made.append(make_dataset(scenes, tmp_path))
        return scenes, made[-1]

    yield build
    for dataset in made:
        dataset.delete()


def within(row):
    label, mask, (x, y, w, h), crowd = row
    kept = np.zeros_like(mask)
    inside = np.s_[round(y) : round(y + h), round(x) : round(x + w)]
    kept[inside] = mask[inside]
    return label, kept, [x, y, w, h], crowd


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
    np.testing.assert_allclose(
        list(ours.segm.values()), by_hand(scenes, tmp_path, "segm", ["dog"]), rtol=0, atol=1e-9
    )


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
    expected = by_hand(scenes, tmp_path, "bbox")
    np.testing.assert_allclose(list(ours.bbox.values()), expected, rtol=0, atol=1e-9)


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


def test_samples_not_segmented_yet_count_as_empty(make):
    _, dataset = make(count=4)
    dataset.clear_sample_field("found")
    evaluate(dataset, "found", "truth", "check")
    assert coco_figures(dataset, "check").segm["AR_100"] == 0


def test_a_sample_whose_image_cannot_be_read_is_left_out(make, tmp_path, caplog):
    scenes, dataset = make()
    broken = dataset.skip(3).first()
    Path(broken.filepath).write_bytes(b"no image")
    evaluate(dataset, "found", "truth", "check")
    ours = coco_figures(dataset, "check").segm
    expected = by_hand(scenes[:3] + scenes[4:], tmp_path, "segm")
    np.testing.assert_allclose(list(ours.values()), expected, rtol=0, atol=1e-9)
    assert broken.filepath in caplog.text
    assert dataset[broken.id]["check_tp"] is None


def test_no_readable_image_at_all_is_an_error(make):
    _, dataset = make(count=2)
    for path in dataset.values("filepath"):
        Path(path).unlink()
    with pytest.raises(DatasetError, match="None of the 2 images can be read"):
        evaluate(dataset, "found", "truth", "check")


def spoil(detection, how):
    if how == "no name":
        detection.label = " "
    elif how == "negative side":
        detection.bounding_box[2] = -0.1
    elif how == "finite numbers":
        detection.bounding_box = [0.1, float("nan"), 0.1, 0.1]
    elif how == "no mask":
        detection.mask = None
    elif how == "mask is empty":
        detection.mask = np.zeros((3, 3), dtype=bool)
    else:
        detection.confidence = {"confidence is None": None, "confidence is nan": float("nan")}[how]


OF_ANY = ["no name", "negative side", "finite numbers", "no mask", "mask is empty"]


@pytest.mark.parametrize(
    ("field", "how"),
    [
        *(("truth", how) for how in OF_ANY),
        *(("found", how) for how in [*OF_ANY, "confidence is None", "confidence is nan"]),
    ],
)
def test_a_label_that_cannot_be_scored_is_left_out_of_both_scores(
    make, tmp_path, caplog, field, how
):
    scenes, dataset = make(count=6)
    index, sample = next((i, s) for i, s in enumerate(dataset) if len(s[field].detections) > 1)
    spoilt = sample[field].detections[1]
    spoil(spoilt, how)
    sample.save()

    results = evaluate(dataset, "found", "truth", "check")

    scenes[index][1 if field == "truth" else 2].pop(1)
    figures = coco_figures(dataset, "check")
    for kind, ours in (("bbox", figures.bbox), ("segm", figures.segm)):
        np.testing.assert_allclose(
            list(ours.values()), by_hand(scenes, tmp_path, kind), rtol=0, atol=1e-9
        )
    assert results.mAP() == pytest.approx(figures.segm["AP"], abs=1e-9)
    left_out = LeftOut.from_dict(results.config.left_out)
    (entry,) = left_out.labels
    assert (entry.field, entry.label, entry.sample) == (field, spoilt.id, sample.id)
    assert entry.filepath == sample.filepath and how in entry.reason
    assert spoilt.id in str(left_out) and how in str(left_out) and how in caplog.text


def test_what_was_left_out_is_kept_with_the_evaluation(make):
    _, dataset = make(count=4)
    sample = dataset.first()
    sample.truth.detections[0].mask = None
    sample.save()
    Path(dataset.last().filepath).unlink()
    evaluate(dataset, "found", "truth", "check")
    dataset.reload()
    kept = LeftOut.from_dict(dataset.get_evaluation_info("check").config.left_out)
    assert [entry.sample for entry in kept.labels] == [sample.id]
    assert list(kept.samples) == [dataset.last().id]


def test_nothing_is_left_out_of_sound_labels(make):
    _, dataset = make(count=4)
    results = evaluate(dataset, "found", "truth", "check")
    assert results.config.left_out["label_count"] == results.config.left_out["sample_count"] == 0


def test_very_many_labels_that_are_left_out_are_counted():
    many = LeftOut([LeftOutLabel("f", str(i), "s", "/x.png", "why") for i in range(5000)])
    kept = many.to_dict()
    assert kept["label_count"] == 5000 and len(kept["labels"]) == 1000


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


def test_a_field_of_which_nothing_can_be_scored_is_an_error(make):
    _, dataset = make(count=4)
    for sample in dataset:
        for detection in sample.truth.detections:
            detection.bounding_box = [float("nan")] * 4
        sample.save()
    with pytest.raises(DatasetError, match=r"None of the \d+ labels in 'truth'.*finite numbers"):
        evaluate(dataset, "found", "truth", "check")


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
            expected = by_hand(own, tmp_path, "segm")
            np.testing.assert_allclose(list(ours.values()), expected, rtol=0, atol=1e-9)
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
