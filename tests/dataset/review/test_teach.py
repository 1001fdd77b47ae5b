"""What a review rejected and approved, taught to a bank."""

from collections import Counter

import pytest
from fiftyone import ViewField as F

from ntt_plugin.dataset.banks.banks import build_memory_bank, load_memory_bank
from ntt_plugin.dataset.review.queue import ReviewItem
from ntt_plugin.dataset.review.steps import review_labels
from ntt_plugin.dataset.review.teach import _spread, teach_review
from ntt_plugin.dataset.segmentation.segment import segment
from ntt_plugin.errors import DatasetError


@pytest.fixture
def predicted(dataset, segmenter):
    """Predictions of a bank of the first image's labels."""
    build_memory_bank(dataset.limit(1), "ground_truth", "few", segmenter=segmenter)
    segment(dataset, "few", "ntt", segmenter=segmenter)
    return dataset


def of_class(dataset, label):
    view = dataset.filter_labels("ntt", F("label") == label)
    return view.values("ntt.detections.id", unwind=True)


def test_rejected_labels_become_negatives_and_approved_ones_references(predicted, segmenter):
    review_labels(predicted, "ntt", of_class(predicted, "blue"), of_class(predicted, "red"))
    teach_review(predicted, "ntt", "few", "negatives", 4, segmenter=segmenter)
    teach_review(predicted, "ntt", "few", "references", 3, segmenter=segmenter)
    bank = load_memory_bank(predicted, "few")
    assert {name: len(bank.negative_references(name)) for name in bank.classes} == {
        "red": 4,
        "green": 0,
        "blue": 0,
    }
    assert {name: bank.shots(name) for name in bank.classes} == {"red": 1, "green": 1, "blue": 4}


def test_once_more_teaches_others_until_the_bank_holds_all(predicted, segmenter):
    wrong = of_class(predicted, "red")
    review_labels(predicted, "ntt", reject=wrong)
    for count in range(2, len(wrong) + 1, 2):
        again = teach_review(predicted, "ntt", "few", "negatives", 2, segmenter=segmenter)
        assert (again.added, again.already) == ({"red": 2}, 0)
        bank = load_memory_bank(predicted, "few")
        assert len(bank.negative_references("red")) == count
    assert count == len(wrong) == 6
    again = teach_review(predicted, "ntt", "few", "negatives", 2, segmenter=segmenter)
    assert (again.added, again.already) == ({}, 2)


def test_a_label_that_is_itself_a_reference_takes_no_place(dataset, segmenter):
    build_memory_bank(dataset.limit(1), "ground_truth", "few", segmenter=segmenter)
    ids = [labels[0] for labels in dataset.values("ground_truth.detections.id")]
    review_labels(dataset, "ground_truth", ids)
    added = teach_review(dataset, "ground_truth", "few", "references", 9, segmenter=segmenter)
    assert (sum(added.added.values()), added.already) == (5, 0)


def item(sample, label, confidence):
    return ReviewItem(sample, f"{sample}{confidence}", label, confidence, None, "rejected", 0.0)


def test_each_image_gives_one_before_any_gives_two():
    items = [item("a", "red", 0.9), item("a", "red", 0.8), item("b", "red", 0.1)]
    items += [item("c", "red", 0.5), item("a", "blue", 0.3)]
    chosen = _spread(items, 3, surest_first=True)
    assert Counter(one.label for one in chosen) == {"red": 3, "blue": 1}
    assert [one.label_id for one in chosen] == ["a0.9", "c0.5", "b0.1", "a0.3"]


def test_nothing_judged_is_nothing_to_teach(predicted, segmenter):
    with pytest.raises(DatasetError, match="is rejected"):
        teach_review(predicted, "ntt", "few", "negatives", segmenter=segmenter)


@pytest.mark.parametrize(("kind", "most"), [("wrong", 3), ("negatives", 0), ("negatives", "x")])
def test_wrong_arguments_are_refused(predicted, kind, most):
    with pytest.raises(DatasetError):
        teach_review(predicted, "ntt", "few", kind, most)
