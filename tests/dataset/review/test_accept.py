"""Reviewed labels copied into a field of the user's."""

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

from ntt_plugin.dataset.labels.clean import Clean
from ntt_plugin.dataset.labels.placed_masks import full_mask
from ntt_plugin.dataset.review.accept import accept_labels
from ntt_plugin.dataset.review.steps import review_labels
from ntt_plugin.dataset.segmentation.segment import segment
from ntt_plugin.errors import DatasetError
from tests.dataset.scenes import SIZE


def labels_of(dataset, field):
    dataset.reload()
    found = {}
    for sample in dataset.iter_samples():
        sample.reload()
        for label in sample[field].detections if sample[field] else []:
            found[label.id] = label
    return found


def test_approved_labels_are_copied_exactly(reviewed):
    done = accept_labels(reviewed, "ntt", "truth")
    predicted = labels_of(reviewed, "ntt")
    approved = {
        key for key, label in predicted.items() if getattr(label, "review", None) == "approved"
    }
    copies = labels_of(reviewed, "truth")
    assert set(copies) == approved == set(done.label_ids)
    assert sum(done.accepted.values()) == len(approved) == 6
    for key, copy in copies.items():
        assert copy.label == predicted[key].label
        assert copy.confidence == predicted[key].confidence
        assert copy.bounding_box == predicted[key].bounding_box
        assert (copy.mask == predicted[key].mask).all()


def test_copies_have_no_attribute_of_ours(reviewed):
    accept_labels(reviewed, "ntt", "truth")
    plain = set(fo.Detection(label="any", mask=np.ones((2, 2)), confidence=0.5).to_dict())
    stored = reviewed._sample_collection.find_one({"truth": {"$ne": None}})["truth"]
    assert {name for label in stored["detections"] for name in label} <= plain
    assert set(stored) == set(fo.Detections().to_dict())


def test_once_more_only_what_is_new(reviewed):
    accept_labels(reviewed, "ntt", "truth")
    third = reviewed.values("ntt.detections.id")[0][2]
    review_labels(reviewed, "ntt", [third])
    done = accept_labels(reviewed, "ntt", "truth")
    assert (done.label_ids, done.already) == ([third], 6)
    assert len(labels_of(reviewed, "truth")) == 7


def test_an_object_that_is_there_already_is_not_doubled(reviewed):
    """Its label has another id, as after a new run, or is the user's own."""
    done = accept_labels(reviewed, "ntt", "ground_truth")
    assert (done.accepted, done.already) == ({}, 6)
    assert len(labels_of(reviewed, "ground_truth")) == 18


def test_what_the_field_held_stays(reviewed):
    own = fo.Detection(label="mine", bounding_box=[0.9, 0.9, 0.05, 0.05])
    sample = reviewed.first()
    sample["truth"] = fo.Detections(detections=[own])
    sample.save()
    accept_labels(reviewed, "ntt", "truth")
    assert labels_of(reviewed, "truth")[own.id].label == "mine"


def test_all_above_their_thresholds_but_the_rejected(reviewed):
    limits = {"red": 0.0, "green": 1.1 - 0.2}
    done = accept_labels(reviewed, "ntt", "truth", thresholds=limits)
    expected = {
        key
        for key, label in labels_of(reviewed, "ntt").items()
        if getattr(label, "review", None) == "approved"
        or (
            getattr(label, "review", None) is None
            and label.confidence >= limits.get(label.label, 2)
        )
    }
    assert set(done.label_ids) == expected


def test_images_that_still_hold_labels_to_review_are_counted(reviewed):
    ids = reviewed.values("ntt.detections.id")
    left = [len(labels) - 2 for labels in ids]
    words = f"{sum(count > 0 for count in left)} images still hold {sum(left)} labels to review"
    assert sum(left) > 0
    assert words in accept_labels(reviewed, "ntt", "truth").notes[0].reason
    review_labels(reviewed, "ntt", [key for labels in ids for key in labels[2:]])
    assert accept_labels(reviewed, "ntt", "truth").notes == []


def test_what_a_threshold_judged_is_not_to_review(reviewed):
    limits = dict.fromkeys(("red", "green", "blue"), 1.0)
    assert accept_labels(reviewed, "ntt", "truth", thresholds=limits).notes == []


