"""What the forms offer, say, mark and warn of."""

import inspect

import fiftyone as fo
import pytest

import ntt_plugin as ntt
from ntt_plugin.app.operators import OPERATORS
from tests.app.driver import loaded
from tests.dataset.samples.test_checks import IMPOSSIBLE

WITH_BANK = [
    "load_references_view",
    "check_references",
    "get_memory_bank_info",
    "rename_memory_bank",
    "delete_memory_bank",
    "export_memory_bank",
    "promote_references",
    "add_negatives",
    "update_memory_bank",
]
WITH_LABELS = [
    "sample_references",
    "build_memory_bank",
    "masks_from_boxes",
    "evaluate_segmentation",
    "apply_thresholds",
    "compare_segmentations",
]
LEARNS = [
    "build_memory_bank",
    "sample_references",
    "add_references",
    "promote_references",
    "add_negatives",
    "update_memory_bank",
]
BUILD = {"label_field": "ground_truth", "name": "second", "preset": "tiny"}


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda o: o.operator_name)
def test_what_the_sdk_needs_the_form_requires_and_nothing_else(operator, plugin, worked_on):
    form = plugin.form(worked_on, operator.operator_name, params={"advanced": True})
    given = inspect.signature(getattr(ntt, operator.uses)).parameters
    needed = {
        name
        for name in operator.parameters
        if name in given and given[name].default is inspect._empty
    }
    required = {name for name, field in form.fields.items() if field.required}
    assert required == needed


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda o: o.operator_name)
def test_no_dataset_is_said(operator, plugin):
    form = plugin.form(None, operator.operator_name)
    assert "Open one first" in form.text()
    assert form.errors


@pytest.mark.parametrize("operator", WITH_BANK)
def test_without_a_bank_the_form_says_how_to_get_one(operator, plugin, bare):
    form = plugin.form(bare, operator)
    assert "Build memory bank" in form.text()
    assert form.errors


@pytest.mark.parametrize("operator", WITH_LABELS)
def test_without_labels_the_form_says_what_to_do(operator, plugin, bare):
    form = plugin.form(bare, operator)
    assert "Add labels first" in form.text()
    assert form.errors


def test_an_empty_dataset_is_said(plugin):
    dataset = fo.Dataset()
    try:
        assert (
            "has no images yet; add some first"
            in plugin.form(dataset, "segment_with_memory_bank").text()
        )
    finally:
        dataset.delete()


def test_segment_without_a_bank_is_no_dead_end(plugin, bare, worked_on):
    form = plugin.form(bare, "segment_with_memory_bank")
    assert "Build memory bank" in form.said("no_bank")
    assert worked_on.name in form.choices("bank_dataset")
    form = plugin.form(
        bare,
        "segment_with_memory_bank",
        params={"bank": "shapes", "bank_dataset": worked_on.name, "label_field": "ntt"},
    )
    assert form.errors == {}
    assert f"{len(bare)} images" in form.said("will_do")


def test_segment_takes_a_bank_from_a_file(plugin, bare, worked_on, tmp_path):
    file = tmp_path / "a.safetensors"
    ntt.load_memory_bank(worked_on, "shapes").save(file)
    params = {"bank": str(file), "label_field": "ntt"}
    assert plugin.form(bare, "segment_with_memory_bank", params=params).errors == {}


def test_a_banks_file_goes_with_what_the_form_fills_in(plugin, bare, worked_on, tmp_path):
    file = tmp_path / "a.safetensors"
    ntt.load_memory_bank(worked_on, "shapes").save(file)
    form = plugin.form(bare, "segment_with_memory_bank")
    params = {name: field.default for name, field in form.fields.items() if field.default}
    assert params["bank_dataset"] == bare.name
    plugin.run(bare, "segment_with_memory_bank", {**params, "bank": str(file)})
    assert len(bare.exists("ntt")) == len(bare)


