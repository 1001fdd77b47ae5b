"""Labels of a field as proposals: what is found, kept, done again and left out."""

import sys

import fiftyone as fo
import numpy as np
import pytest
from bson import ObjectId
from fiftyone import ViewField as F

import ntt_plugin as ntt
from ntt_plugin.dataset.labels.placed_masks import full_mask
from ntt_plugin.dataset.segmentation.segment import segment
from ntt_plugin.engine import Recipe, Segmenter
from ntt_plugin.engine.masks.packed import pack_mask
from ntt_plugin.engine.proposals.candidates import Candidate
from ntt_plugin.engine.proposals.store import ProposalStore
from ntt_plugin.errors import DatasetError
from ntt_plugin.worker.labels.given_candidates import (
    candidate_entry,
    candidates_content,
    given_candidates,
)
from ntt_plugin.worker.messages import Item
from tests.dataset import scenes

HEIGHT, WIDTH = scenes.SIZE


def box_of(x1, y1, x2, y2):
    return [x1 / WIDTH, y1 / HEIGHT, (x2 - x1) / WIDTH, (y2 - y1) / HEIGHT]


@pytest.fixture(autouse=True)
def candidates(dataset, bank):
    """The boxes of the red and green blocks, called ``thing``, of confidences 0.9 and 0.6."""
    for index, sample in enumerate(dataset.iter_samples(autosave=True)):
        sample["candidates"] = fo.Detections(
            detections=[
                fo.Detection(
                    label="thing",
                    bounding_box=box_of(*scenes.blocks(index)[name]),
                    confidence=confidence,
                )
                for name, confidence in (("red", 0.9), ("green", 0.6))
            ]
        )


def labels(dataset, field="ntt"):
    """The labels of each sample by class."""
    dataset.reload()
    return [{one.label: one for one in sample[field].detections} for sample in dataset]


def ids(dataset, number):
    return [sample.candidates.detections[number].id for sample in dataset]


def test_a_sample_that_is_added_meanwhile_is_left_to_the_next_run(dataset, segmenter, monkeypatch):
    options = {"segmenter": segmenter, "proposals": "candidates"}
    segment(dataset.limit(2), "blocks", **options)
    module = sys.modules["ntt_plugin.dataset.segmentation.segment"]
    make, added = module.run_ids, dataset.last().id

    def before_it_came(*args):
        return {key: run for key, run in make(*args).items() if key != added}

    monkeypatch.setattr(module, "run_ids", before_it_came)
    report = segment(dataset, "blocks", overwrite=True, **options)
    assert (report.segmented, report.failed, dataset.last().ntt) == (5, [], None)


def test_boxes_become_masks_that_the_bank_names(dataset, segmenter):
    report = segment(dataset, "blocks", segmenter=segmenter, proposals="candidates")
    assert (report.segmented, report.instances, report.failed) == (6, 12, [])
    for index, found in enumerate(labels(dataset)):
        assert set(found) == {"red", "green"}
        x1, y1, x2, y2 = scenes.blocks(index)["red"]
        mask = full_mask(found["red"], scenes.SIZE)
        assert mask.sum() == (x2 - x1) * (y2 - y1) == mask[y1:y2, x1:x2].sum()


def test_a_label_names_the_candidate_it_was_made_of(dataset, segmenter):
    segment(dataset, "blocks", segmenter=segmenter, proposals="candidates")
    assert [found["red"].candidate for found in labels(dataset)] == ids(dataset, 0)
    assert [found["green"].candidate for found in labels(dataset)] == ids(dataset, 1)


def test_the_confidence_of_a_candidate_stands_for_the_predicted_iou(dataset, segmenter):
    first = dataset.first()
    first.candidates.detections[1].confidence = None
    first.save()
    segment(dataset, "blocks", segmenter=segmenter, proposals="candidates")
    found = labels(dataset)
    assert [one["red"].proposal_iou for one in found] == pytest.approx([0.9] * 6)
    assert found[0]["green"].proposal_iou == 1.0


