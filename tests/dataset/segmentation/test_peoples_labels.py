"""What people tagged, edited, judged or drew stays in its field through every run."""

from datetime import datetime, timezone

import fiftyone as fo
import numpy as np
import pytest
from bson import ObjectId

from ntt_plugin.dataset.banks.banks import build_memory_bank
from ntt_plugin.dataset.database.locks import RunLock
from ntt_plugin.dataset.database.run_record import read_facts
from ntt_plugin.dataset.labels import clear_field, label_field
from ntt_plugin.dataset.labels.placed_masks import full_mask
from ntt_plugin.dataset.review.queue import review_queue
from ntt_plugin.dataset.review.steps import review_labels
from ntt_plugin.dataset.samples.sample_ids import ids_of
from ntt_plugin.dataset.segmentation import field_run
from ntt_plugin.dataset.segmentation.masks_from_boxes import masks_from_boxes
from ntt_plugin.dataset.segmentation.segment import segment
from ntt_plugin.errors import DatasetError
from ntt_plugin.worker.labels.made_labels import read_made, read_made_tags
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
    review_labels(others, "ntt", reject=[label.id], again=True)
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


def test_everything_takes_samples_that_hold_only_what_people_made(touched, segmenter):
    dataset, ids = touched
    segment(dataset, "few", "ntt", overwrite=True, segmenter=segmenter)
    clear_all = {"$set": {"ntt.kept": True}, "$unset": {"ntt.writer": "", "ntt.run": ""}}
    dataset._sample_collection.update_many({}, clear_all)
    report = segment(dataset, "few", "ntt", overwrite="everything", segmenter=segmenter)
    assert report.kept == 0 and report.dropped >= 7
    assert not set(ids) & set(stored(dataset))


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


def test_tags_of_boxes_that_changed_since_make_no_mask_a_persons(dataset, segmenter):
    dataset.tag_labels("reference", "ground_truth")
    masks_from_boxes(dataset, "ground_truth", "masks", segmenter=segmenter)
    dataset.untag_labels("reference", "ground_truth")
    report = masks_from_boxes(dataset, "ground_truth", "masks", overwrite=True, segmenter=segmenter)
    assert (report.kept, report.instances) == (0, 18)


def test_a_tag_given_to_a_box_and_to_its_mask_is_a_persons(dataset, segmenter):
    masks_from_boxes(dataset, "ground_truth", "masks", segmenter=segmenter)
    for field in ("ground_truth", "masks"):
        dataset.limit(1).tag_labels("good", field)
    report = masks_from_boxes(dataset, "ground_truth", "masks", overwrite=True, segmenter=segmenter)
    assert report.kept == 3


def test_another_kind_of_run_knows_the_tags_of_boxes_too(others, segmenter):
    """As versions wrote them that did not keep the tags."""
    others.tag_labels("reference", "ground_truth")
    masks_from_boxes(others, "ground_truth", "masks", segmenter=segmenter)
    others._sample_collection.update_many({}, {"$unset": {"masks.made_tags": ""}})
    report = segment(others, "blocks", "masks", overwrite=True, segmenter=segmenter)
    assert (report.kept, report.overlapping) == (0, 0)


def test_a_run_that_was_killed_before_it_took_away_leaves_the_tags_of_boxes_known(
    others, segmenter, monkeypatch
):
    """As versions wrote them that did not keep the tags."""
    others.tag_labels("reference", "ground_truth")
    masks_from_boxes(others, "ground_truth", "masks", segmenter=segmenter)
    others._sample_collection.update_many({}, {"$unset": {"masks.made_tags": ""}})
    with pytest.raises(KeyboardInterrupt), monkeypatch.context() as patch:
        patch.setattr(field_run, "_clear", stopped)
        segment(others, "blocks", "masks", overwrite=True, segmenter=segmenter)
    with pytest.raises(DatasetError) as refused:
        segment(others, "few", "masks", segmenter=segmenter)
    assert "People" not in str(refused.value)
    report = segment(others, "blocks", "masks", overwrite=True, segmenter=segmenter)
    assert (report.kept, report.overlapping) == (0, 0)
    assert "boxes_before" not in read_facts(others, "masks")


