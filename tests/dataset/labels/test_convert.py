import random
import tracemalloc
from types import SimpleNamespace

import fiftyone as fo
import numpy as np
import pytest
from eta.core.geometry import BoundingBox
from fiftyone.utils.iou import _float_to_pixel
from PIL import Image

from ntt_plugin.dataset.labels.convert import label_defaults, pixel_box
from ntt_plugin.dataset.labels.placed_masks import full_mask, placed_mask
from ntt_plugin.engine.matching.match import Instances
from ntt_plugin.engine.references import Provenance, tight_box
from ntt_plugin.errors import DatasetError
from ntt_plugin.worker.labels.boxes import relative_box
from ntt_plugin.worker.labels.label_bytes import Origin, to_labels

ORIGIN = Origin("bank", 3, "tiny")


def random_instances(rng, image_size, count):
    height, width = image_size
    boxes, masks = [], []
    for _ in range(count):
        x1, x2 = sorted(rng.choice(width + 1, 2, replace=False))
        y1, y2 = sorted(rng.choice(height + 1, 2, replace=False))
        mask = rng.random((y2 - y1, x2 - x1)) < 0.5
        mask[0, 0] = mask[-1, -1] = mask[0, -1] = mask[-1, 0] = True
        boxes.append((x1, y1, x2, y2))
        masks.append(mask)
    return Instances(
        masks=masks,
        boxes=np.array(boxes, dtype=np.int64).reshape(-1, 4),
        scores=rng.random(count).astype(np.float32),
        labels=[f"class {index}" for index in range(count)],
        margins=rng.random(count).astype(np.float32),
        proposal_ious=rng.random(count).astype(np.float32),
        references=[f"reference {index}" for index in range(count)],
        image_size=image_size,
    )


@pytest.mark.parametrize("size", [(1, 1 + 1), (37, 53), (427, 640), (999, 1001), (3001, 61)])
def test_instances_survive_the_way_through_detections(size):
    instances = random_instances(np.random.default_rng(1), size, 40)

    made = to_labels(instances, ORIGIN)
    labels = [fo.Detection.from_dict(label.document(label_defaults())) for label in made]

    for index, label in enumerate(labels):
        x1, y1, x2, y2 = instances.boxes[index]
        mask = full_mask(label, size)
        assert tuple(tight_box(mask)) == (x1, y1, x2, y2)
        assert np.array_equal(mask[y1:y2, x1:x2], instances.masks[index])
    for name, values in [
        ("confidence", instances.scores),
        ("margin", instances.margins),
        ("proposal_iou", instances.proposal_ious),
        ("label", instances.labels),
        ("reference", instances.references),
    ]:
        assert [label[name] for label in labels] == list(values)


SIZES = [(1, 2), (37, 53), (99, 101), (333, 500), (427, 640), (480, 641), (600, 801), (999, 1001)]
SIZES += [(1080, 1919), (3001, 61)]


@pytest.mark.parametrize("size", SIZES)
def test_fiftyone_draws_the_same_pixels(size):
    """``to_segmentation`` cuts fractions off; COCO's evaluation and our reader round."""
    rng = np.random.default_rng(5)
    height, width = size
    for index in range(1000):
        x1, x2 = sorted(rng.choice(width + 1, 2, replace=False).tolist())
        y1, y2 = sorted(rng.choice(height + 1, 2, replace=False).tolist())
        x1, y1 = (x1, y1) if index % 3 else (0, 0)
        x2, y2 = (x2, y2) if index % 4 else (width, height)
        box = relative_box((x1, y1, x2, y2), size)
        assert box[0] >= 0 and box[1] >= 0
        assert box[0] + box[2] <= 1 and box[1] + box[3] <= 1
        assert pixel_box(fo.Detection(bounding_box=box), size) == (x1, y1, x2, y2)
        eta_box = BoundingBox.from_coords(box[0], box[1], box[0] + box[2], box[1] + box[3])
        assert eta_box.coords_in(frame_size=(width, height)) == (x1, y1, x2 - x1, y2 - y1)
        assert round((x2 - x1) / box[2]) == width and round((y2 - y1) / box[3]) == height
        assert _float_to_pixel(box, width, height) == (x1, y1, x2, y2)


def test_fiftyone_draws_labels_of_a_run_exactly():
    size = (427, 641)
    instances = random_instances(np.random.default_rng(6), size, 60)
    for made in to_labels(instances, ORIGIN):
        label = fo.Detection.from_dict(made.document(label_defaults()))
        drawn = label.to_segmentation(frame_size=size[::-1]).mask != 0
        assert np.array_equal(drawn, full_mask(label, size))


def test_no_instance_is_no_label():
    assert to_labels(Instances.empty((4, 5)), ORIGIN) == []


def test_a_label_names_the_label_most_like_it():
    instances = random_instances(np.random.default_rng(2), (20, 20), 2)
    sources = {"reference 0": Provenance(dataset="d", sample="s", label="l")}

    first, second = to_labels(instances, ORIGIN, sources)

    named = ("reference", "reference_sample", "reference_dataset")
    assert [first.attributes[name] for name in named] == ["l", "s", "d"]
    assert [second.attributes[name] for name in named] == ["reference 1", None, None]


def test_a_label_names_what_made_it():
    (label,) = to_labels(random_instances(np.random.default_rng(2), (20, 20), 1), ORIGIN)
    named = ("bank", "bank_version", "preset")
    assert [label.attributes[name] for name in named] == ["bank", 3, "tiny"]