def test_masks_are_taken_as_they_are(dataset, segmenter):
    first = dataset.first()
    x1, y1, x2, y2 = scenes.blocks(0)["red"]
    mask = np.zeros(scenes.SIZE, bool)
    mask[y1 + 2 : y2 - 5, x1 + 3 : x2 - 1] = True
    mask[y1 + 3, x1 + 3] = False
    drawn = fo.Detection.from_mask(mask, label="anything")
    first["candidates"] = fo.Detections(detections=[drawn])
    first.save()
    segment(dataset.limit(1), "blocks", segmenter=segmenter, proposals="candidates")
    found = labels(dataset.limit(1))[0]["red"]
    assert np.array_equal(full_mask(found, scenes.SIZE), mask)


def test_the_grid_and_candidates_are_joined(dataset, segmenter):
    segment(dataset, "blocks", segmenter=segmenter, proposals=["grid", "candidates"])
    for found in labels(dataset):
        assert set(found) == {"red", "green", "blue"}
        assert found["blue"].candidate is None


def test_the_grid_alone_gives_what_it_gave_before(dataset, segmenter):
    segment(dataset, "blocks", segmenter=segmenter)
    segment(dataset, "blocks", "again", segmenter=segmenter, proposals=["grid"])
    assert labels(dataset)[0].keys() == labels(dataset, "again")[0].keys()
    assert "ntt.detections.candidate" not in dataset.get_field_schema(flat=True)
    assert not labels(dataset)[0]["red"].has_field("candidate")


def test_candidates_below_the_least_confidence_are_left_out(dataset, segmenter):
    segment(dataset, "blocks", segmenter=segmenter, proposals="candidates", min_confidence=0.7)
    assert [set(found) for found in labels(dataset)] == [{"red"}] * 6


def test_of_a_view_those_that_it_shows(dataset, segmenter):
    view = dataset.filter_labels("candidates", F("confidence") < 0.7)
    segment(view, "blocks", segmenter=segmenter, proposals="candidates")
    assert [set(found) for found in labels(dataset)] == [{"green"}] * 6


def test_labels_with_the_same_id_in_two_fields_are_hidden_each_by_itself(dataset, segmenter):
    """A cloned field has its labels' ids, and the view hides one of the clones."""
    dataset.clone_sample_field("candidates", "clones")
    for sample in dataset.iter_samples(autosave=True):
        sample.clones.detections[0].confidence = 0.2
    view = dataset.filter_labels("clones", F("confidence") > 0.5, only_matches=False)
    segment(view, "blocks", segmenter=segmenter, proposals=["candidates", "clones"])
    found = [label.proposal_iou for one in labels(dataset) for label in one.values()]
    assert found and min(found) > 0.5


@pytest.mark.parametrize(
    "change",
    [
        {"filepath": None},
        {"candidates.detections.0.mask": b"junk"},
        {"candidates.detections.0.bounding_box": "wide"},
    ],
)
def test_a_damaged_sample_fails_alone(dataset, segmenter, change):
    first, *others = dataset.values("id")
    dataset._sample_collection.update_one({"_id": ObjectId(first)}, {"$set": change})
    for run in (
        lambda: segment(dataset, "blocks", segmenter=segmenter, proposals="candidates"),
        lambda: ntt.masks_from_boxes(dataset, "candidates", "filled", segmenter=segmenter),
    ):
        report = run()
        assert report.segmented == len(others)
        ((sample, reason),) = [(note.sample, note.reason) for note in report.failed]
        assert sample == first
        assert "DatasetView" not in reason


def test_a_label_without_an_id_is_a_candidate_like_others(dataset, segmenter):
    place = {"_id": ObjectId(dataset.first().id)}
    dataset._sample_collection.update_one(place, {"$unset": {"candidates.detections.0._id": ""}})
    report = segment(dataset, "blocks", segmenter=segmenter, proposals="candidates")
    assert (report.segmented, report.failed) == (6, [])
    assert [set(found) for found in labels(dataset)] == [{"red", "green"}] * 6


def test_a_filtered_view_and_the_whole_have_runs_of_their_own(dataset, segmenter):
    """Of two samples one has a label that the view hides."""
    first = dataset.first()
    first.candidates.detections[0].confidence = 0.5
    first.save()
    run = {"segmenter": segmenter, "proposals": "candidates"}
    view = dataset.limit(2).filter_labels("candidates", F("confidence") < 0.7)
    assert segment(view, "blocks", **run).segmented == 2
    assert [set(found) for found in labels(dataset.limit(2))] == [{"red", "green"}, {"green"}]
    assert segment(dataset.limit(1), "blocks", **run).skipped == 1
    with pytest.raises(DatasetError, match="1 of 2 samples hold labels"):
        segment(dataset.limit(2), "blocks", **run)