def test_the_tags_of_a_label_that_stayed_are_known_after_the_next_run(dataset, segmenter):
    dataset.tag_labels("reference", "ground_truth")
    masks_from_boxes(dataset, "ground_truth", "masks", segmenter=segmenter)
    key = dataset.values("masks.detections.id")[0][0]
    review_labels(dataset, "masks", [key])
    run = {"overwrite": True, "segmenter": segmenter}
    assert masks_from_boxes(dataset, "ground_truth", "masks", **run).kept == 1
    dataset.reload()
    first = dataset.first()
    first["masks"].detections = [one for one in first["masks"].detections if one.id == key]
    first["masks"].detections[0]["review"] = None
    first.save()
    # Nobody says anything of it any more.
    assert masks_from_boxes(dataset, "ground_truth", "masks", **run).kept == 0


def test_the_tags_of_labels_that_are_gone_are_forgotten(dataset, segmenter):
    dataset.tag_labels("reference", "ground_truth")
    masks_from_boxes(dataset, "ground_truth", "masks", segmenter=segmenter)
    keys = dataset.values("masks.detections.id")[0]
    review_labels(dataset, "masks", keys[:1])
    run = {"overwrite": True, "segmenter": segmenter}
    masks_from_boxes(dataset, "ground_truth", "masks", **run)
    held = dataset._sample_collection.find_one({}, sort=[("_id", 1)])["masks"]
    assert set(read_made_tags(held["made_tags"])) == {str(one["_id"]) for one in held["detections"]}


def test_masks_whose_folder_is_gone_are_nobodys(others, segmenter, tmp_path):
    segment(others, "blocks", "ntt", segmenter=segmenter, mask_dir=tmp_path / "masks")
    (tmp_path / "masks").rename(tmp_path / "elsewhere")
    report = segment(others, "few", "ntt", overwrite=True, segmenter=segmenter)
    assert (report.kept, report.overlapping) == (0, 0)


def test_a_label_that_stays_bars_by_its_box_where_its_mask_is_gone(others, segmenter, tmp_path):
    segment(others, "blocks", "ntt", segmenter=segmenter, mask_dir=tmp_path / "masks")
    key = others.first()["ntt"].detections[0].id
    review_labels(others, "ntt", [key])
    (tmp_path / "masks").rename(tmp_path / "elsewhere")
    report = segment(others, "blocks", "ntt", overwrite=True, segmenter=segmenter)
    assert (report.kept, report.overlapping) == (1, 1)


def test_a_person_may_clear_a_sample_that_a_run_adds_to(others, segmenter, monkeypatch):
    segment(others, "blocks", "ntt", segmenter=segmenter)
    review_labels(others, "ntt", [others.first()["ntt"].detections[0].id])
    propose = segmenter.propose

    def interrupted(image, progress=None):
        monkeypatch.setattr(segmenter, "propose", propose)
        others._sample_collection.update_one({"_id": first}, {"$set": {"ntt": None}})
        return propose(image)

    first = others.first()._id
    monkeypatch.setattr(segmenter, "propose", interrupted)
    report = segment(others, "few", "ntt", overwrite=True, segmenter=segmenter)
    assert (report.segmented, report.failed) == (6, [])
    assert others._sample_collection.find_one({"_id": first})["ntt"]["run"]


