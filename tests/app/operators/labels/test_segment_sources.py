"""The form of Segment with memory bank: candidates as proposals, and tiles with what they cost."""

import fiftyone as fo
import pytest

import ntt_plugin as ntt

BASE = {"bank": "shapes", "label_field": "found"}


@pytest.fixture
def large(dataset):
    """The images say that they are 1,000 pixels wide: four times what the segmenter sees."""
    for sample in dataset.iter_samples(autosave=True):
        sample.metadata = fo.ImageMetadata(width=1000, height=400)
    return dataset


def test_candidates_are_run_as_the_form_has_them(plugin, dataset):
    params = {**BASE, "advanced": True, "proposals": ["boxes"], "min_confidence": 0.5}
    form = plugin.form(dataset, "segment_with_memory_bank", params=dict(params))
    assert form.errors == {}
    plugin.run(dataset, "segment_with_memory_bank", params)
    dataset.reload()
    made_of = set(dataset.distinct("found.detections.candidate"))
    assert made_of and made_of <= set(dataset.values("boxes.detections.id", unwind=True))


def test_a_delegated_run_gives_the_labels_of_one_at_once(plugin, dataset, worker):
    for sample in dataset.iter_samples(autosave=True):
        for number, box in enumerate(sample.boxes.detections):
            box.confidence = (0.9, 0.2)[number % 2]
    sources = {"proposals": ["grid", "boxes"], "min_confidence": 0.5}
    params = {**BASE, "advanced": True, **sources}
    done = worker(plugin.queue(dataset, "segment_with_memory_bank", params))
    assert done.run_state == "completed", done.result.error
    ntt.segment(dataset, "shapes", "direct", **sources)
    dataset.reload()
    paths = ["candidate", "label", "bounding_box", "confidence"]
    found, direct = (
        dataset.values([f"{name}.detections.{path}" for path in paths])
        for name in ("found", "direct")
    )
    assert found == direct
    sure = dataset.filter_labels("boxes", fo.ViewField("confidence") > 0.5)
    made_of = {candidate for of_image in found[0] for candidate in of_image}
    assert None in made_of and len(made_of) > 1
    assert made_of - {None} <= set(sure.values("boxes.detections.id", unwind=True))


def test_what_is_done_already_is_known_of_candidates(plugin, dataset):
    ntt.segment(dataset, "shapes", "found", proposals="boxes")
    params = {**BASE, "advanced": True, "proposals": ["boxes"]}
    form = plugin.form(dataset, "segment_with_memory_bank", params=dict(params))
    assert "nothing left to do" in form.said("will_do")


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({"proposals": ["nowhere"]}, "proposals"),
        ({"proposals": ["boxes"], "label_field": "boxes"}, "proposals"),
        ({"proposals": ["boxes"], "min_confidence": 2}, "min_confidence"),
        ({"tile": 10}, "tile"),
    ],
)
def test_what_cannot_be_used_is_marked(plugin, dataset, params, name):
    given = {**BASE, "advanced": True, **params}
    assert name in plugin.form(dataset, "segment_with_memory_bank", params=given).errors


def test_tiles_are_offered_where_images_are_large(plugin, dataset, large):
    form = plugin.form(large, "segment_with_memory_bank", params=dict(BASE))
    assert "tile" in form.fields
    # 1 + 5 x 2 tiles of 256 that overlap by a fifth.
    assert "11.0 looks an image in place of 1, about 55 for 5 images" in form.said("tiles_cost")


def test_tiles_are_not_offered_where_they_are_small(plugin, dataset):
    form = plugin.form(dataset, "segment_with_memory_bank", params=dict(BASE))
    assert "tile" not in form.fields and "tiles_cost" not in form.fields


def test_the_cost_is_that_of_the_tiles_given(plugin, large):
    form = plugin.form(large, "segment_with_memory_bank", params={**BASE, "tile": 500})
    assert "Tiles of 500 pixels take 4.0 looks an image" in form.said("tiles_cost")
