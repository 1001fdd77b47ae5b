import zlib

import fiftyone as fo
import numpy as np
import pytest
import torch

from ntt_plugin.dataset.banks import banks
from ntt_plugin.dataset.labels.convert import pixel_box
from ntt_plugin.dataset.labels.placed_masks import full_mask
from ntt_plugin.dataset.segmentation.report import load_segment_report
from ntt_plugin.dataset.segmentation.segment import segment
from ntt_plugin.engine.bank.memory_bank import MemoryBank
from ntt_plugin.engine.segmenter import Segmenter
from ntt_plugin.errors import DatasetError
from tests.dataset import scenes

pytestmark = pytest.mark.usefixtures("bank")


class Stopped(Exception):
    pass


def stop_after(count):
    def callback(bar):
        if bar.iteration == count:
            raise Stopped

    return callback


def labels_of(dataset, field="ntt"):
    return {sample.id: sample[field] for sample in dataset}


def test_the_stub_has_the_engines_interface():
    for name in ("reference_feature", "propose", "masks_from_boxes", "point_batch"):
        assert hasattr(Segmenter, name) and hasattr(scenes.ColourSegmenter, name)


def test_every_block_is_found_where_it_is(dataset, segmenter):
    report = segment(dataset, "blocks", segmenter=segmenter)

    assert (report.segmented, report.instances, report.failed) == (6, 18, [])
    for index, sample in enumerate(dataset):
        found = {detection.label: detection for detection in sample.ntt.detections}
        for label, (x1, y1, x2, y2) in scenes.blocks(index).items():
            truth = np.zeros(scenes.SIZE, dtype=bool)
            truth[y1:y2, x1:x2] = True
            mask = full_mask(found[label], scenes.SIZE)
            assert (mask & truth).sum() / (mask | truth).sum() > 0.9


def test_labels_are_exactly_the_engines_instances(dataset, segmenter, bank):
    from ntt_plugin.engine.matching.match import match

    segment(dataset, "blocks", segmenter=segmenter)
    for sample in dataset:
        expected = match(segmenter.propose(sample.filepath), bank, segmenter.recipe)
        found = sample.ntt.detections
        assert [d.label for d in found] == expected.labels
        assert [d.confidence for d in found] == expected.scores.tolist()
        assert [d.margin for d in found] == expected.margins.tolist()
        assert [d.proposal_iou for d in found] == expected.proposal_ious.tolist()
        for index, detection in enumerate(found):
            assert pixel_box(detection, scenes.SIZE) == tuple(expected.boxes[index])
            full = full_mask(detection, scenes.SIZE)
            assert np.array_equal(full, expected.full_mask(index))


def test_each_label_names_its_bank_and_the_reference_most_like_it(dataset, segmenter):
    segment(dataset, "blocks", segmenter=segmenter)
    truth = {
        detection.id: (sample.id, detection.label)
        for sample in dataset
        for detection in sample.ground_truth.detections
    }
    for sample in dataset:
        for detection in sample.ntt.detections:
            assert truth[detection.reference] == (detection.reference_sample, detection.label)
            assert detection.bank == "blocks"


def test_attributes_are_declared_so_that_the_app_can_filter_by_them(dataset, segmenter):
    segment(dataset.limit(1), "blocks", segmenter=segmenter)
    schema = dataset.get_field_schema(flat=True)
    for name in ("margin", "proposal_iou", "reference", "bank", "bank_version", "preset"):
        assert f"ntt.detections.{name}" in schema


def test_a_bank_object_is_known_by_the_name_it_was_saved_under(dataset, segmenter, bank):
    assert segment(dataset, bank, segmenter=segmenter).bank == "blocks"


def test_the_damaged_record_of_another_bank_does_not_matter(dataset, segmenter, bank):
    info = dataset.get_run_info("ntt_bank_blocks")
    del info.config.digest
    dataset.update_run_config("ntt_bank_blocks", info.config)
    bank.remove("red")
    assert segment(dataset, bank, segmenter=segmenter).segmented == 6


def test_an_unsaved_bank_can_be_used(dataset, segmenter, bank):
    bank.remove("red")
    report = segment(dataset, bank, segmenter=segmenter)
    assert report.bank.startswith("unsaved_") and report.instances > 0
    assert "red" not in dataset.distinct("ntt.detections.label")


