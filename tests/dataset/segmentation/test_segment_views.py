"""Every kind of view that FiftyOne can iterate: its samples are labelled, and only its own."""

import uuid

import fiftyone as fo
import pytest
from fiftyone import ViewField as F

from ntt_plugin.dataset.segmentation.segment import segment
from ntt_plugin.errors import DatasetError
from tests.dataset import scenes

HIDING = {
    "with other fields": lambda dataset: dataset.select_fields("ground_truth"),
    "with no field": lambda dataset: dataset.select_fields(),
    "without the field": lambda dataset: (
        dataset.exclude_fields("ntt") if dataset.has_field("ntt") else dataset
    ),
}


@pytest.mark.parametrize("hiding", HIDING.values(), ids=HIDING)
def test_a_view_that_hides_the_field_is_gone_on_with(dataset, segmenter, two_banks, hiding):
    done = dataset.values("id")[1:3]
    segment(dataset.select(done), "blocks", segmenter=segmenter)
    view = hiding(dataset).sort_by("filepath", reverse=True)
    report = segment(view, "blocks", segmenter=segmenter)
    assert (report.segmented, report.skipped_ids) == (4, done[::-1])


@pytest.mark.parametrize("hiding", HIDING.values(), ids=HIDING)
def test_a_view_that_hides_the_field_protects_it_and_may_overwrite(
    dataset, segmenter, two_banks, hiding
):
    segment(hiding(dataset), "blocks", segmenter=segmenter)
    with pytest.raises(DatasetError, match=r"6 of 6 samples hold labels.*overwrite=True"):
        segment(hiding(dataset), "others", segmenter=segmenter)
    segment(hiding(dataset), "others", overwrite=True, segmenter=segmenter)
    assert dataset.distinct("ntt.detections.bank") == ["others"]


OF_THE_FIELD = {
    "that hold it": lambda dataset: dataset.exists("ntt"),
    "with a label of it": lambda dataset: dataset.match(F("ntt.detections").length() > 0),
    "with labels of it": lambda dataset: dataset.filter_labels("ntt", F("confidence") > 0),
}


@pytest.mark.parametrize("view", OF_THE_FIELD.values(), ids=OF_THE_FIELD)
def test_samples_that_were_chosen_by_what_is_replaced_are_all_done(
    dataset, segmenter, two_banks, view
):
    done = dataset.values("id")[1:4]
    segment(dataset.select(done), "blocks", segmenter=segmenter)
    report = segment(view(dataset), "others", overwrite=True, segmenter=segmenter)
    assert report.segmented_ids == done
    assert dataset.exists("ntt").values("id") == done
    assert dataset.distinct("ntt.detections.bank") == ["others"]


@pytest.fixture
def grouped(dataset):
    """Three groups of a left and a right image each, made of the six images."""
    paths = dataset.values("filepath")
    name = f"test_{uuid.uuid4().hex}"
    groups = fo.Dataset(name)
    groups.add_group_field("group", default="left")
    for index in range(3):
        group = fo.Group()
        groups.add_samples(
            [
                fo.Sample(filepath=paths[2 * index + number], group=group.element(side))
                for number, side in enumerate(("left", "right"))
            ],
            progress=False,
        )
    yield groups
    groups.delete()


VIEWS = {
    "limited": lambda dataset: dataset.limit(3),
    "skipped": lambda dataset: dataset.skip(2),
    "sorted": lambda dataset: dataset.sort_by("filepath", reverse=True).limit(4),
    "shuffled": lambda dataset: dataset.shuffle(seed=1).limit(4),
    "taken": lambda dataset: dataset.take(3, seed=2),
    "matched": lambda dataset: dataset.match(F("filepath").ends_with("3.png")),
    "selected": lambda dataset: dataset.select(dataset.values("id")[1:4]),
    "excluded": lambda dataset: dataset.exclude(dataset.values("id")[1:4]),
    "with some fields": lambda dataset: dataset.select_fields("tags").limit(3),
    "without some fields": lambda dataset: dataset.exclude_fields("ground_truth").limit(3),
    "with some labels": lambda dataset: dataset.filter_labels(
        "ground_truth", F("label") == "red"
    ).limit(3),
    "that changes as it is labelled": lambda dataset: (
        dataset.match(~F("ntt").exists()) if dataset.has_field("ntt") else dataset
    ).limit(3),
    "by rows": lambda dataset: dataset[1:5],
}


