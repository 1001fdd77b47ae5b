import uuid

import fiftyone as fo
import pytest
from fiftyone import ViewField as F

from ntt_plugin.dataset.samples.views import all_images, image_view, whole_images
from ntt_plugin.errors import DatasetError


@pytest.fixture
def make():
    made = []

    def build(samples=(), group=None):
        dataset = fo.Dataset(f"test_{uuid.uuid4().hex}")
        made.append(dataset)
        if group is not None:
            dataset.add_group_field("group", default=group)
        dataset.add_samples(list(samples), progress=False)
        return dataset

    yield build
    for dataset in made:
        dataset.delete()


@pytest.fixture
def grouped(make):
    """Two groups of a left and a right image, a video and a point cloud; left is active."""
    samples = []
    for index in range(2):
        group = fo.Group()
        for name, kind in (("left", "png"), ("right", "png"), ("film", "mp4"), ("cloud", "pcd")):
            path = f"/nowhere/{name}{index}.{kind}"
            samples.append(fo.Sample(filepath=path, group=group.element(name)))
    return make(samples, group="left")


def names(view):
    return [path.split("/")[-1].split(".")[0] for path in view.values("filepath")]


def test_images_pass_through_as_they_are(make):
    dataset = make([fo.Sample(filepath=f"/nowhere/{index}.png") for index in range(3)])
    view = dataset.limit(2)
    assert image_view(dataset) is dataset
    assert image_view(view) is view


def test_the_active_slice_stands_for_its_groups(grouped):
    assert names(image_view(grouped)) == ["left0", "left1"]
    grouped.group_slice = "right"
    assert names(image_view(grouped)) == ["right0", "right1"]


def test_a_views_own_active_slice_counts(grouped):
    view = grouped.limit(1)
    view.group_slice = "right"
    assert names(image_view(view)) == ["right0"]


@pytest.mark.parametrize(
    ("slices", "expected"),
    [
        ("right", {"right0", "right1"}),
        (["right"], {"right0", "right1"}),
        (("left", "right"), {"left0", "left1", "right0", "right1"}),
    ],
)
def test_named_slices_are_flattened(grouped, slices, expected):
    view = image_view(grouped, slices)
    assert view.media_type == "image"
    assert set(names(view)) == expected


@pytest.mark.parametrize(
    ("slices", "expected"),
    [
        (None, {"left0": 1, "left1": 2}),
        ("left", {"left0": 1, "left1": 2}),
        ("right", {"right0": 2, "right1": 3}),
        (["left", "right"], {"left0": 1, "left1": 2, "right0": 2, "right1": 3}),
        (["right", "left"], {"left0": 1, "left1": 2, "right0": 2, "right1": 3}),
    ],
)
@pytest.mark.parametrize("way", ["filter_labels", "select_labels", "exclude_labels"])
def test_labels_that_a_grouped_view_hides_stay_hidden_in_named_slices(
    grouped, slices, expected, way
):
    for sample in all_images(grouped).match(F("filepath").ends_with("png")):
        count = int(sample.filename[-5]) + ("right" in sample.filename)
        labels = [fo.Detection(label="seen") for _ in range(count + 1)]
        sample["objects"] = fo.Detections(detections=[*labels, fo.Detection(label="hidden")])
        sample.save()
    flat = grouped.select_group_slices(["left", "right"])
    ids = {
        name: flat.filter_labels("objects", F("label") == name).values(
            "objects.detections.id", unwind=True
        )
        for name in ("seen", "hidden")
    }
    view = {
        "filter_labels": lambda: grouped.filter_labels("objects", F("label") == "seen"),
        "select_labels": lambda: grouped.select_labels(ids=ids["seen"], fields="objects"),
        "exclude_labels": lambda: grouped.exclude_labels(ids=ids["hidden"], fields="objects"),
    }[way]()
    shown = image_view(view, slices)
    found = zip(names(shown), shown.values("objects.detections"), strict=True)
    assert {name: len(labels) for name, labels in found} == expected


