import random

import pytest

from ntt_plugin.dataset.references.coco_few_shot import is_valid_reference, sample_few_shot

IMAGE = {"id": 1, "width": 200, "height": 100}


def annotation(bbox, iscrowd=0):
    return {"id": 1, "image_id": 1, "category_id": 1, "bbox": bbox, "iscrowd": iscrowd}


@pytest.mark.parametrize(
    ("bbox", "valid"),
    [
        ([10, 10, 32, 32], True),
        ([158, 58, 32, 32], True),
        ([9.9, 10, 40, 40], False),
        ([10, 9.9, 40, 40], False),
        ([50, 30, 31.9, 40], False),
        ([50, 30, 40, 31.9], False),
        ([150, 30, 40.1, 40], False),
        ([50, 50, 40, 40.1], False),
    ],
)
def test_a_reference_is_32_pixels_and_10_from_each_border(bbox, valid):
    assert is_valid_reference(IMAGE, annotation(bbox)) is valid


def test_a_crowd_is_no_reference():
    assert not is_valid_reference(IMAGE, annotation([50, 30, 40, 40], iscrowd=1))


def file_of(categories, per_image=1, bbox=(50, 30, 40, 40)):
    """An annotation file: one image each ``per_image`` annotations, of the given categories."""
    annotations = [
        {
            "id": 100 + index,
            "image_id": index // per_image,
            "category_id": category,
            "bbox": list(bbox),
            "iscrowd": 0,
        }
        for index, category in enumerate(categories)
    ]
    count = -(-len(categories) // per_image)
    return {
        "images": [{"id": index, "width": 200, "height": 100} for index in range(count)],
        "annotations": annotations,
    }


def test_one_generator_shuffles_classes_in_order_of_first_mention():
    coco = file_of([7, 3, 7, 3, 3, 7, 7])
    random.seed(33)
    expected = []
    for category, ids in ((7, [100, 102, 105, 106]), (3, [101, 103, 104])):
        random.shuffle(ids)
        expected += [(category, chosen) for chosen in ids[:2]]

    found = sample_few_shot(coco, shots=2, seed=33)

    assert [(r["category_id"], r["annotation_id"]) for r in found] == expected


def test_an_image_serves_a_class_once():
    found = sample_few_shot(file_of([1] * 12, per_image=4), shots=5, seed=0)
    assert sorted(reference["image_id"] for reference in found) == [0, 1, 2]


def test_classes_left_out_do_not_move_the_generator():
    with_others = file_of([9, 1, 9, 1, 9, 1])
    without = {**with_others, "annotations": with_others["annotations"][1::2]}
    assert sample_few_shot(with_others, 2, 5, category_ids={1}) == sample_few_shot(without, 2, 5)


def test_lvis_repeats_a_rare_class_from_its_start():
    found = sample_few_shot(file_of([1, 1]), shots=5, seed=0, lvis=True)
    ids = [reference["annotation_id"] for reference in found]
    assert ids == [ids[0], ids[1], ids[0], ids[1], ids[0]]


def test_lvis_takes_invalid_objects_only_where_there_are_no_others():
    small = file_of([1, 1], bbox=(50, 30, 5, 5))
    assert sample_few_shot(small, 2, 0) == []
    assert len(sample_few_shot(small, 2, 0, lvis=True)) == 2


def test_lvis_takes_several_invalid_objects_of_one_image():
    small = file_of([1, 1, 1], per_image=3, bbox=(50, 30, 5, 5))
    found = sample_few_shot(small, 2, 0, lvis=True)
    assert [reference["image_id"] for reference in found] == [0, 0]
    assert len({reference["annotation_id"] for reference in found}) == 2