def test_a_second_call_goes_on_where_the_first_stopped(dataset, segmenter):
    with pytest.raises(Stopped):
        segment(dataset, "blocks", segmenter=segmenter, progress=stop_after(2))
    done = {
        sample: labels.detections[0].id for sample, labels in labels_of(dataset.limit(2)).items()
    }
    segmenter.proposed = 0

    report = segment(dataset, "blocks", segmenter=segmenter)

    assert (report.segmented, report.skipped, segmenter.proposed) == (4, 2, 4)
    for sample, label in done.items():
        assert labels_of(dataset)[sample].detections[0].id == label


def test_an_exception_out_of_progress_stops_the_run_cleanly(dataset, segmenter):
    with pytest.raises(Stopped):
        segment(dataset, "blocks", segmenter=segmenter, progress=stop_after(2))
    kept = load_segment_report(dataset, "ntt")
    assert (kept.state, kept.segmented, kept.instances) == ("stopped", 2, 6)
    assert kept.segmented_ids == dataset.limit(2).values("id")
    assert dataset.exists("ntt").values("id") == kept.segmented_ids


def test_a_new_view_continues_the_field(dataset, segmenter):
    segment(dataset.limit(2), "blocks", segmenter=segmenter)
    report = segment(dataset, "blocks", segmenter=segmenter)
    assert (report.segmented, report.skipped) == (4, 2)


def test_labels_of_another_bank_are_not_mixed_in(dataset, segmenter, bank):
    segment(dataset.limit(2), "blocks", segmenter=segmenter)
    bank.remove("red")
    with pytest.raises(DatasetError, match=r"2 of 6 samples hold labels.*overwrite=True"):
        segment(dataset, bank, segmenter=segmenter)
    assert "red" in dataset.distinct("ntt.detections.label")


def test_overwrite_replaces_the_views_labels_only(dataset, segmenter, bank):
    segment(dataset, "blocks", segmenter=segmenter)
    bank.remove("red")
    report = segment(dataset.limit(2), bank, overwrite=True, segmenter=segmenter)
    assert report.segmented == 2
    reds = dataset.filter_labels("ntt", fo.ViewField("label") == "red")
    assert len(reds) == 4


def test_another_recipe_is_another_run(dataset, segmenter):
    segment(dataset, "blocks", segmenter=segmenter)
    other = scenes.ColourSegmenter(nms_iou=0.7)
    with pytest.raises(DatasetError, match="overwrite=True"):
        segment(dataset, "blocks", segmenter=other)


def test_the_point_batch_does_not_make_another_run(dataset, segmenter):
    segment(dataset, "blocks", segmenter=segmenter)
    report = segment(dataset, "blocks", segmenter=scenes.ColourSegmenter(point_batch=7))
    assert report.skipped == 6


@pytest.mark.parametrize("field", ["ground_truth", "words"])
def test_a_field_that_we_did_not_make_is_not_touched(dataset, segmenter, field):
    dataset.add_sample_field("words", fo.StringField)
    before = dataset.count("ground_truth.detections")
    with pytest.raises(DatasetError, match="not made by a segmentation"):
        segment(dataset, "blocks", label_field=field, overwrite=True, segmenter=segmenter)
    assert dataset.count("ground_truth.detections") == before


def test_labels_that_a_person_put_into_our_field_are_not_lost(dataset, segmenter):
    segment(dataset.limit(1), "blocks", segmenter=segmenter)
    sample = dataset.last()
    sample["ntt"] = fo.Detections(detections=[fo.Detection(label="by hand")])
    sample.save()
    with pytest.raises(DatasetError, match="1 of 6 samples"):
        segment(dataset, "blocks", segmenter=segmenter)


def test_what_is_written_is_what_fiftyone_would_write(dataset, segmenter):
    segment(dataset, "blocks", segmenter=segmenter)
    sample = dataset.first()
    ours = dataset._sample_collection.find_one({"_id": sample._id})
    labels = sample.ntt.copy()
    for copied, label in zip(labels.detections, sample.ntt.detections, strict=True):
        copied.id = label.id
    sample["ntt"] = None
    sample.save()
    sample["ntt"] = labels
    sample.save()
    theirs = dataset._sample_collection.find_one({"_id": sample._id})
    assert theirs.pop("last_modified_at") > ours.pop("last_modified_at") > ours["created_at"]
    for label in [*ours["ntt"]["detections"], *theirs["ntt"]["detections"]]:
        label["mask"] = zlib.decompress(label["mask"])
    assert theirs == ours and len(ours["ntt"]["detections"]) > 0