def test_where_nothing_is_approved_it_says_so(dataset, bank, segmenter):
    segment(dataset, "blocks", "fresh", segmenter=segmenter)
    done = accept_labels(dataset, "fresh", "kept")
    ((reason,),) = [[note.reason for note in done.notes]]
    assert "no label of 'fresh' is approved" in reason and not done.label_ids


def test_only_some_classes(reviewed):
    assert set(accept_labels(reviewed, "ntt", "truth", classes="red").accepted) == {"red"}


def test_cleaned_masks_have_tight_boxes(reviewed):
    sample = reviewed.first()
    label = sample["ntt"].detections[0]
    mask = full_mask(label, SIZE)
    speckled = mask.copy()
    speckled[62, 94] = True
    rows, columns = np.nonzero(mask)
    speckled[int(rows.mean()), int(columns.mean())] = False
    changed = fo.Detection.from_mask(speckled, label=label.label)
    label.mask, label.bounding_box = changed.mask, changed.bounding_box
    sample.save()
    accept_labels(reviewed, "ntt", "truth", clean=Clean(specks=3, holes=3))
    copy = labels_of(reviewed, "truth")[label.id]
    assert (full_mask(copy, SIZE) == mask).all()
    assert copy.mask.shape == (np.ptp(rows) + 1, np.ptp(columns) + 1)


def test_masks_in_files_stay_in_files_of_their_own(dataset, bank, segmenter, tmp_path, monkeypatch):
    monkeypatch.setattr(fo.config, "default_dataset_dir", str(tmp_path / "fiftyone"))
    segment(dataset, "blocks", "ntt", segmenter=segmenter, mask_dir=tmp_path / "masks")
    ids = dataset.values("ntt.detections.id", unwind=True)
    review_labels(dataset, "ntt", ids)
    accept_labels(dataset, "ntt", "truth")
    predicted, copies = labels_of(dataset, "ntt"), labels_of(dataset, "truth")
    assert set(copies) == set(ids)
    for key, copy in copies.items():
        assert copy.mask_path != predicted[key].mask_path
        with Image.open(copy.mask_path) as one, Image.open(predicted[key].mask_path) as other:
            assert (np.asarray(one) == np.asarray(other)).all()


def test_a_bad_label_is_named_and_stops_nothing(reviewed):
    sample = reviewed.first()
    label = sample["ntt"].detections[0]
    label.mask = np.zeros_like(label.mask)
    sample.save()
    done = accept_labels(reviewed, "ntt", "truth")
    assert len(done.label_ids) == 5
    (note,) = done.failed
    assert note.sample == sample.id
    assert "mask is empty" in note.reason


@pytest.mark.parametrize(
    ("into", "problem"), [("ntt", "reviewed"), ("other", "Runs write"), ("a b", "cannot be")]
)
def test_a_field_that_runs_write_is_refused(reviewed, segmenter, into, problem):
    segment(reviewed, "blocks", "other", segmenter=segmenter)
    with pytest.raises(DatasetError, match=problem):
        accept_labels(reviewed, "ntt", into)


def test_a_field_of_another_type_is_refused(reviewed):
    with pytest.raises(DatasetError, match="Detections"):
        accept_labels(reviewed, "ntt", "filepath")


def test_two_at_once_copy_each_label_once(reviewed):
    from concurrent.futures import ThreadPoolExecutor

    ids = reviewed.values("ntt.detections.id", unwind=True)
    review_labels(reviewed, "ntt", ids, again=True)
    reviewed.add_sample_field("truth", fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    with ThreadPoolExecutor(3) as pool:
        for result in [pool.submit(accept_labels, reviewed, "ntt", "truth") for _ in range(3)]:
            result.result()
    stored = fo.load_dataset(reviewed.name).values("truth.detections.id", unwind=True)
    assert sorted(stored) == sorted(ids)


@pytest.mark.parametrize("limits", ["red", 5, ["red"]])
def test_thresholds_that_are_none_are_refused(reviewed, limits):
    with pytest.raises(DatasetError, match="thresholds"):
        accept_labels(reviewed, "ntt", "truth", thresholds=limits)


def test_a_threshold_of_no_class_is_noted(reviewed):
    done = accept_labels(reviewed, "ntt", "truth", thresholds={"Red": 0.5})
    assert any("'Red'" in note.reason for note in done.notes)


def test_a_read_only_field_is_not_filled(reviewed):
    field = reviewed.get_field("ground_truth")
    field.read_only = True
    field.save()
    with pytest.raises(DatasetError, match="read-only"):
        accept_labels(reviewed, "ntt", "ground_truth")