@pytest.mark.parametrize("change", ["added", "deleted", "moved"])
def test_candidates_that_change_after_the_run_has_begun_fail_their_sample(
    dataset, segmenter, change, monkeypatch
):
    module = sys.modules["ntt_plugin.dataset.segmentation.segment"]
    make = module.run_ids

    def changed_later(*args):
        runs = make(*args)
        last = dataset.last()
        found = last.candidates.detections
        if change == "added":
            found.append(found[0].copy())
        elif change == "deleted":
            del found[0]
        else:
            found[0].bounding_box = [0.1, 0.1, 0.5, 0.5]
        last.save()
        return runs

    monkeypatch.setattr(module, "run_ids", changed_later)
    options = {"segmenter": segmenter, "proposals": "candidates"}
    report = segment(dataset, "blocks", **options)
    ((key, reason),) = [(note.sample, note.reason) for note in report.failed]
    assert (key, report.segmented) == (dataset.last().id, 5)
    assert "changed after the run had begun" in reason and "run again" in reason
    monkeypatch.setattr(module, "run_ids", make)
    again = segment(dataset, "blocks", **options)
    assert (again.segmented, again.skipped, again.failed) == (1, 5, [])


def test_a_second_call_has_nothing_to_do(dataset, segmenter):
    segment(dataset, "blocks", segmenter=segmenter, proposals="candidates")
    report = segment(dataset, "blocks", segmenter=segmenter, proposals="candidates")
    assert (report.segmented, report.skipped) == (0, 6)


@pytest.mark.parametrize("change", ["box", "confidence", "mask"])
def test_a_changed_candidate_is_done_again(dataset, segmenter, change):
    segment(dataset, "blocks", segmenter=segmenter, proposals="candidates")
    first = dataset.first()
    label = first.candidates.detections[0]
    if change == "box":
        label.bounding_box = [0.1, 0.1, 0.5, 0.5]
    elif change == "confidence":
        label.confidence = 0.5
    else:
        label.mask = np.ones((5, 5), bool)
    first.save()
    with pytest.raises(DatasetError, match="overwrite"):
        segment(dataset, "blocks", segmenter=segmenter, proposals="candidates")
    others = dataset.skip(1)
    assert segment(others, "blocks", segmenter=segmenter, proposals="candidates").skipped == 5


def test_the_class_of_a_candidate_changes_nothing(dataset, segmenter):
    segment(dataset, "blocks", segmenter=segmenter, proposals="candidates")
    first = dataset.first()
    first.candidates.detections[0].label = "other"
    first.save()
    report = segment(dataset, "blocks", segmenter=segmenter, proposals="candidates")
    assert report.skipped == 6


@pytest.mark.parametrize("points", [0, 3])
def test_points_in_boxes_make_another_run_of_candidates_alone(dataset, segmenter, tmp_path, points):
    other = scenes.ColourSegmenter(box_points=points)
    segmenter.upstream = other.upstream = "colours"
    kept = ProposalStore(tmp_path / "kept")
    run = {"proposals": "candidates", "cache": kept}
    segment(dataset, "blocks", "boxes", segmenter=segmenter, **run)
    report = segment(dataset, "blocks", "again", segmenter=other, **run)
    assert report.from_cache == (0 if points else 6)
    if points:
        with pytest.raises(DatasetError, match="overwrite=True"):
            segment(dataset, "blocks", "boxes", segmenter=other, **run)
    segment(dataset, "blocks", "grid", segmenter=segmenter, cache=kept)
    assert segment(dataset, "blocks", "grid", segmenter=other, cache=kept).skipped == 6


