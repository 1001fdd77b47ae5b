import os

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

from ntt_plugin.dataset.inspect import thumbnails
from ntt_plugin.dataset.inspect.thumbnails import (
    label_thumbnail,
    reference_thumbnail,
    reference_thumbnails,
)
from ntt_plugin.engine.references import Provenance
from ntt_plugin.worker.labels.boxes import relative_box
from tests.dataset import scenes

OUTLINE = (255, 196, 0)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("NTT_CACHE_DIR", str(folder))
    return folder


@pytest.fixture
def sample(dataset):
    return dataset.first()


def detection(sample, label):
    return next(one for one in sample.ground_truth.detections if one.label == label)


def provenance(dataset, sample, label="green"):
    box = tuple(float(edge) for edge in scenes.blocks(0)[label])
    return Provenance(dataset.name, sample.id, detection(sample, label).id, box)


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def near(colours, colour):
    """Where a picture has a colour, but for what JPEG makes of it."""
    return np.abs(colours - colour).max(axis=-1) < 60


def test_the_object_is_in_the_middle_and_bright(dataset, sample):
    shown = pixels(reference_thumbnail(provenance(dataset, sample)))
    assert shown.shape == (96, 96, 3)
    assert near(shown[48, 48], scenes.COLOURS["green"])
    assert near(shown, scenes.COLOURS["green"]).mean() > 0.2


def test_its_mask_is_outlined(dataset, sample):
    shown = pixels(reference_thumbnail(provenance(dataset, sample), side=192))
    rows, columns = np.nonzero(near(shown, OUTLINE))
    x1, y1, x2, y2 = scenes.blocks(0)["green"]
    # The block's sides as they are in the picture, whatever the window.
    assert abs((np.ptp(columns) / np.ptp(rows)) / ((x2 - x1) / (y2 - y1)) - 1) < 0.05


def test_what_is_around_it_is_dimmed(dataset, sample):
    sample["ground_truth"].detections[0].mask = np.eye(25, 20, dtype=bool)
    sample.save()
    label = sample.ground_truth.detections[0]
    shown = pixels(reference_thumbnail(Provenance(dataset.name, sample.id, label.id)))
    colour = np.array(scenes.COLOURS[label.label])
    assert near(shown, colour * 0.4).mean() > near(shown, colour).mean()


def test_a_mask_in_a_file_and_a_polygon_give_the_same_picture(dataset, sample, tmp_path):
    box = scenes.blocks(0)["green"]
    x1, y1, x2, y2 = box
    path = tmp_path / "mask.png"
    Image.fromarray(np.full((y2 - y1, x2 - x1), 255, np.uint8)).save(path)
    relative = relative_box(box, scenes.SIZE)
    x, y, w, h = relative
    sample["shapes"] = fo.Polylines(
        polylines=[
            fo.Polyline(
                points=[[(x, y), (x + w, y), (x + w, y + h), (x, y + h)]], closed=True, filled=True
            )
        ]
    )
    sample["files"] = fo.Detections(
        detections=[fo.Detection(bounding_box=relative, mask_path=str(path))]
    )
    sample.save()
    expected = pixels(reference_thumbnail(provenance(dataset, sample)))
    for label in (sample.shapes.polylines[0], sample.files.detections[0]):
        found = reference_thumbnail(Provenance(dataset.name, sample.id, label.id))
        assert np.array_equal(pixels(found), expected)


def test_a_label_shows_as_the_reference_that_it_is(dataset, sample):
    expected = reference_thumbnail(provenance(dataset, sample))
    in_view = dataset.view().first()
    for found in (sample, in_view):
        assert pixels(label_thumbnail(found, detection(found, "green"))).shape == (96, 96, 3)
        assert np.array_equal(
            pixels(label_thumbnail(found, detection(found, "green"))), pixels(expected)
        )


def test_nothing_is_drawn_twice(dataset, sample, monkeypatch):
    first = reference_thumbnail(provenance(dataset, sample))
    monkeypatch.setattr(thumbnails, "read_image", None)
    assert reference_thumbnail(provenance(dataset, sample)) == first


