"""The protocol of CD-FSOD, on an imitation of its folders."""

import json

import pytest

from benchmarks.published import cdfsod
from benchmarks.published.cdfsod import TABLE
from ntt_plugin.errors import DatasetError
from tests.benchmarks.imitations import make_cdfsod


@pytest.fixture
def folder(tmp_path):
    make_cdfsod(tmp_path)
    return tmp_path


def test_the_references_are_those_of_the_benchmarks_own_file(folder):
    task = cdfsod.load(folder, "UODD", 1)
    assert [a["id"] for a in TABLE.choose(task, 1, seed=33)] == [1, 2, 3]
    assert [a["id"] for a in TABLE.choose(task, 1, seed=34)] == [1, 2, 3]


def test_the_score_of_a_box_that_is_too_low_is_that_worked_out_by_hand(folder, run):
    # IoU 40/52 = 0.77: right at the thresholds 0.5, 0.55, ... 0.75, which are six of ten.
    figures = run(TABLE, cdfsod.load(folder, "DeepFish", 1), 1).figures
    assert figures == {"DeepFish AP": pytest.approx(0.6)}


def test_the_score_of_three_classes_is_their_mean(folder, run):
    figures = run(TABLE, cdfsod.load(folder, "UODD", 1), 1).figures
    assert figures == {"UODD AP": pytest.approx(2 / 3)}


def test_another_number_of_classes_is_another_dataset(folder):
    path = folder / "UODD/annotations/1_shot.json"
    content = json.loads(path.read_text())
    content["annotations"].pop()
    path.write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=r"references of 2 classes and UODD has 3"):
        cdfsod.load(folder, "UODD", 1)


def test_missing_images_are_counted_and_the_first_is_named(folder):
    (folder / "FISH/test/b.jpg").unlink()
    with pytest.raises(DatasetError, match=r"lacks 1 of the 1 images .*, the first b.jpg"):
        cdfsod.load(folder, "DeepFish", 1)