def test_values_that_a_grouped_view_changes_are_those_of_named_slices(grouped):
    for sample in all_images(grouped).match(F("filepath").ends_with("png")):
        sample["objects"] = fo.Detections(detections=[fo.Detection(label="a")])
        sample.save()
    view = grouped.map_labels("objects", {"a": "b", "b": "c"})
    for slices in ("left", ["left", "right"]):
        assert image_view(view, slices).distinct("objects.detections.label") == ["b"]


def test_a_view_that_is_flat_already_passes(grouped):
    flat = grouped.select_group_slices(["left", "right"])
    assert image_view(flat) is flat


def test_every_image_of_every_slice_is_found_by_its_id(grouped):
    images = all_images(grouped).select_fields("filepath")
    for name in ("left", "right"):
        for sample_id in grouped.select_group_slices(name).values("id"):
            assert images[sample_id].id == sample_id


def test_labels_written_through_a_flat_view_are_the_datasets(grouped):
    view = image_view(grouped, ["left", "right"])
    for sample in view:
        sample["found"] = fo.Detections(detections=[fo.Detection(label="x")])
        sample.save()
    view.tag_labels("seen", label_fields="found")
    assert all_images(grouped).count_label_tags() == {"seen": 4}


@pytest.mark.parametrize(
    ("slices", "said"),
    [
        (["left", "middle"], "no group slice 'middle'; its slices of images are 'left', 'right'"),
        ("film", "'film' .* holds video samples; .*'left', 'right'"),
        ("cloud", "'cloud' .* holds point-cloud samples; .*'left', 'right'"),
        ([], "No slice .*'left', 'right'"),
    ],
)
def test_other_slices_are_refused_with_those_that_would_do(grouped, slices, said):
    with pytest.raises(DatasetError, match=said):
        image_view(grouped, slices)


def test_an_active_slice_of_videos_is_refused_with_the_remedy(grouped):
    grouped.group_slice = "film"
    with pytest.raises(DatasetError, match="name them with group_slices"):
        image_view(grouped)


def test_slices_of_plain_images_are_refused(make):
    dataset = make([fo.Sample(filepath="/nowhere/0.png")])
    with pytest.raises(DatasetError, match="not grouped"):
        image_view(dataset, "left")


def test_a_view_without_samples_is_refused(make, grouped):
    for view in (grouped.limit(0), grouped.match_tags("nobody")):
        with pytest.raises(DatasetError, match="holds no sample; widen it"):
            image_view(view)


def test_a_dataset_without_samples_is_refused_in_its_own_words(make):
    for samples in (make(), make().view()):
        with pytest.raises(DatasetError, match="has no images yet; add some first"):
            image_view(samples)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/nowhere/film.mp4", r"video samples; only images can be used.*to_frames"),
        ("/nowhere/cloud.pcd", r"point-cloud samples; only images can be used"),
        ("/nowhere/scene.fo3d", r"3d samples; only images can be used"),
    ],
)
def test_other_media_are_refused_with_the_remedy(make, path, said):
    with pytest.raises(DatasetError, match=said):
        image_view(make([fo.Sample(filepath=path)]))


def test_a_mix_of_media_is_refused_with_the_remedy(grouped):
    with pytest.raises(DatasetError, match=r"mixed samples.*slices that hold images"):
        image_view(grouped.select_group_slices(_allow_mixed=True))


def test_frames_are_refused_and_their_clone_is_not(make):
    film = fo.Sample(filepath="/nowhere/film.mp4")
    film.frames[1] = fo.Frame(filepath="/nowhere/film1.png")
    frames = make([film]).to_frames()
    with pytest.raises(DatasetError, match=r"clone\(\) it"):
        image_view(frames.limit(1))
    clone = frames.clone()
    try:
        assert image_view(clone) is clone
    finally:
        clone.delete()