def test_a_banks_file_beside_another_dataset_is_marked(plugin, bare, worked_on, tmp_path):
    file = tmp_path / "a.safetensors"
    ntt.load_memory_bank(worked_on, "shapes").save(file)
    params = {"bank": str(file), "bank_dataset": worked_on.name}
    form = plugin.form(bare, "segment_with_memory_bank", params=params)
    assert list(form.errors) == ["bank_dataset"]


@pytest.mark.parametrize("operator", ["segment_with_memory_bank", "suggest_references"])
@pytest.mark.parametrize("others", [True, False])
def test_a_banks_dataset_that_was_deleted_is_marked(operator, others, plugin, bare, monkeypatch):
    if not others:
        monkeypatch.setattr(loaded(plugin, "app.forms.bank_choice"), "datasets_with_banks", list)
    params = {"bank": "shapes", "bank_dataset": "deleted_meanwhile"}
    form = plugin.form(bare, operator, params=params)
    assert list(form.errors) == ["bank_dataset"]
    assert "'deleted_meanwhile'" in form.errors["bank_dataset"]


def test_a_file_that_is_no_bank_is_marked_at_its_field(plugin, bare, tmp_path):
    file = tmp_path / "a.safetensors"
    file.write_bytes(b"no bank")
    form = plugin.form(bare, "segment_with_memory_bank", params={"bank": str(file)})
    assert list(form.errors) == ["bank"]
    assert list(plugin.form(bare, "import_memory_bank", params={"path": str(file)}).errors) == [
        "path"
    ]


@pytest.mark.parametrize("path", IMPOSSIBLE, ids=["user", "long", "nul", "long name"])
@pytest.mark.parametrize(
    ("operator", "field"),
    [
        ("export_memory_bank", "path"),
        ("import_memory_bank", "path"),
        ("segment_with_memory_bank", "bank"),
        ("segment_with_memory_bank", "mask_dir"),
    ],
)
def test_a_path_that_there_cannot_be_is_marked(operator, field, path, plugin, worked_on):
    path = path if path.endswith(".safetensors") else f"{path}.safetensors"
    params = {"bank": "shapes", "name": "shapes"} | {field: path}
    form = plugin.form(worked_on, operator, params=params)
    assert list(form.errors) == [field]
    assert "give another path" in form.errors[field]


def test_an_unknown_bank_is_marked_with_those_there_are(plugin, worked_on):
    form = plugin.form(worked_on, "segment_with_memory_bank", params={"bank": "none"})
    assert "'shapes'" in form.errors["bank"]


def test_only_fields_of_detections_are_offered_to_be_scored(plugin, dataset):
    dataset.add_sample_field("words", fo.StringField)
    form = plugin.form(dataset, "evaluate_segmentation")
    assert set(form.choices("label_field")) == {"ground_truth", "ntt", "boxes"}
    assert form.default("label_field") == "ntt"
    assert form.default("gt_field") == "ground_truth"
    assert "ntt" not in form.choices("gt_field")


def test_classes_come_with_counts(plugin, worked_on):
    counts = worked_on.count_values("ground_truth.detections.label")
    form = plugin.form(worked_on, "build_memory_bank", params={"advanced": True})
    assert form.choices("classes") == {name: f"{name} ({n})" for name, n in sorted(counts.items())}


def test_counts_are_those_of_the_chosen_samples(plugin, worked_on):
    one = worked_on.limit(1)
    form = plugin.form(worked_on, "sample_references", view=one)
    assert set(form.choices("classes")) == set(one.distinct("ground_truth.detections.label"))


def test_selected_samples_are_the_target_at_first(plugin, worked_on):
    chosen = worked_on.values("id")[:2]
    form = plugin.form(
        worked_on, "segment_with_memory_bank", selected=chosen, params={"bank": "shapes"}
    )
    assert form.default("view_target") == "SELECTED_SAMPLES"
    params = {"bank": "shapes", "label_field": "found"}
    form = plugin.form(worked_on, "segment_with_memory_bank", selected=chosen, params=params)
    assert "2 images" in form.said("will_do")


