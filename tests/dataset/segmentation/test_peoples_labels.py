"""What people tagged, edited, judged or drew stays in its field through every run."""

import fiftyone as fo
import numpy as np
import pytest

from ntt_plugin.dataset.banks.banks import build_memory_bank
from ntt_plugin.dataset.labels.placed_masks import full_mask
from ntt_plugin.dataset.review.queue import review_queue
from ntt_plugin.dataset.review.steps import review_labels
from ntt_plugin.dataset.segmentation.masks_from_boxes import masks_from_boxes
from ntt_plugin.dataset.segmentation.segment import segment
from ntt_plugin.errors import DatasetError
from ntt_plugin.worker.labels.made_labels import read_made
from tests.dataset import scenes


@pytest.fixture
def others(dataset, segmenter):
    """The banks ``blocks`` of three images and ``few`` of one."""
    build_memory_bank(dataset.limit(3), "ground_truth", "blocks", segmenter=segmenter)
    build_memory_bank(dataset.limit(1), "ground_truth", "few", segmenter=segmenter)
    return dataset


@pytest.fixture
def touched(others, segmenter):
    """Predictions in ``ntt``, and of each kind of change by a person one label's id, in order:
    approved, rejected, renamed by a review, tagged, its class, its box and mask edited, drawn."""
    segment(others, "blocks", "ntt", segmenter=segmenter)
    ids = [labels[0] for labels in others.values("ntt.detections.id")]
    review_labels(others, "ntt", [ids[0]], [ids[1]], {ids[2]: "pink"})
    others.select_labels(ids=[ids[3]], fields="ntt").tag_labels("mine", "ntt")
    samples = list(others)
    samples[4]["ntt"].detections[0].label = "violet"
    edited = samples[5]["ntt"].detections[0]
    mask = full_mask(edited, scenes.SIZE)
    rows = np.nonzero(mask)[0]
    mask[rows.max()] = False
    again = fo.Detection.from_mask(mask)
    edited.mask, edited.bounding_box = again.mask, again.bounding_box
    drawn = np.zeros(scenes.SIZE, bool)
    drawn[58:63, 2:90] = True
    own = fo.Detection.from_mask(drawn, label="line")
    samples[5]["ntt"].detections.append(own)
    for sample in samples[4:]:
        sample.save()
    return others, [*ids, own.id]


def stored(dataset, field="ntt"):
    """What the database has of each label, by its id."""
    return {
        str(label["_id"]): label
        for sample in dataset._sample_collection.find({field: {"$ne": None}})
        for label in sample[field]["detections"]
    }


def masks_of(dataset, field="ntt"):
    dataset.reload()
    return [
        [(label.id, full_mask(label, scenes.SIZE)) for label in sample[field].detections]
        for sample in fo.load_dataset(dataset.name).view()
    ]


@pytest.mark.parametrize("bank", ["few", "blocks"])
def test_every_kind_of_change_stays_as_it_is(touched, segmenter, bank):
    dataset, ids = touched
    before = stored(dataset)
    report = segment(dataset, bank, "ntt", overwrite=True, segmenter=segmenter)
    after = stored(dataset)
    assert {key: after.get(key) for key in ids} == {key: before[key] for key in ids}
    assert (report.kept, report.dropped) == (7, 0)
    assert set(after) & set(before) == set(ids)


def test_new_labels_that_overlap_are_left_out_and_the_others_written(touched, segmenter):
    dataset, ids = touched
    report = segment(dataset, "few", "ntt", overwrite=True, segmenter=segmenter)
    segment(dataset, "few", "plain", segmenter=segmenter)
    left_out = 0
    for labels, plain in zip(masks_of(dataset), masks_of(dataset, "plain"), strict=True):
        kept = [mask for key, mask in labels if key in ids]
        new = [mask for key, mask in labels if key not in ids]
        free = [
            mask
            for _, mask in plain
            if not any((mask & one).sum() / (mask | one).sum() >= 0.5 for one in kept)
        ]
        left_out += len(plain) - len(free)
        assert len(new) == len(free)
        assert all((one == other).all() for one, other in zip(new, free, strict=True))
    assert report.overlapping == left_out == 6


def test_a_rejected_label_bars_its_own_class_only(others, segmenter):
    segment(others, "blocks", "ntt", segmenter=segmenter)
    sample = others.first()
    label = sample["ntt"].detections[0]
    label.label = "something else"
    sample.save()
    review_labels(others, "ntt", reject=[label.id])
    report = segment(others, "blocks", "ntt", overwrite=True, segmenter=segmenter)
    assert (report.kept, report.overlapping) == (1, 0)
    assert len(others.first()["ntt"].detections) == 4


def test_it_stays_through_many_runs(touched, segmenter):
    dataset, ids = touched
    before = stored(dataset)
    for bank in ("few", "blocks", "few"):
        segment(dataset, bank, "ntt", overwrite=True, segmenter=segmenter)
    after = stored(dataset)
    assert {key: after.get(key) for key in ids} == {key: before[key] for key in ids}
    again = segment(dataset, "few", "ntt", segmenter=segmenter)
    assert (again.skipped, again.segmented) == (6, 0)


