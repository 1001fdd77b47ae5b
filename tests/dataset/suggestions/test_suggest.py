from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

from ntt_plugin.dataset.banks import banks
from ntt_plugin.dataset.banks.add_references import add_references
from ntt_plugin.dataset.labels.label_field import segmentation_fields
from ntt_plugin.dataset.labels.placed_masks import full_mask
from ntt_plugin.dataset.segmentation.report import load_segment_report
from ntt_plugin.dataset.segmentation.segment import segment
from ntt_plugin.dataset.suggestions.suggest import suggest_references
from ntt_plugin.engine.proposals.store import ProposalStore
from ntt_plugin.errors import DatasetError
from tests.dataset import scenes

BLOCK = (10, 12, 40, 50)
ORANGE, VIOLET = (250, 150, 0), (150, 0, 250)


@pytest.fixture(autouse=True)
def bank(dataset, segmenter):
    """Red, green and blue are known."""
    return banks.build_memory_bank(dataset, "ground_truth", "blocks", segmenter=segmenter)


@pytest.fixture
def odd(dataset):
    """Ids of two samples that show what no reference shows: orange, and violet."""
    ids = dataset.values("id")[-2:]
    for sample_id, colour in zip(ids, (ORANGE, VIOLET), strict=True):
        paint(dataset[sample_id], colour)
    return ids


def paint(sample, colour):
    pixels = np.zeros((*scenes.SIZE, 3), dtype=np.uint8)
    x1, y1, x2, y2 = BLOCK
    pixels[y1:y2, x1:x2] = colour
    Image.fromarray(pixels).save(sample.filepath)


def suggested(dataset, field="suggestions"):
    """The labels by sample, of those that have any."""
    dataset.reload()
    return {s.id: s[field].detections for s in dataset if s[field] and s[field].detections}


def test_what_no_reference_shows_is_suggested(dataset, segmenter, odd):
    found = suggest_references(dataset, "blocks", segmenter=segmenter)
    labels = suggested(dataset)
    assert set(labels) == set(odd)
    assert sorted(found.label_ids) == sorted(label.id for of in labels.values() for label in of)
    assert (found.images, found.failed) == (6, [])


def test_a_suggestion_is_a_whole_label_with_its_reason(dataset, segmenter, odd):
    found = suggest_references(dataset, "blocks", segmenter=segmenter)
    [label] = suggested(dataset)[odd[0]]
    truth = np.zeros(scenes.SIZE, dtype=bool)
    x1, y1, x2, y2 = BLOCK
    truth[y1:y2, x1:x2] = True
    mask = full_mask(label, scenes.SIZE)
    assert (mask & truth).sum() / (mask | truth).sum() > 0.9
    rows, columns = np.nonzero(mask)
    left, top, width, height = np.array(label.bounding_box) * [96, 64, 96, 64]
    assert (round(left), round(top)) == (columns.min(), rows.min())
    assert (round(width), round(height)) == (np.ptp(columns) + 1, np.ptp(rows) + 1)
    assert label.label == label.suggested == "red"
    red, orange = np.array([1, 0, 0]), np.array(ORANGE) / np.linalg.norm(ORANGE)
    assert label.confidence == pytest.approx(red @ orange, abs=1e-3)
    assert label.margin == pytest.approx(orange[0] - orange[1], abs=1e-3)
    assert label.reason == found.reasons[label.id]
    assert "'red'" in label.reason and "\n" not in label.reason
    assert 0 < label.gain < 1
    assert label.bank == "blocks"


def test_the_view_shows_patches_with_the_most_telling_first(dataset, segmenter, odd):
    found = suggest_references(dataset, "blocks", segmenter=segmenter)
    gains = found.view.values("suggestions.gain")
    assert gains == sorted(gains, reverse=True)
    assert tuple(found.view.values("suggestions.id")) == found.label_ids
    assert set(found.view.values("sample_id")) == set(odd)


