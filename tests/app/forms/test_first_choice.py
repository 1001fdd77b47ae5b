"""What a form of the App offers first: the selected, the last used, else what fits."""

import pytest

import ntt_plugin as ntt
from ntt_plugin.dataset.database.last_used import keep_last_used, read_last_used

# What the App sends with each request, and a script does not.
APP = {"selected_samples": [], "selected_labels": []}


@pytest.fixture
def boxes_first(dataset):
    """A dataset whose first field of labels holds boxes alone, beside masks made from them."""
    dataset.rename_sample_field("ground_truth", "kept")
    ntt.masks_from_boxes(dataset, "boxes", "boxes_masks", "tiny", progress=False)
    dataset.delete_sample_field("kept")
    return dataset


@pytest.mark.parametrize("operator", ["build_memory_bank", "update_memory_bank", "add_references"])
def test_what_learns_offers_masks_beside_boxes(operator, plugin, boxes_first):
    form = plugin.form(boxes_first, operator, **APP)
    assert form.default("label_field") == "boxes_masks"
    assert "label_field" not in form.errors


@pytest.mark.parametrize("operator", ["add_negatives", "promote_references", "apply_thresholds"])
def test_what_judges_offers_predictions(operator, plugin, boxes_first):
    assert plugin.form(boxes_first, operator, **APP).default("label_field") == "ntt"


def test_no_name_makes_a_field_a_prediction(plugin, boxes_first):
    boxes_first.rename_sample_field("ntt", "found")
    assert plugin.form(boxes_first, "add_negatives", **APP).default("label_field") == "found"


def test_the_filtered_field_comes_first(plugin, dataset):
    ntt.segment(dataset, "shapes", "again", progress=False)
    for field in ("again", "ntt"):
        filters = {f"{field}.detections.label": {"values": ["x"], "exclude": True}}
        form = plugin.form(dataset, "add_negatives", filters=filters, **APP)
        assert form.default("label_field") == field


def test_the_visible_field_comes_before_others(plugin, dataset):
    ntt.segment(dataset, "shapes", "again", progress=False)
    form = plugin.form(dataset, "add_negatives", active_fields=["boxes", "again"], **APP)
    assert form.default("label_field") == "again"


def test_boxes_are_no_ground_truth_where_there_are_masks(plugin, boxes_first):
    form = plugin.form(boxes_first, "evaluate_segmentation", params={"label_field": "ntt"}, **APP)
    assert form.default("gt_field") == "boxes_masks"


def test_the_newest_bank_is_offered(plugin, dataset):
    ntt.build_memory_bank(dataset, "ground_truth", "aaa", preset="tiny", progress=False)
    ntt.build_memory_bank(dataset, "ground_truth", "zzz", preset="tiny", progress=False)
    ntt.rename_memory_bank(dataset, "zzz", "mmm")
    assert plugin.form(dataset, "segment_with_memory_bank", **APP).default("bank") == "mmm"


def test_a_preset_is_remembered_by_all_forms_of_the_app(plugin, bare):
    assert plugin.form(bare, "compute_proposals", **APP).default("preset") == "paper"
    list(plugin.stream(bare, "compute_proposals", {"preset": "tiny"}))
    assert read_last_used(bare)["compute_proposals"] == {"preset": "tiny"}
    assert plugin.form(bare, "download_networks", **APP).default("preset") == "tiny"
    # A script gets what the SDK takes.
    assert plugin.form(bare, "download_networks").default("preset") == "paper"


def test_what_was_last_used_is_kept_with_the_dataset_and_its_clones(dataset):
    keep_last_used(dataset, "segment_with_memory_bank", {"bank": "one"})
    keep_last_used(dataset, "segment_with_memory_bank", {"bank": "two"})
    keep_last_used(dataset, "build_memory_bank", {"preset": "fast"})
    expected = {
        "segment_with_memory_bank": {"bank": "two"},
        "build_memory_bank": {"preset": "fast"},
    }
    assert read_last_used(dataset) == expected
    copy = dataset.clone()
    assert read_last_used(copy) == expected
    copy.delete()


def test_a_field_that_is_filled_in_is_not_called_missing(plugin, dataset):
    form = plugin.form(dataset, "build_memory_bank", **APP)
    assert "Required property" not in form.errors.values()
    emptied = plugin.form(dataset, "build_memory_bank", params={"name": ""}, **APP)
    assert emptied.errors["name"] == "Required property"


def test_masks_from_boxes_asks_for_the_segmenter_alone(plugin, bare, dataset):
    form = plugin.form(dataset, "masks_from_boxes", params={"preset": "paper"}, **APP)
    assert "sam2" in form.text()
    assert "dinov2" not in form.text() + str(form.choices("preset"))


def test_references_of_the_bank_do_not_become_its_negatives_unasked(plugin, dataset):
    params = {"label_field": "ground_truth", "bank": "shapes"}
    form = plugin.form(dataset, "add_negatives", params=params, **APP)
    number = len(ntt.load_memory_bank(dataset, "shapes"))
    assert f"{number} labels here of 'ground_truth' are references of 'shapes'" in form.text()
    assert "from_references" in form.errors
    form = plugin.form(dataset, "add_negatives", params={**params, "from_references": True}, **APP)
    assert "from_references" not in form.errors


def test_the_whole_dataset_is_all_slices(plugin, dataset, worked_on):
    import fiftyone as fo

    grouped = fo.Dataset()
    grouped.add_group_field("group", default="left")
    for path in dataset.values("filepath")[:2]:
        group = fo.Group()
        grouped.add_samples(
            [fo.Sample(filepath=path, group=group.element(side)) for side in ("left", "right")]
        )
    form = plugin.form(
        grouped, "compute_proposals", params={"preset": "tiny"}, view_target="DATASET", **APP
    )
    assert "4 images" in form.text()
    form = plugin.form(
        grouped, "compute_proposals", params={"preset": "tiny"}, view_target="CURRENT_VIEW", **APP
    )
    assert "2 images" in form.text()
    grouped.delete()