def test_proposals_are_kept_by_the_candidates(dataset, segmenter, tmp_path):
    segmenter.upstream = "colours"
    kept = ProposalStore(tmp_path / "kept")
    run = {"segmenter": segmenter, "cache": kept}
    segment(dataset, "blocks", "one", proposals="candidates", **run)
    first = dataset.first()
    first.candidates.detections[0].confidence = 0.5
    first.save()
    report = segment(dataset, "blocks", "two", proposals="candidates", **run)
    assert (report.from_cache, segmenter.proposed) == (5, 7)
    assert segment(dataset, "blocks", "three", **run).from_cache == 0
    before = [{name: one.candidate for name, one in f.items()} for f in labels(dataset, "one")]
    after = [{name: one.candidate for name, one in f.items()} for f in labels(dataset, "two")]
    assert before == after


def test_a_candidate_that_cannot_be_used_is_noted(dataset, segmenter):
    first = dataset.first()
    crowd, wrong = first.candidates.detections
    crowd["iscrowd"] = 1
    wrong.confidence = 1.5
    outside = fo.Detection(label="thing", bounding_box=[1.2, 0.1, 0.2, 0.2])
    first.candidates.detections.append(outside)
    first.save()
    report = segment(dataset, "blocks", segmenter=segmenter, proposals="candidates")
    reasons = [note.reason for note in report.notes if note.sample == first.id]
    assert (len(reasons), report.segmented, report.failed) == (3, 6, [])
    assert all(one in " ".join(reasons) for one in (crowd.id, wrong.id, outside.id))
    assert labels(dataset)[0] == {}


def test_images_without_candidates_are_told(dataset, segmenter):
    dataset.first().clear_field("candidates")
    dataset.limit(1).clear_sample_field("candidates")
    report = segment(dataset, "blocks", segmenter=segmenter, proposals="candidates")
    assert any("1 of 6 images hold no label" in note.reason for note in report.notes)
    assert labels(dataset)[0] == {}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"proposals": "missing"}, "no field"),
        ({"proposals": []}, "without a source"),
        ({"proposals": "ntt"}, "no field|cannot be read for proposals"),
        ({"proposals": "candidates", "label_field": "candidates"}, "written at once"),
        ({"proposals": "candidates", "min_confidence": 2}, "from 0 to 1"),
        ({"tile": 64}, "leave tile out"),
    ],
)
def test_wrong_arguments_are_told(dataset, segmenter, arguments, told):
    with pytest.raises(DatasetError, match=told):
        segment(dataset, "blocks", segmenter=segmenter, **arguments)


def test_candidates_travel_with_an_item():
    mask = np.zeros((4, 6), bool)
    mask[1:3, 2:5] = True
    entries = [
        candidate_entry("a", [1, 2, 3.5, 4], 0.5),
        candidate_entry("b", (), 0.25, mask, (10, 20)),
    ]
    item = Item("sample", "path", content=candidates_content(entries, True))
    given = given_candidates(Item.from_bytes(item.to_bytes()).content)
    assert (list(given.ids), given.grid) == (["a", "b"], True)
    assert (given.candidates[0].box, given.candidates[0].confidence) == ((1, 2, 3.5, 4), 0.5)
    packed = pack_mask(mask, 10, 20)
    assert given.candidates[1].box == packed.box
    assert np.array_equal(given.candidates[1].mask.words, packed.words)
    assert given_candidates([{"id": "a box to fill"}]) is None


def test_workers_and_the_engine_give_the_same(dataset, forked_workers):
    recipe = Recipe.from_preset("tiny", grid=4)
    ntt.build_memory_bank(dataset, "ground_truth", "real", preset=recipe, device="cpu")
    view = dataset.limit(2)
    run = {"proposals": "candidates", "device": "cpu", "cache": False}
    ntt.segment(view, "real", "here", **run)
    ntt.segment(view, "real", "there", workers=1, **run)
    loaded = Segmenter.from_preset(recipe, device="cpu")
    for sample in view:
        here, there = sample.here.detections, sample.there.detections
        assert [one.candidate for one in here] == [one.candidate for one in there]
        assert [one.confidence for one in here] == [one.confidence for one in there]
        boxes = [one.bounding_box for one in sample.candidates.detections]
        given = [
            Candidate.of_box([x * WIDTH, y * HEIGHT, (x + w) * WIDTH, (y + h) * HEIGHT], confidence)
            for (x, y, w, h), confidence in zip(boxes, (0.9, 0.6), strict=True)
        ]
        proposals = loaded.propose_candidates(sample.filepath, given)
        assert len(here) == len(proposals) > 0