def test_where_all_is_done_the_form_says_that_nothing_is_left(plugin, worked_on):
    params = {"bank": "shapes", "label_field": "ntt"}
    done = worked_on.match_tags("target")
    form = plugin.form(worked_on, "segment_with_memory_bank", view=done, params=params)
    assert "nothing left to do" in form.said("will_do")
    params["overwrite"] = True
    form = plugin.form(worked_on, "segment_with_memory_bank", view=done, params=params)
    assert "labels into 'ntt' of 2 images" in form.said("will_do")


def test_of_labels_without_masks_no_bank_is_announced(plugin, worked_on):
    params = {**BUILD, "label_field": "boxes"}
    form = plugin.form(worked_on, "build_memory_bank", params=params)
    assert "Masks from boxes" in form.errors["label_field"]
    assert "will_do" not in form.fields


@pytest.mark.parametrize(
    ("operator", "params"),
    [
        ("build_memory_bank", {**BUILD, "classes": ["unicorn"]}),
        ("segment_with_memory_bank", {"bank": "shapes", "label_field": "new", "batch_size": 0}),
        ("evaluate_segmentation", {"label_field": "ntt", "gt_field": "boxes"}),
    ],
)
def test_beside_an_error_nothing_is_announced(operator, params, plugin, worked_on):
    form = plugin.form(worked_on, operator, params=params)
    assert form.errors
    assert "will_do" not in form.fields


def test_what_a_tick_would_replace_is_announced(plugin, worked_on):
    form = plugin.form(worked_on, "build_memory_bank", params={**BUILD, "name": "shapes"})
    assert list(form.errors) == ["overwrite"]
    assert "Will save the bank 'shapes'" in form.said("will_do")


def test_selected_labels_alone_are_learned_from(plugin, dataset):
    sample = dataset.first()
    label = sample["ground_truth"].detections[0]
    selected = [{"label_id": label.id, "sample_id": sample.id, "field": "ground_truth"}]
    form = plugin.form(dataset, "build_memory_bank", selected_labels=selected, params=BUILD)
    assert form.default("view_target") == "SELECTED_LABELS"
    assert "up to 1 reference" in form.said("will_do")


def test_the_field_that_lacks_masks_is_offered_to_be_filled(plugin, worked_on):
    form = plugin.form(worked_on, "masks_from_boxes", params={"preset": "tiny"})
    assert form.fields["label_field"].default == "boxes"


@pytest.mark.parametrize("operator", LEARNS)
def test_boxes_alone_are_sent_to_masks_from_boxes(operator, plugin, worked_on):
    form = plugin.form(worked_on, operator, params={"label_field": "boxes"})
    assert "Masks from boxes" in form.errors["label_field"]


def test_a_class_that_is_not_there_is_marked(plugin, worked_on):
    form = plugin.form(worked_on, "build_memory_bank", params={**BUILD, "classes": ["unicorn"]})
    assert "'unicorn'" in form.errors["classes"]


@pytest.mark.parametrize(
    ("operator", "params", "field"),
    [
        ("build_memory_bank", {**BUILD, "name": "a-b"}, "name"),
        ("segment_with_memory_bank", {"bank": "shapes", "label_field": "1st"}, "label_field"),
        ("rename_memory_bank", {"name": "shapes", "new_name": "a b"}, "new_name"),
        ("rename_memory_bank", {"name": "shapes", "new_name": "shapes"}, "new_name"),
        ("sample_references", {"label_field": "ground_truth", "shots": 0, "tag": "few"}, "shots"),
        ("segment_with_memory_bank", {"bank": "shapes", "batch_size": 0}, "batch_size"),
        ("export_memory_bank", {"name": "shapes", "path": "/nowhere/a.safetensors"}, "path"),
        ("export_memory_bank", {"name": "shapes", "path": "bank.txt"}, "path"),
        ("segment_with_memory_bank", {"bank": "shapes", "label_field": "boxes"}, "label_field"),
    ],
)
def test_a_bad_value_is_marked_at_its_field(operator, params, field, plugin, worked_on):
    form = plugin.form(worked_on, operator, params=params)
    assert list(form.errors) == [field]
    assert len(form.errors[field]) > 10