def test_pixel_boxes_come_back_as_they_went_in():
    rng = random.Random(3)
    for _ in range(2000):
        size = rng.randrange(1, 5000), rng.randrange(1, 5000)
        x1, y1 = round(rng.uniform(0, size[1]), 2), round(rng.uniform(0, size[0]), 2)
        w, h = round(rng.uniform(0, size[1]), 2), round(rng.uniform(0, size[0]), 2)
        relative = [x1 / size[1], y1 / size[0], w / size[1], h / size[0]]
        expected = (x1, y1, round(x1 + w, 2), round(y1 + h, 2))
        assert pixel_box(fo.Detection(bounding_box=relative), size) == expected


def test_a_mask_is_pasted_at_the_rounded_corner_of_its_box():
    mask = np.array([[True, False], [True, True]])
    box = relative_box((2.6, 3.4, 4.6, 5.4), (10, 20))

    full = full_mask(fo.Detection(bounding_box=box, mask=mask), (10, 20))

    assert np.array_equal(np.argwhere(full), [[3, 3], [4, 3], [4, 4]])


def test_a_mask_file_reads_as_the_mask_does(tmp_path):
    mask = np.random.default_rng(4).random((7, 9)) < 0.5
    Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "mask.png")
    box = relative_box((5, 6, 14, 13), (30, 40))

    from_file = fo.Detection(bounding_box=box, mask_path=str(tmp_path / "mask.png"))
    inline = fo.Detection(bounding_box=box, mask=mask)

    assert np.array_equal(full_mask(from_file, (30, 40)), full_mask(inline, (30, 40)))


def test_a_mask_of_another_resolution_is_stretched_to_its_box():
    mask = np.array([[True, False], [False, True], [True, True], [False, False]])
    box = relative_box((10, 20, 30, 60), (100, 100))

    full = full_mask(fo.Detection(bounding_box=box, mask=mask), (100, 100))

    expected = np.zeros((100, 100), dtype=bool)
    expected[20:60, 10:30] = mask.repeat(10, axis=0).repeat(10, axis=1)
    assert np.array_equal(full, expected)


def test_what_reaches_over_the_border_is_cut_off():
    box = relative_box((-2, 8, 2, 12), (10, 10))
    full = full_mask(fo.Detection(bounding_box=box, mask=np.ones((4, 4), bool)), (10, 10))
    assert np.array_equal(np.argwhere(full), [[8, 0], [8, 1], [9, 0], [9, 1]])


@pytest.mark.parametrize(
    ("detection", "said"),
    [
        (fo.Detection(bounding_box=[0, 0, 1, 1]), "no mask"),
        (fo.Detection(mask=np.ones((2, 2), bool)), "four finite numbers"),
        (
            fo.Detection(bounding_box=[0, float("nan"), 1, 1], mask=np.ones((2, 2), bool)),
            "four finite numbers",
        ),
        (
            fo.Detection(bounding_box=[2.0, 0, 0.2, 0.2], mask=np.ones((2, 2), bool)),
            "outside the image",
        ),
        (fo.Detection(bounding_box=[0, 0, 0.2, 0.2], mask=np.zeros((2, 2), bool)), "empty"),
        (fo.Detection(bounding_box=[0, 0, 1, 1], mask_path="/nowhere/m.png"), "cannot be read"),
        (fo.Detection(bounding_box=[0, 0, 0, 1], mask=np.ones((2, 2), bool)), "no area"),
    ],
)
def test_an_unusable_label_says_what_is_wrong(detection, said):
    with pytest.raises(DatasetError, match=said):
        full_mask(detection, (10, 10))


@pytest.mark.parametrize(
    ("box", "said"),
    [
        ([500.0, 400.0, 80.0, 60.0], "far outside the image.*divide by the width"),
        ([0.1, 0.1, 80.0, 60.0], "far outside"),
        ([3.0, 3.0, 5.0, 5.0], "far outside"),
        ([-1.1, 0.0, 0.5, 0.5], "far outside"),
        ([0.5, 0.5, -0.1, 0.1], "negative side"),
        ([0.1, 0.1, 0.2], "four finite numbers"),
        ([0.1, None, 0.2, 0.2], "four finite numbers"),
        (["a", 0.1, 0.2, 0.2], "four finite numbers"),
        ([float("inf"), 0.1, 0.2, 0.2], "four finite numbers"),
        (0.5, "four finite numbers"),
        (None, "four finite numbers"),
    ],
)
def test_a_box_that_is_none_says_what_is_wrong(box, said):
    with pytest.raises(DatasetError, match=said):
        pixel_box(SimpleNamespace(bounding_box=box), (64, 96))


@pytest.mark.parametrize("box", [[-0.5, -0.5, 2.0, 2.0], [-0.02, 0.9, 0.3, 0.2], [0.1, 0.1, 0, 0]])
def test_a_box_may_reach_outside_its_image(box):
    x1, y1, x2, y2 = pixel_box(SimpleNamespace(bounding_box=box), (100, 100))
    found = [x1 / 100, y1 / 100, (x2 - x1) / 100, (y2 - y1) / 100]
    assert found == pytest.approx(box)


def test_a_mask_that_reaches_far_over_the_border_takes_no_memory_out_there():
    box = [-0.9, -0.9, 2.8, 2.8]
    detection = fo.Detection(bounding_box=box, mask=np.ones((3, 4), bool))
    tracemalloc.start()
    placed = placed_mask(detection, (3000, 4000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert placed.mask.shape == (3000, 4000) and placed.mask.all()
    assert peak < 2 * placed.mask.nbytes