def test_a_sample_in_memory_gets_its_labels(dataset, segmenter):
    held = dataset.first()
    segment(dataset, "blocks", segmenter=segmenter)
    assert held.ntt.detections[0].label in ("red", "green", "blue")


def test_a_filtered_view_keeps_what_it_hides(dataset, segmenter):
    view = dataset.filter_labels("ground_truth", fo.ViewField("label") == "red")
    segment(view, "blocks", segmenter=segmenter)
    assert dataset.count("ground_truth.detections") == 18
    assert dataset.count("ntt.detections") == 18


def test_the_saved_recipe_is_used_unless_another_is_given(dataset, monkeypatch):
    from ntt_plugin.dataset.segmentation import segment as segmentation

    asked = []

    def loader(recipe, device, batch_size):
        asked.append((recipe, device, batch_size))
        return scenes.ColourSegmenter()

    monkeypatch.setattr(segmentation, "get_segmenter", loader)
    segment(dataset, "blocks", device="cpu", batch_size=9)
    segment(dataset, "blocks", label_field="fast", preset="fast")
    assert asked[0] == (banks.get_memory_bank_info(dataset, "blocks").recipe, "cpu", 9)
    assert asked[1][0].name == "fast"


@pytest.mark.parametrize("way", ["by name", "changed", "through a file", "saved elsewhere"])
def test_a_bank_is_run_with_its_own_recipe_wherever_it_went(dataset, monkeypatch, tmp_path, way):
    from ntt_plugin.dataset.segmentation import segment as segmentation

    built_with = scenes.ColourSegmenter(grid=5, nms_iou=0.9)
    bank = banks.build_memory_bank(dataset, "ground_truth", "own", segmenter=built_with)
    if way == "by name":
        bank = "own"
    if way == "changed":
        bank.remove("red")
    if way == "through a file":
        bank.add_negatives("red", torch.ones(3))
        bank.save(tmp_path / "bank.safetensors")
        bank = MemoryBank.load(tmp_path / "bank.safetensors")
    if way == "saved elsewhere":
        bank.remove("red")
        banks.save_memory_bank(dataset, "copy", bank)
        bank = "copy"
    asked = []

    def loader(recipe, device, batch_size):
        asked.append(recipe)
        return built_with

    monkeypatch.setattr(segmentation, "get_segmenter", loader)
    segment(dataset.limit(1), bank)
    assert asked == [built_with.recipe]


def test_progress_reaches_every_sample(dataset, segmenter):
    seen = []
    segment(
        dataset,
        "blocks",
        segmenter=segmenter,
        progress=lambda bar: seen.append((bar.iteration, bar.total)),
    )
    assert seen[-1] == (6, 6)


def test_negatives_reach_the_scores(dataset, segmenter):
    bank = MemoryBank(segmenter.fingerprint, "tiny")
    bank.add("reddish", torch.tensor([250.0, 100.0, 0.0]))
    bank.add_negatives("reddish", torch.tensor([250.0, 0.0, 0.0]))
    segment(dataset, bank, segmenter=segmenter)
    # The red block: cosine to the class, and cosine 1 to its negative.
    positive = 250 / (250**2 + 100**2) ** 0.5
    expected = positive * np.exp(-(1 - positive) / 0.8)
    best = [sample.ntt.detections[0].confidence for sample in dataset]
    assert best == pytest.approx([expected] * 6, abs=1e-6)


def test_a_read_only_field_is_not_overwritten(dataset, segmenter):
    segment(dataset, "blocks", "ntt", segmenter=segmenter)
    before = dataset.values("ntt.detections.id")
    field = dataset.get_field("ntt")
    field.read_only = True
    field.save()
    with pytest.raises(DatasetError, match="read-only"):
        segment(dataset, "blocks", "ntt", overwrite="everything", segmenter=segmenter)
    assert dataset.values("ntt.detections.id") == before