def test_no_more_are_suggested_than_asked_for(dataset, segmenter, odd):
    both = suggest_references(dataset, "blocks", segmenter=segmenter)
    one = suggest_references(dataset, "blocks", np.int64(1), segmenter=segmenter)
    assert (len(both.label_ids), len(one.label_ids)) == (2, 1)
    assert list(one.reasons.values()) == list(both.reasons.values())[:1]


@pytest.mark.parametrize("count", [0, -1, 2.5, True, "3"])
def test_a_count_that_makes_no_sense_is_refused(count, dataset, segmenter):
    with pytest.raises(DatasetError, match="1 or more"):
        suggest_references(dataset, "blocks", count, segmenter=segmenter)


def test_what_is_alike_is_suggested_once(dataset, segmenter, odd):
    paint(dataset[odd[1]], ORANGE)
    assert len(suggest_references(dataset, "blocks", segmenter=segmenter).label_ids) == 1


def test_the_field_is_one_that_runs_made_and_its_run_is_kept(dataset, segmenter, odd):
    suggest_references(dataset, "blocks", segmenter=segmenter)
    assert segmentation_fields(dataset) == ["suggestions"]
    report = load_segment_report(dataset, "suggestions")
    assert (report.bank, report.instances, report.state) == ("blocks", 2, "finished")


def test_new_suggestions_take_the_place_of_former_ones_everywhere(dataset, segmenter, odd):
    suggest_references(dataset, "blocks", segmenter=segmenter)
    suggest_references(dataset.select(odd[1]), "blocks", segmenter=segmenter)
    assert set(suggested(dataset)) == {odd[1]}


def test_nothing_to_suggest_is_an_ordinary_result(dataset, segmenter):
    paint(dataset.last(), ORANGE)
    suggest_references(dataset, "blocks", segmenter=segmenter)
    found = suggest_references(dataset.limit(3), "blocks", segmenter=segmenter)
    assert (found.label_ids, found.reasons, len(found.view)) == ((), {}, 0)
    assert suggested(dataset) == {}


def test_an_image_that_cannot_be_read_is_named(dataset, segmenter, odd):
    first = dataset.first()
    Path(first.filepath).write_bytes(b"no image")
    found = suggest_references(dataset, "blocks", segmenter=segmenter)
    assert [note.sample for note in found.failed] == [first.id]
    assert first.filepath in str(found)
    assert (found.images, len(found.label_ids)) == (5, 2)


def corrected(dataset, sample_id):
    sample = dataset[sample_id]
    sample.suggestions.detections[0].label = "green"
    sample.save()
    return sample.suggestions.detections[0].id


def test_a_class_that_a_person_corrected_is_not_lost_by_chance(dataset, segmenter, odd):
    suggest_references(dataset, "blocks", segmenter=segmenter)
    corrected(dataset, odd[0])
    with pytest.raises(DatasetError, match=r"1 labels in 'suggestions'.*Promote"):
        suggest_references(dataset, "blocks", segmenter=segmenter)
    assert suggested(dataset)[odd[0]][0].label == "green"
    suggest_references(dataset, "blocks", segmenter=segmenter, overwrite=True)
    assert suggested(dataset)[odd[0]][0].label == "green"


def test_a_label_that_a_person_drew_is_not_lost_by_chance(dataset, segmenter, odd):
    suggest_references(dataset, "blocks", segmenter=segmenter)
    sample = dataset.first()
    sample.suggestions = fo.Detections(
        detections=[fo.Detection(label="red", bounding_box=[0, 0, 0.5, 0.5])]
    )
    sample.save()
    with pytest.raises(DatasetError, match="drawn"):
        suggest_references(dataset, "blocks", segmenter=segmenter)


