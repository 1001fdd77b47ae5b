"""What a run takes, as ``--dry-run`` says it."""

import shutil

import pytest

from benchmarks.published import plan
from benchmarks.published.reproduce import TABLES, recipe_for
from tests.benchmarks.imitations import make_cdfsod, make_coco


def described(name, folder, shots, parts=None, **options):
    table = TABLES[name]
    recipe = recipe_for(table, options.pop("preset", "paper"))
    return plan.describe(table, parts or table.parts, shots, 33, recipe, folder, "cuda", **options)


@pytest.mark.parametrize(
    ("name", "shots", "images", "references"),
    [
        ("coco", 30, "5,000 to segment", "600 for all parts: 20 classes x 30"),
        ("voc", 5, "4,952 to segment, once for 3 parts", "75 for all parts: 15 classes x 5"),
        ("cdfsod", 1, "not known before the data are there", "57 for all parts"),
        ("lvis", 10, "19,809 to segment", "12,030 for all parts: 1203 classes x 10"),
    ],
)
def test_images_and_references_of_each_table(name, shots, images, references, tmp_path):
    text = described(name, tmp_path, shots)
    assert f"images      {images}" in text
    assert f"references  {references}" in text


def test_hours_follow_from_images_and_speed(tmp_path):
    text = described("coco", tmp_path, 10, images_per_second=0.5)
    assert "2.8 hours at 0.5 images a second on cuda, which you gave" in text


def test_less_than_an_hour_is_said_in_minutes(tmp_path):
    assert "42 minutes at 2 images" in described("coco", tmp_path, 10, images_per_second=2)
    text = described("cdfsod", tmp_path, 10, images_per_second=2)
    assert "9 minutes for each 1,000 images" in text


def test_a_speed_that_nobody_measured_is_called_a_guess(tmp_path):
    assert "a guess, for the preset paper, not yours" in described("coco", tmp_path, 10)


def test_downloads_are_listed_with_their_sizes_and_the_room(tmp_path):
    free = shutil.disk_usage(tmp_path).free / 1e9
    text = described("voc", tmp_path / "voc", 1)
    assert "about 2.9 GB to fetch" in text
    assert "VOCtest_06-Nov-2007.tar (0.45 GB)" in text
    assert f"5.8 GB of disk, {free:.0f} GB are free" in text


def test_data_that_you_fetch_yourself_are_missed_by_name(tmp_path):
    text = described("lvis", tmp_path, 1)
    assert f"lacks 2 annotation files, the first {tmp_path}/lvis_v1_val.json; you fetch" in text


def test_data_that_are_there_are_counted(tmp_path):
    make_cdfsod(tmp_path)
    text = described("cdfsod", tmp_path, 1, parts=["DeepFish", "UODD"])
    assert "images      2 to segment" in text
    assert f"data        {tmp_path} is there" in text


def test_speed_is_measured_where_networks_and_images_are_there(tmp_path):
    make_coco(tmp_path)
    recipe = recipe_for(TABLES["coco"], "tiny")
    rate, source = plan.speed(recipe, tmp_path, "cpu")
    assert rate > 0
    assert source == "measured on 3 of your images"