@pytest.mark.parametrize("kind", VIEWS)
def test_a_views_samples_are_labelled_and_no_others(dataset, segmenter, bank, kind):
    view = VIEWS[kind](dataset)
    ids = view.values("id")

    report = segment(view, bank, segmenter=segmenter)

    assert (report.segmented, report.segmented_ids) == (len(ids), ids)
    assert set(dataset.exists("ntt").values("id")) == set(ids)
    assert dataset.count("ground_truth.detections") == 18


def test_a_saved_view_works_like_what_it_was_made_of(dataset, segmenter, bank):
    dataset.save_view("some", dataset.limit(2))
    assert segment(dataset.load_saved_view("some"), bank, segmenter=segmenter).segmented == 2


def test_a_view_that_hides_our_own_labels_takes_none_away(dataset, segmenter, bank):
    segment(dataset, bank, segmenter=segmenter)
    view = dataset.filter_labels("ntt", F("label") == "red", only_matches=False)
    assert segment(view, bank, segmenter=segmenter).skipped == 6
    assert dataset.count("ntt.detections") == 18


def test_of_groups_the_active_slice_is_labelled(grouped, segmenter, bank):
    report = segment(grouped, bank, segmenter=segmenter)
    assert report.segmented == 3
    assert grouped.select_group_slices("left").count("ntt") == 3
    assert grouped.select_group_slices("right").count("ntt") == 0


@pytest.mark.parametrize("slices", ["right", ["right"], ["left", "right"]])
def test_of_groups_the_named_slices_are_labelled(grouped, segmenter, bank, slices):
    report = segment(grouped, bank, group_slices=slices, segmenter=segmenter)
    flat = grouped.select_group_slices(slices)
    assert (report.segmented, flat.count("ntt")) == (len(flat), len(flat))
    assert segment(grouped, bank, group_slices=slices, segmenter=segmenter).skipped == len(flat)


def test_overwriting_one_slice_leaves_the_other(grouped, segmenter, bank):
    segment(grouped, bank, group_slices=["left", "right"], segmenter=segmenter)
    right = grouped.select_group_slices("right")
    before = right.values("ntt.detections.id")
    segment(grouped, bank, overwrite=True, group_slices="left", segmenter=segmenter)
    assert right.values("ntt.detections.id") == before
    assert grouped.select_group_slices("left").count("ntt") == 3


def test_patches_and_an_empty_view_are_refused(dataset, segmenter, bank):
    with pytest.raises(DatasetError, match="patches"):
        segment(dataset.to_patches("ground_truth"), bank, segmenter=segmenter)
    with pytest.raises(DatasetError, match="no sample"):
        segment(dataset.match(F("tags").contains("none")), bank, segmenter=segmenter)


def test_a_bank_of_another_dataset_is_taken_by_its_name(dataset, segmenter, bank, tmp_path):
    (tmp_path / "other").mkdir()
    other = scenes.make_dataset(f"test_{uuid.uuid4().hex}", tmp_path / "other", count=2)
    try:
        report = segment(other, "blocks", bank_dataset=dataset.name, segmenter=segmenter)
        (first, *_) = other.first().ntt.detections
        assert (report.segmented, report.bank) == (2, "blocks")
        assert first.reference_dataset == dataset.name
        assert first.reference_sample in dataset.values("id")
        assert (first.bank_version, first.preset) == (bank.version, "tiny")
    finally:
        other.delete()


def test_a_bank_is_taken_from_its_file(dataset, segmenter, bank, tmp_path):
    bank.save(tmp_path / "of_blocks.safetensors")
    report = segment(dataset, tmp_path / "of_blocks.safetensors", segmenter=segmenter)
    assert (report.bank, report.instances) == ("of_blocks", 18)


def test_a_field_that_a_person_put_in_the_place_of_ours_is_not_touched(dataset, segmenter, bank):
    segment(dataset, bank, segmenter=segmenter)
    dataset.delete_sample_field("ntt")
    dataset.add_sample_field("ntt", fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    with pytest.raises(DatasetError, match="not made by a segmentation"):
        segment(dataset, bank, overwrite=True, segmenter=segmenter)


def test_our_field_stays_ours_under_another_name(dataset, segmenter, bank):
    segment(dataset.limit(2), bank, segmenter=segmenter)
    dataset.rename_sample_field("ntt", "renamed")
    report = segment(dataset, bank, "renamed", segmenter=segmenter)
    assert (report.skipped, report.segmented) == (2, 4)