def test_what_was_promoted_teaches_the_bank_and_is_not_suggested_again(dataset, segmenter, odd):
    suggest_references(dataset, "blocks", segmenter=segmenter)
    label = corrected(dataset, odd[0])
    chosen = dataset.select_labels(ids=[label], fields="suggestions")
    added = add_references(chosen, "suggestions", "blocks", segmenter=segmenter)
    assert added.added == {"green": 1}
    found = suggest_references(dataset, "blocks", segmenter=segmenter)
    assert len(set(found.label_ids) - {label}) == 1
    # The one that a person corrected stays, as in every field; it is not suggested again.
    assert {key: len(labels) for key, labels in suggested(dataset).items()} == {
        odd[0]: 1,
        odd[1]: 1,
    }


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_field_that_no_run_made_is_never_touched(overwrite, dataset, segmenter):
    with pytest.raises(DatasetError, match="'ground_truth'"):
        suggest_references(
            dataset, "blocks", field="ground_truth", segmenter=segmenter, overwrite=overwrite
        )


@pytest.mark.parametrize("overwrite", [False, True])
def test_predictions_are_never_touched(overwrite, dataset, segmenter):
    segment(dataset, "blocks", segmenter=segmenter)
    with pytest.raises(DatasetError, match="another run in 6 samples"):
        suggest_references(dataset, "blocks", field="ntt", segmenter=segmenter, overwrite=overwrite)


def test_an_empty_bank_is_refused(dataset, segmenter, bank):
    for label in bank.classes:
        bank.remove(label)
    with pytest.raises(DatasetError, match="is empty"):
        suggest_references(dataset, bank, segmenter=segmenter)


def test_stopped_by_its_progress_it_leaves_former_suggestions(dataset, segmenter, odd):
    class Stopped(Exception):
        pass

    def stop(bar):
        raise Stopped

    suggest_references(dataset, "blocks", segmenter=segmenter)
    with pytest.raises(Stopped):
        suggest_references(dataset, "blocks", segmenter=segmenter, progress=stop)
    assert set(suggested(dataset)) == set(odd)


def test_a_view_that_hides_fields_is_looked_through_like_any_other(dataset, segmenter, odd):
    suggest_references(dataset, "blocks", segmenter=segmenter)
    view = dataset.select(odd).select_fields("ground_truth")
    found = suggest_references(view, "blocks", segmenter=segmenter)
    assert tuple(found.view.values("suggestions.id")) == found.label_ids
    assert len(found.label_ids) == 2


def test_kept_proposals_are_used(dataset, segmenter, odd, tmp_path):
    segmenter.upstream = "colours"
    store = ProposalStore(tmp_path / "kept", 10**8)
    first = suggest_references(dataset, "blocks", segmenter=segmenter, cache=store)
    assert segmenter.proposed == 6
    again = suggest_references(dataset, "blocks", segmenter=segmenter, cache=store)
    assert segmenter.proposed == 6
    assert list(again.reasons.values()) == list(first.reasons.values())


def test_a_cache_folder_that_can_not_be_is_noted_once(dataset, segmenter, odd, monkeypatch):
    monkeypatch.setenv("NTT_CACHE_DIR", "~nosuchuser/x")
    found = suggest_references(dataset, "blocks", segmenter=segmenter)
    (note,) = found.notes
    assert len(found.label_ids) == 2 and "NTT_CACHE_DIR" in note.reason


def test_slices_of_a_grouped_dataset_can_be_looked_at(dataset, segmenter, odd):
    grouped = fo.Dataset()
    grouped.add_group_field("group", default="left")
    group = fo.Group()
    grouped.add_samples(
        [
            fo.Sample(filepath=dataset[sample].filepath, group=group.element(name))
            for sample, name in zip(odd, ("left", "right"), strict=True)
        ]
    )
    try:
        bank = banks.load_memory_bank(dataset, "blocks")
        found = suggest_references(grouped, bank, segmenter=segmenter, group_slices="right")
        assert len(found.view) == 1
        [right] = grouped.select_group_slices("right").values("id")
        assert found.view.values("sample_id") == [right]
    finally:
        grouped.delete()
