"""Polygons as importers give them, and shapes that are not made as FiftyOne makes them."""

import json
import uuid
from pathlib import Path

import fiftyone as fo
import fiftyone.types as fot
import numpy as np
import pytest

from ntt_plugin.dataset.banks import banks
from ntt_plugin.dataset.banks.add_references import add_references
from ntt_plugin.dataset.evaluation.compare import compare_segmentations
from ntt_plugin.dataset.evaluation.evaluate import evaluate
from ntt_plugin.dataset.references.choose import choose_references, read_references
from ntt_plugin.dataset.references.sampling import sample_references
from ntt_plugin.dataset.segmentation.masks_from_boxes import masks_from_boxes
from ntt_plugin.dataset.segmentation.segment import segment
from ntt_plugin.errors import DatasetError
from tests.bad_input.expectations import refused, row
from tests.dataset import scenes


def ring(x1, y1, x2, y2):
    return [float(v) for v in (x1, y1, x2, y1, x2, y2, x1, y2)]


@pytest.fixture
def coco_file(dataset, tmp_path):
    """A COCO file of the dataset's images; each object in two parts that overlap."""
    images, annotations = [], []
    for index, sample in enumerate(dataset):
        height, width = scenes.SIZE
        images.append({"id": index, "file_name": sample.filename, "width": width, "height": height})
        for number, (x1, y1, x2, y2) in enumerate(scenes.blocks(index).values()):
            annotation = {"id": 10 * index + number, "image_id": index, "iscrowd": 0}
            annotation |= {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
            names = list(scenes.blocks(index))
            annotation["category_id"] = list(scenes.COLOURS).index(names[number])
            annotation["segmentation"] = [ring(x1, y1, x1 + 12, y2), ring(x1 + 9, y1, x2, y2)]
            annotations.append(annotation)
    categories = [{"id": index, "name": name} for index, name in enumerate(scenes.COLOURS)]
    path = tmp_path / "annotations.json"
    tables = {"images": images, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(tables))
    return path


def imported(coco_file, dataset, polylines):
    return fo.Dataset.from_dir(
        dataset_type=fot.COCODetectionDataset,
        data_path=str(Path(dataset.first().filepath).parent),
        labels_path=str(coco_file),
        label_types="segmentations",
        label_field="coco",
        use_polylines=polylines,
        name=f"test_{uuid.uuid4().hex}",
        progress=False,
    )


@row("filled-polylines")
def test_filled_polylines_of_a_coco_file_are_the_references_that_its_masks_are(
    dataset, coco_file, segmenter
):
    found = []
    for polylines in (False, True):
        read = imported(coco_file, dataset, polylines)
        entries = read_references(choose_references(read, "coco"))
        found.append([entry.reference for entry in entries])
        bank = banks.build_memory_bank(read, "coco", "new", segmenter=segmenter)
        report = segment(read, "new", label_field="ntt", segmenter=segmenter)
        assert (len(bank), bank.refused, report.instances) == (18, [], 18)
        read.delete()
    assert len(found[0]) == 18
    for masks, lines in zip(*found, strict=True):
        assert masks.label == lines.label and np.array_equal(masks.mask, lines.mask)


@row("filled-polylines")
def test_a_polyline_neither_closed_nor_filled_is_left_out_and_named(dataset, segmenter):
    for sample in dataset:
        lines = [fo.Polyline(label="red", points=[[(0.1, 0.1), (0.5, 0.1), (0.5, 0.5)]])]
        sample["drawn"] = fo.Polylines(polylines=lines)
        sample.save()
    with refused("filled and closed are False", "set filled=True"):
        banks.build_memory_bank(dataset, "drawn", "new", segmenter=segmenter)
    with refused("6 neither closed nor filled"):
        sample_references(dataset, "drawn")


@pytest.fixture
def write_first(dataset):
    """Writes a value of the first label past FiftyOne, as a script may; gives the label's id."""
    fields = []

    def write(path, name, value):
        sample, labels = (column[0] for column in dataset.values(["_id", f"{path}.id"]))
        change = {"$set": {f"{path}.0.{name}": value}}
        dataset._sample_collection.update_one({"_id": sample}, change)
        fields.append(path.partition(".")[0])
        return labels[0]

    yield write
    dataset.delete_sample_fields(fields)


POINTS = [
    5,
    [5],
    ["abc"],
    [[5, 6, 7]],
    [[[0.1], [0.2], [0.3]]],
    [[[0.1, 0.1, 0.1]] * 3],
    [[[None, None]] * 3],
    [[[float("nan")] * 2] * 3],
    [[["a", "b"]] * 3],
    [[["0.1", "0.2"]] * 3],
    [[[0.1, 0.1], [0.2], [0.3, 0.1]]],
    [[[0.1, 0.1], None, [0.3, 0.1]]],
]


@row("broken-shapes")
@pytest.mark.parametrize("points", POINTS, ids=repr)
def test_corners_that_are_no_pairs_are_left_out_and_named(dataset, segmenter, write_first, points):
    for index, sample in enumerate(dataset):
        sample["drawn"] = fo.Polylines(polylines=scenes.polylines(index))
        sample.save()
    first = write_first("drawn.polylines", "points", points)

    passed_over = sample_references(dataset, "drawn", shots=2).passed_over
    assert [why for why in passed_over if why.startswith("not readable")]

    bank = banks.build_memory_bank(dataset, "drawn", "new", segmenter=segmenter)
    assert first in {entry.provenance.label for entry in bank.refused}
    added = add_references(dataset, "drawn", "new", segmenter=segmenter)
    assert [entry.provenance.label for entry in added.refused] == [first]


BOXES = [5, "0123", {"a": 1}, [0.1] * 3, [0.1] * 5, [None] * 4, [[0.1, 0.2]] * 2]
BOXES += [["a"] * 4]


@row("broken-shapes")
@pytest.mark.parametrize("box", BOXES, ids=repr)
def test_a_box_that_is_not_four_numbers_is_named_by_every_step(
    dataset, segmenter, write_first, box
):
    segment(dataset, "blocks", label_field="ntt", segmenter=segmenter)
    dataset.clone_sample_field("ground_truth", "labels")
    first = write_first("labels.detections", "bounding_box", box)

    passed_over = sample_references(dataset, "labels", shots=2).passed_over
    assert [why for why in passed_over if "not made of four finite numbers" in why]

    bank = banks.build_memory_bank(dataset, "labels", "new", segmenter=segmenter)
    assert first in {entry.provenance.label for entry in bank.refused}

    made = masks_from_boxes(dataset, "labels", "made", segmenter=segmenter)
    assert made.failed or made.notes

    for step in (
        lambda: evaluate(dataset, "ntt", "labels", "check").config.left_out["label_count"],
        lambda: len(compare_segmentations(dataset, "ntt", "labels").left_out.labels),
    ):
        assert left_out_or_named(step, dataset.values("id")[0])


def left_out_or_named(step, sample):
    """Whether a step leaves one label out, or names the sample if FiftyOne cannot load it."""
    try:
        return step() == 1
    except DatasetError as error:
        return f"FiftyOne cannot load the sample {sample}" in str(error)
