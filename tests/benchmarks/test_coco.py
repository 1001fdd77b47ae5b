"""The protocol of COCO's novel classes, on an imitation of its files."""

import random

import fiftyone.zoo as foz
import pytest

from benchmarks.published import coco
from benchmarks.published.coco import TABLE
from ntt_plugin.errors import DatasetError
from tests.benchmarks.imitations import make_coco


@pytest.fixture
def task(tmp_path):
    make_coco(tmp_path)
    return coco.load(tmp_path, "", 2)


def test_the_references_are_those_that_the_protocol_gives_by_hand(task):
    # Of each image n: cat 97 + 3n, person 98 + 3n. Cat 100 is too small, person 104 a crowd.
    random.seed(33)
    cats, persons = list(range(100, 118, 3)), list(range(101, 118, 3))
    random.shuffle(cats)
    random.shuffle(persons)
    expected = [key for key in cats if key != 100][:2] + [key for key in persons if key != 104][:2]
    assert [a["id"] for a in TABLE.choose(task, 2, 33)] == expected


def test_the_score_is_that_worked_out_by_hand(task, run):
    figures = run(TABLE, task, 2).figures
    # Persons: two of three, no false one, so precision is 1 at the recalls 0, 0.01, ... 0.66.
    ap = (67 / 101 + 1) / 2
    assert figures == {
        f"{kind} {name}": pytest.approx(ap)
        for kind in ("bbox", "segm")
        for name in ("AP", "AP50", "AP75")
    }


def test_the_zoo_is_asked_for_no_other_training_images_than_the_references(
    task, tmp_path, monkeypatch
):
    asked = []
    monkeypatch.setattr(coco, "is_zoo", lambda folder: True)
    monkeypatch.setattr(foz, "download_zoo_dataset", lambda name, **what: asked.append(what))
    (tmp_path / "train2017" / "000000000002.jpg").unlink()
    (tmp_path / "train2017" / "000000000003.jpg").unlink()
    cat, person = (a for a in task.train["annotations"] if a["id"] in (103, 101))

    coco.fetch(tmp_path)
    coco.fetch_references(tmp_path, task, [cat, person])

    assert asked == [{"split": "validation"}, {"split": "train", "image_ids": [2]}]


def test_a_zoo_that_cannot_be_reached_is_said_in_a_sentence(tmp_path, monkeypatch):
    def fail(name, **what):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(coco, "is_zoo", lambda folder: True)
    monkeypatch.setattr(foz, "download_zoo_dataset", fail)
    with pytest.raises(DatasetError, match=r"cannot fetch COCO .no route to host.*--data"):
        coco.fetch(tmp_path)


def test_the_folders_of_the_zoo_are_known_too(tmp_path):
    assert coco.layout(tmp_path) == (
        tmp_path / "raw",
        tmp_path / "train" / "data",
        tmp_path / "validation" / "data",
    )