def test_patches_are_refused_with_the_remedy(dataset):
    with pytest.raises(DatasetError, match="use the view of whole images"):
        image_view(dataset.to_patches("ground_truth"))


def test_dynamic_groups_are_refused_and_flattened_ones_are_not(make):
    dataset = make([fo.Sample(filepath=f"/nowhere/{i}.png", scene=str(i % 2)) for i in range(4)])
    view = dataset.group_by("scene")
    with pytest.raises(DatasetError, match=r"flatten\(\) it"):
        image_view(view)
    assert len(image_view(view.flatten())) == 4


def test_of_patches_the_whole_images_with_their_labels_are_meant(dataset):
    patches = dataset.to_patches("ground_truth").skip(2).limit(3)
    shown = patches.values("ground_truth.id")
    images = whole_images(patches)
    assert image_view(images) is images
    assert images.values("ground_truth.detections.id", unwind=True) == shown


def test_of_evaluation_patches_the_labels_of_both_fields_are_meant(dataset):
    dataset.clone_sample_field("ground_truth", "found")
    dataset.evaluate_detections("found", gt_field="ground_truth", eval_key="score", progress=False)
    patches = dataset.to_evaluation_patches("score").limit(2)
    images = whole_images(patches)
    for field in ("found", "ground_truth"):
        shown = patches.values(f"{field}.detections.id", unwind=True)
        assert images.values(f"{field}.detections.id", unwind=True) == shown
        assert len(shown) == 2


def test_a_view_of_images_is_itself(dataset):
    view = dataset.limit(1)
    assert whole_images(view) is view


def labelled(path, *labels):
    found = [fo.Detection(label=label, bounding_box=[0, 0, 1, 1]) for label in labels]
    return fo.Sample(filepath=path, found=fo.Detections(detections=found))


@pytest.fixture
def boxes(make):
    return make([labelled(f"/nowhere/{index}.png", "cat", "dog") for index in range(4)])


def test_a_sample_that_two_added_views_hold_is_given_once_and_noted(boxes):
    notes = []
    view = image_view(boxes.limit(3) + boxes.skip(2), notes=notes)
    assert view.values("id") == boxes.values("id")
    (note,) = notes
    assert "4 samples" in note and "1 repetitions" in note
    assert view.count("found.detections") == 8
    assert [view[sample].filepath for sample in boxes.values("id")] == boxes.values("filepath")


def test_without_a_list_of_notes_repetitions_are_logged(boxes, caplog):
    image_view(boxes.view() + boxes.view())
    assert "each is used once" in caplog.text


def test_added_views_that_share_nothing_are_left_as_they_are(boxes):
    view, notes = boxes.limit(2) + boxes.skip(2), []
    assert image_view(view, notes=notes) is view and notes == []


def test_what_each_added_view_shows_of_a_sample_is_shown(boxes):
    cats = boxes.filter_labels("found", F("label") == "cat")
    dogs = boxes.filter_labels("found", F("label") == "dog")
    assert image_view(cats + cats).count_values("found.detections.label") == {"cat": 4}
    both = image_view(cats + dogs + cats)
    assert both.count_values("found.detections.label") == {"cat": 4, "dog": 4}
    renamed = image_view(boxes.map_labels("found", {"cat": "lynx"}) + boxes.limit(1))
    assert renamed.count_values("found.detections.label") == {"lynx": 4, "dog": 4}


def test_a_field_that_was_never_written_stays_none(boxes):
    boxes.add_sample_field("part", fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    sample = boxes.first()
    sample["part"] = fo.Detections()
    sample.save()
    view = image_view(boxes.view() + boxes.view())
    assert [sample["part"] is None for sample in view] == [False, True, True, True]


def test_repetitions_in_views_of_slices_are_found(grouped):
    notes = []
    view = image_view(grouped.view() + grouped.limit(1), ["left", "right"], notes)
    assert sorted(names(view)) == ["left0", "left1", "right0", "right1"] and len(notes) == 1