def test_a_label_that_was_only_tagged_is_not_edited_by_later_runs(touched, segmenter):
    dataset, ids = touched
    approved = {ids[place] for place in (0, 2, 4, 5, 6)}

    def queue(state):
        return {item.label_id for item in review_queue(dataset, "ntt", state=state).items}

    for bank in ("few", "blocks"):
        segment(dataset, bank, "ntt", overwrite=True, segmenter=segmenter)
        assert queue("approved") == approved
        assert queue("rejected") == {ids[1]}
    dataset.untag_labels("mine", "ntt")
    report = segment(dataset, "few", "ntt", overwrite=True, segmenter=segmenter)
    assert (report.kept, ids[3] in stored(dataset)) == (6, False)


def test_what_runs_made_of_labels_that_are_gone_is_forgotten(touched, segmenter):
    dataset, ids = touched
    for bank in ("few", "blocks"):
        segment(dataset, bank, "ntt", overwrite=True, segmenter=segmenter)
    for sample in dataset._sample_collection.find():
        held = {str(label["_id"]) for label in sample["ntt"]["detections"]}
        assert set(read_made(sample["ntt"]["made"])) == held - {ids[6]}


def test_everything_goes_only_by_its_name_and_is_counted(touched, segmenter):
    dataset, ids = touched
    report = segment(dataset, "few", "ntt", overwrite="everything", segmenter=segmenter)
    assert (report.kept, report.dropped) == (0, 7)
    assert not set(ids) & set(stored(dataset))
    with pytest.raises(DatasetError, match="everything"):
        segment(dataset, "few", "ntt", overwrite="all", segmenter=segmenter)


def test_the_refusal_says_which_bank_and_how_many_labels_people_changed(touched, segmenter):
    dataset, _ = touched
    with pytest.raises(DatasetError, match=r"'blocks' made\. People made or changed 7"):
        segment(dataset, "few", "ntt", segmenter=segmenter)


def test_the_tags_of_tools_are_nobodys(others, segmenter):
    segment(others, "blocks", "ntt", segmenter=segmenter)
    others.tag_labels("below_threshold", "ntt")
    report = segment(others, "few", "ntt", overwrite=True, segmenter=segmenter)
    assert (report.kept, report.overlapping) == (0, 0)


def test_masks_from_boxes_keep_them_too_and_know_the_tags_of_their_boxes(dataset, segmenter):
    dataset.tag_labels("reference", "ground_truth")
    masks_from_boxes(dataset, "ground_truth", "masks", segmenter=segmenter)
    key = dataset.values("masks.detections.id")[0][0]
    review_labels(dataset, "masks", [key])
    before = stored(dataset, "masks")[key]
    report = masks_from_boxes(dataset, "ground_truth", "masks", overwrite=True, segmenter=segmenter)
    assert (report.kept, report.overlapping, report.instances) == (1, 1, 17)
    assert stored(dataset, "masks")[key] == before


def test_what_a_person_says_while_a_run_works_stays(others, segmenter, monkeypatch):
    """Between the clearing and the writing: the label that stays is approved, another one drawn."""
    segment(others, "blocks", "ntt", segmenter=segmenter)
    sample = others.first()
    key = sample["ntt"].detections[0].id
    review_labels(others, "ntt", reject=[key])
    propose = segmenter.propose

    def interrupted(image):
        monkeypatch.setattr(segmenter, "propose", propose)
        review_labels(others, "ntt", [key], again=True)
        return propose(image)

    monkeypatch.setattr(segmenter, "propose", interrupted)
    segment(others, "few", "ntt", overwrite=True, segmenter=segmenter)
    assert stored(others)[key]["review"] == "approved"


def test_a_run_that_was_stopped_goes_on_and_keeps_them(touched, segmenter):
    dataset, ids = touched
    before = stored(dataset)

    def stop(bar):
        if bar.iteration > 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        segment(dataset, "few", "ntt", overwrite=True, segmenter=segmenter, progress=stop)
    report = segment(dataset, "few", "ntt", segmenter=segmenter)
    after = stored(dataset)
    assert {key: after.get(key) for key in ids} == {key: before[key] for key in ids}
    assert report.skipped + report.segmented == 6
    segment(dataset, "few", "plain", segmenter=segmenter)
    assert len(after) == len(stored(dataset, "plain")) + 7 - 6


def test_five_hundred_reviewed_labels_are_there_after_every_kind_of_overwrite(tmp_path, segmenter):
    dataset = scenes.make_dataset("test_five_hundred", tmp_path, count=170)
    try:
        some = dataset.limit(3)
        build_memory_bank(some, "ground_truth", "one", segmenter=segmenter)
        build_memory_bank(dataset.limit(2), "ground_truth", "two", segmenter=segmenter)
        segment(dataset, "one", "ntt", segmenter=segmenter)
        ids = dataset.values("ntt.detections.id", unwind=True)[:500]
        review_labels(dataset, "ntt", ids[::2], ids[1::2])
        before = stored(dataset)
        for bank in ("one", "two"):
            for view in (dataset, dataset.skip(50), dataset.match_tags("none")):
                if len(view):
                    segment(view, bank, "ntt", overwrite=True, segmenter=segmenter)
        after = stored(dataset)
        assert len(ids) == 500
        assert {key: after.get(key) for key in ids} == {key: before[key] for key in ids}
    finally:
        dataset.delete()