@pytest.mark.parametrize(
    ("operator", "params"),
    [
        ("build_memory_bank", {**BUILD, "name": "shapes"}),
        ("segment_with_memory_bank", {"bank": "shapes", "label_field": "ntt", "preset": "fast"}),
        # Labels of a memory bank, where masks of boxes are to go.
        ("masks_from_boxes", {"label_field": "boxes", "new_field": "ntt", "preset": "tiny"}),
    ],
)
def test_what_would_be_replaced_must_be_ticked(operator, params, plugin, worked_on):
    form = plugin.form(worked_on, operator, params=params)
    assert form.warns()
    assert list(form.errors) == ["overwrite"]
    assert plugin.form(worked_on, operator, params={**params, "overwrite": True}).errors == {}


def test_a_run_that_was_interrupted_is_offered_to_go_on(plugin, worked_on):
    form = plugin.form(
        worked_on, "segment_with_memory_bank", params={"bank": "shapes", "label_field": "ntt"}
    )
    assert form.errors == {}
    assert "2 of these 5 images are done" in form.fields["overwrite"].view.description
    assert "3 images" in form.said("will_do")


BOXES = {"label_field": "boxes", "new_field": "masks", "preset": "tiny"}


def test_masks_of_boxes_that_were_interrupted_are_offered_to_go_on(plugin, dataset):
    ntt.masks_from_boxes(dataset.limit(2), "boxes", "masks", preset="tiny", progress=False)
    left = len(dataset.skip(2).values("boxes.detections", unwind=True))
    form = plugin.form(dataset, "masks_from_boxes", params=BOXES)
    assert form.errors == {}
    assert "2 of these 5 images are done" in form.fields["overwrite"].view.description
    assert f"up to {left} masks into 'masks' of 3 images" in form.said("will_do")
    form = plugin.form(dataset, "masks_from_boxes", params={**BOXES, "overwrite": True})
    every = dataset.count("boxes.detections")
    assert f"up to {every} masks into 'masks' of 5 images" in form.said("will_do")


def test_masks_of_other_boxes_must_be_ticked(plugin, dataset):
    ntt.masks_from_boxes(dataset.limit(2), "boxes", "masks", preset="tiny", progress=False)
    form = plugin.form(dataset, "masks_from_boxes", params={**BOXES, "label_field": "ground_truth"})
    assert list(form.errors) == ["overwrite"]
    assert "2 of these 5 images" in form.said("replaces")


@pytest.mark.parametrize("field", ["boxes", "ground_truth", "filepath"])
@pytest.mark.parametrize("tick", [False, True])
def test_masks_never_go_into_a_field_that_no_run_made(field, tick, plugin, worked_on):
    params = {**BOXES, "new_field": field, "overwrite": tick}
    form = plugin.form(worked_on, "masks_from_boxes", params=params)
    assert list(form.errors) == ["new_field"]
    assert "choose another name" in form.errors["new_field"]


@pytest.mark.parametrize(
    ("operator", "params"),
    [
        ("segment_with_memory_bank", {"bank": "shapes", "label_field": "ntt"}),
        ("masks_from_boxes", {"label_field": "boxes", "new_field": "ntt", "preset": "tiny"}),
    ],
)
def test_samples_are_looked_through_once_while_a_form_is_open(
    operator, params, plugin, dataset, monkeypatch
):
    passes = []
    whole = fo.DatasetView.values

    def counting(view, fields, *args, **kwargs):
        passes.append(fields)
        return whole(view, fields, *args, **kwargs)

    form = plugin.form(dataset, operator, params=params, prompt_id="a prompt")
    monkeypatch.setattr(fo.DatasetView, "values", counting)
    again = plugin.form(dataset, operator, params=params, prompt_id="a prompt")
    assert not [fields for fields in passes if isinstance(fields, list)]
    assert again.text() == form.text()


def must_be_ticked(plugin, dataset, operator, params):
    form = plugin.form(dataset, operator, params=params)
    ticked = plugin.form(dataset, operator, params={**params, "overwrite": True})
    assert ticked.errors == {}
    return form.warns() and list(form.errors) == ["overwrite"]