@pytest.mark.parametrize("change", ["mask", "image", "mask file"])
def test_what_was_changed_is_drawn_anew(dataset, sample, tmp_path, change):
    if change == "mask file":
        path = tmp_path / "mask.png"
        Image.fromarray(np.full((25, 20), 255, np.uint8)).save(path)
        detection(sample, "green").mask = None
        detection(sample, "green")["mask_path"] = str(path)
        sample.save()
    before = pixels(reference_thumbnail(provenance(dataset, sample)))
    if change == "mask":
        detection(sample, "green").mask = np.eye(25, 20, dtype=bool)
        sample.save()
    elif change == "image":
        Image.fromarray(255 - scenes.draw(0)).save(sample.filepath)
        os.utime(sample.filepath, ns=(1, 1))
    else:
        Image.fromarray(np.eye(25, 20, dtype=np.uint8) * 255).save(path)
        os.utime(path, ns=(1, 1))
    after = pixels(reference_thumbnail(provenance(dataset, sample)))
    assert not np.array_equal(after, before)


def test_without_its_label_the_box_is_drawn(dataset, sample):
    gone = provenance(dataset, sample)
    sample.ground_truth.detections = []
    sample.save()
    shown = pixels(reference_thumbnail(gone))
    assert near(shown[48, 48], scenes.COLOURS["green"])
    assert near(shown, OUTLINE).any()


def test_a_label_without_a_mask_shows_its_box(sample):
    shown = pixels(
        label_thumbnail(sample, fo.Detection(bounding_box=detection(sample, "green").bounding_box))
    )
    assert near(shown, OUTLINE).any()


def test_what_cannot_be_shown_is_none(dataset, sample):
    known = provenance(dataset, sample)
    nowhere = [
        Provenance(),
        Provenance("no such dataset", known.sample, known.label, known.box),
        Provenance(dataset.name, known.sample, None, None),
        Provenance(dataset.name, known.sample, None, (-90.0, -90.0, -80.0, -80.0)),
    ]
    assert reference_thumbnails([*nowhere, known])[:4] == [None] * 4
    assert label_thumbnail(sample, fo.Detection()) is None
    assert label_thumbnail(sample, fo.Polyline()) is None


@pytest.mark.parametrize("damage", ["missing", "no image"])
def test_an_image_that_cannot_be_read_is_none(dataset, sample, damage):
    os.remove(sample.filepath)
    if damage == "no image":
        with open(sample.filepath, "wb") as file:
            file.write(b"no image")
    assert reference_thumbnail(provenance(dataset, sample)) is None


def test_a_cache_folder_that_cannot_be_is_none(dataset, sample, cache):
    cache.write_text("a file where the folder should be")
    assert reference_thumbnail(provenance(dataset, sample)) is None


def test_a_cache_folder_of_nobody_is_none(dataset, sample, monkeypatch):
    monkeypatch.setenv("NTT_CACHE_DIR", "~nosuchuser/x")
    assert reference_thumbnail(provenance(dataset, sample)) is None


def test_many_come_in_the_order_asked_for(dataset):
    asked = [
        Provenance(dataset.name, sample.id, label.id)
        for sample in dataset
        for label in sample.ground_truth.detections
    ][::-1]
    found = reference_thumbnails([*asked, Provenance(), asked[3]])
    assert found == [*map(reference_thumbnail, asked), None, found[3]]
    assert len(set(found[:-2])) == len(asked)


def test_pictures_are_in_the_cache_folder_under_digests_alone(dataset, sample, cache):
    path = reference_thumbnail(provenance(dataset, sample))
    assert path.relative_to(cache).parts[0] == "thumbnails"
    assert len(path.stem) == 64 and path.suffix == ".jpg"


@pytest.mark.parametrize("kind", ["pipe", "link", "folder"])
def test_only_a_regular_file_is_handed_to_the_app(cache, tmp_path, kind):
    path = cache / "thumbnails" / "aa" / "aa1.jpg"
    path.parent.mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to(tmp_path / "secret")
    else:
        path.mkdir()
    found = thumbnails.kept_picture("aa1", lambda: Image.new("RGB", (8, 8)))
    # A folder cannot be replaced: then there is no picture.
    assert (found is None) == (kind == "folder")
    assert found is None or (found == path and path.is_file() and not path.is_symlink())


def test_a_full_folder_loses_what_was_not_used_for_longest(cache, monkeypatch):
    monkeypatch.setattr(thumbnails, "_MOST_IN_A_FOLDER", 3)
    picture = Image.new("RGB", (8, 8))
    keys = [f"aa{index}" for index in range(4)]
    paths = [thumbnails.kept_picture(key, lambda: picture) for key in keys[:3]]
    for age, path in enumerate(paths):
        os.utime(path, ns=(age, age))
    thumbnails.kept_picture(keys[0], lambda: picture)
    thumbnails.kept_picture(keys[3], lambda: picture)
    left = {path.stem for path in (cache / "thumbnails" / "aa").iterdir()}
    assert left == {keys[0], keys[2], keys[3]}