def test_what_is_edited_while_everything_is_taken_away_is_counted_once(
    touched, segmenter, monkeypatch
):
    dataset, ids = touched
    segment(dataset, "few", "ntt", overwrite=True, segmenter=segmenter)
    key = {"ntt.detections._id": ObjectId(ids[0])}
    dataset._sample_collection.update_one(
        key, {"$set": {"ntt.kept": True}, "$unset": {"ntt.writer": "", "ntt.run": ""}}
    )
    plan, asked = clear_field._clearing, []

    def edited(*args):
        found = plan(*args)
        asked.append(found)
        if len(asked) == 1:
            now = datetime.now(timezone.utc)
            dataset._sample_collection.update_one(key, {"$set": {"last_modified_at": now}})
        return found

    monkeypatch.setattr(clear_field, "_clearing", edited)
    report = segment(dataset, "few", "ntt", overwrite="everything", segmenter=segmenter)
    assert not set(ids) & set(stored(dataset))
    assert report.dropped == sum(count for one, count in {**asked[0][1], **asked[1][1]}.items())


def test_everything_is_not_forgotten_by_a_run_that_was_killed(touched, segmenter, monkeypatch):
    dataset, ids = touched
    taken = RunLock.__enter__

    def after_a_kill(lock):
        lock = taken(lock)
        lock.former = {"intent": intents[0]}
        return lock

    intents = []
    make = RunLock.__init__

    def noted(lock, *args, **options):
        intents.append(options.get("intent"))
        make(lock, *args, **options)

    monkeypatch.setattr(RunLock, "__init__", noted)
    with pytest.raises(KeyboardInterrupt), monkeypatch.context() as patch:
        patch.setattr(field_run.FieldRun, "_begin", stopped)
        segment(dataset, "few", "ntt", overwrite="everything", segmenter=segmenter)
    intents[:] = [intent for intent in intents if intent][:1]
    monkeypatch.setattr(RunLock, "__enter__", after_a_kill)
    segment(dataset, "few", "ntt", segmenter=segmenter)
    assert not set(ids) & set(stored(dataset))


def stopped(*args):
    raise KeyboardInterrupt


def test_a_late_write_of_an_overtaken_run_takes_no_label_of_a_person(
    others, segmenter, monkeypatch
):
    """The overtaken run's labels appear during the run, and a person approves one of them."""
    segment(others, "blocks", "late", segmenter=segmenter)
    late = others._sample_collection.find_one({}, sort=[("_id", 1)])
    late["late"]["detections"][0]["review"] = "approved"
    key = str(late["late"]["detections"][0]["_id"])
    monkeypatch.setattr(RunLock, "overtaken", lambda lock: [late["late"]["writer"]])
    propose = segmenter.propose

    def interrupted(image, progress=None):
        monkeypatch.setattr(segmenter, "propose", propose)
        written = {"$set": {"ntt": late["late"]}}
        others._sample_collection.update_one({"_id": late["_id"]}, written)
        return propose(image)

    monkeypatch.setattr(segmenter, "propose", interrupted)
    report = segment(others, "few", "ntt", segmenter=segmenter)
    assert (report.segmented, report.kept) == (6, 1)
    held = others._sample_collection.find_one({"_id": late["_id"]})["ntt"]
    assert [str(label["_id"]) for label in held["detections"]].count(key) == 1
    assert {label["bank"] for label in held["detections"][1:]} == {"few"}


def test_a_sample_that_is_added_meanwhile_is_left_for_the_next_run(others, segmenter):
    run = dict.fromkeys(others.values("id")[:-1], "a")
    state = label_field.field_state(others, "new", run)
    assert state.to_do == list(run)
    assert label_field.known_to(run, ids_of(others)) == list(run)


def test_what_a_person_says_while_a_run_works_stays(others, segmenter, monkeypatch):
    """Between the clearing and the writing: the label that stays is approved, another one drawn."""
    segment(others, "blocks", "ntt", segmenter=segmenter)
    sample = others.first()
    key = sample["ntt"].detections[0].id
    review_labels(others, "ntt", reject=[key])
    propose = segmenter.propose

    def interrupted(image, progress=None):
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
