"""The protocol of LVIS v1, on an imitation of its files."""

import json
import random

import pytest

from benchmarks.published import lvis
from benchmarks.published.lvis import TABLE
from ntt_plugin.errors import DatasetError
from tests.benchmarks.imitations import make_lvis


@pytest.fixture
def task(tmp_path):
    make_lvis(tmp_path)
    return lvis.load(tmp_path, "", 3)


def test_the_references_are_those_that_the_protocol_gives_by_hand(task):
    random.seed(33)
    rare, small, blue = [1], [11, 12, 13, 14], [21, 22, 23, 24]
    for keys in (rare, small, blue):
        random.shuffle(keys)
    # One valid object is repeated; where none is valid, invalid ones are taken.
    expected = [1, 1, 1, *small[:3], *blue[:3]]
    assert [a["id"] for a in TABLE.choose(task, 3, 33)] == expected


def test_images_lie_in_the_folders_that_their_addresses_name(task):
    assert [image["file_name"] for image in task.test["images"]] == [
        "val2017/000000000011.jpg",
        "val2017/000000000012.jpg",
        "train2017/000000000013.jpg",
    ]


def test_the_score_is_that_worked_out_by_hand(task, run):
    figures = run(TABLE, task, 3).figures
    # Rare: one of two, and what is found where not all are annotated is not wrong: precision 1 at
    # the recalls 0, 0.01, ... 0.5. Common: a false one before the right one. Frequent: all, and
    # the one in an image that was not checked for the class does not count.
    rare, common, frequent = 51 / 101, 1 / 2, 1
    ap = (rare + common + frequent) / 3
    assert figures == {
        "bbox AP": pytest.approx(ap),
        "segm AP": pytest.approx(ap),
        "segm APr": pytest.approx(rare),
        "segm APc": pytest.approx(common),
        "segm APf": pytest.approx(frequent),
    }


def test_a_file_of_coco_is_not_taken_for_one_of_lvis(tmp_path):
    make_lvis(tmp_path)
    path = tmp_path / "lvis_v1_val.json"
    content = json.loads(path.read_text())
    for image in content["images"]:
        del image["neg_category_ids"]
    path.write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=r"no 'neg_category_ids'.*not LVIS v1"):
        lvis.load(tmp_path, "", 1)