def test_an_evaluation_of_that_name_must_be_ticked(plugin, dataset):
    ntt.evaluate(dataset.match_tags("target"), "ntt", "ground_truth", "score")
    params = {"label_field": "ntt", "gt_field": "ground_truth", "eval_key": "score"}
    assert must_be_ticked(plugin, dataset, "evaluate_segmentation", params)
    plugin.run(dataset, "evaluate_segmentation", {**params, "overwrite": True})
    params["eval_key"] = "other"
    assert not must_be_ticked(plugin, dataset, "evaluate_segmentation", params)


def test_a_tag_that_will_move_must_be_ticked(plugin, worked_on):
    params = {"label_field": "ground_truth", "tag": "reference"}
    assert must_be_ticked(plugin, worked_on, "sample_references", params)
    params["tag"] = "other"
    assert not must_be_ticked(plugin, worked_on, "sample_references", params)


def test_downloads_are_named_with_their_size(plugin, worked_on):
    form = plugin.form(worked_on, "build_memory_bank", params={**BUILD, "preset": "paper"})
    assert "facebook/dinov2-large (a download, 1,218 MB)" in form.said("downloads")
    assert "downloads" not in plugin.form(worked_on, "build_memory_bank", params=BUILD).fields


def test_a_time_is_said_once_a_run_was_measured(plugin, dataset, bare):
    params = {"bank": "shapes", "label_field": "other", "cache": False}
    form = plugin.form(dataset, "segment_with_memory_bank", params=params)
    assert "as fast as the last run here" in form.said("will_do")
    params |= {"bank_dataset": "app_tests"}
    form = plugin.form(bare, "segment_with_memory_bank", params=params)
    assert "Takes" not in form.said("will_do")


def test_kept_proposals_are_counted_in_the_time(plugin, dataset):
    ntt.propose(dataset, "tiny", progress=False)
    for operator in ("segment_with_memory_bank", "suggest_references", "compute_proposals"):
        params = {"bank": "shapes", "label_field": "other", "preset": "tiny"}
        form = plugin.form(dataset, operator, params=params)
        assert "the proposals of all of them are kept" in form.said("will_do")


def test_of_a_run_that_goes_on_the_images_that_are_left_are_looked_at(plugin, dataset, tmp_path):
    dataset.add_samples([fo.Sample(filepath=str(tmp_path / "new.png"))])
    left = dataset.exists("ntt", bool=False)
    ntt.propose(left, "tiny", progress=False)
    params = {"bank": "shapes", "label_field": "ntt"}
    form = plugin.form(dataset, "segment_with_memory_bank", params=params)
    assert f"the proposals of {len(left) - 1} of them are kept" in form.said("will_do")


def test_slices_are_asked_for_in_a_grouped_dataset_alone(plugin, dataset):
    assert "group_slices" not in plugin.form(dataset, "build_memory_bank").fields
    grouped = fo.Dataset()
    grouped.add_group_field("group", default="left")
    group = fo.Group()
    path, labels = dataset.last().filepath, dataset.last()["ground_truth"]
    grouped.add_samples(
        [
            fo.Sample(filepath=path, group=group.element("left"), ground_truth=labels.copy()),
            fo.Sample(filepath=path, group=group.element("right")),
        ]
    )
    try:
        form = plugin.form(grouped, "build_memory_bank", params=BUILD)
        assert set(form.choices("group_slices")) == {"left", "right"}
        assert f"up to {len(labels.detections)} references" in form.said("will_do")
    finally:
        grouped.delete()


def test_advanced_settings_are_folded(plugin, worked_on):
    form = plugin.form(worked_on, "segment_with_memory_bank")
    assert not {"device", "batch_size", "preset", "mask_dir"} & set(form.fields)
    form = plugin.form(worked_on, "segment_with_memory_bank", params={"advanced": True})
    assert {"device", "batch_size", "preset", "mask_dir"} <= set(form.fields)
