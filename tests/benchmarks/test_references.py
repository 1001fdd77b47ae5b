"""Annotations as references: the annotation's own box, and its own mask where it has one."""

from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as mask_utils

from benchmarks.published.protocol import Task
from benchmarks.published.references import as_references, decode_mask

MASK = np.zeros((30, 20), dtype=bool)
MASK[5:20, 3:9] = True


class Engine:
    """Says which boxes it was asked for, and cuts out nothing but the first pixel."""

    def __init__(self):
        self.asked = []

    def masks_from_boxes(self, image, boxes):
        self.asked.append((image, boxes))
        cut = np.zeros_like(MASK)
        cut[0, 0] = True
        return [cut]


def reference(annotation, engine):
    train = {
        "images": [{"id": 7, "file_name": "a/b.jpg", "width": 20, "height": 30}],
        "annotations": [annotation],
        "categories": [{"id": 2, "name": "cat"}],
    }
    task = Task("", train, Path("/data"), train, Path("/data"), frozenset({2}))
    [found] = as_references(task, [annotation], engine)
    return found


def test_a_reference_has_the_annotations_mask_and_box_to_the_pixel():
    polygon = [[3, 5, 9, 5, 9, 20, 3, 20]]
    box = [2.5, 4.5, 7.0, 16.0]
    annotation = {"id": 9, "image_id": 7, "category_id": 2, "bbox": box, "segmentation": polygon}
    engine = Engine()
    found = reference(annotation, engine)
    assert np.array_equal(found.mask, MASK)
    assert found.box == (2.5, 4.5, 9.5, 20.5)
    assert (found.label, str(found.image)) == ("cat", "/data/a/b.jpg")
    assert found.provenance.label == "9"
    assert engine.asked == []


def test_a_box_without_a_mask_is_cut_out_by_the_segmenter():
    annotation = {"id": 9, "image_id": 7, "category_id": 2, "bbox": [1, 2, 3, 4]}
    engine = Engine()
    assert reference(annotation, engine).mask.sum() == 1
    assert engine.asked == [(Path("/data/a/b.jpg"), [(1.0, 2.0, 4.0, 6.0)])]


@pytest.mark.parametrize("form", ["polygon", "counts", "compressed"])
def test_masks_are_read_in_all_forms_of_annotation_files(form):
    flat = MASK.ravel(order="F")
    changes = [0, *np.flatnonzero(np.diff(flat.astype(int))) + 1, flat.size]
    encoded = mask_utils.encode(np.asfortranarray(MASK, dtype=np.uint8))
    segmentation = {
        "polygon": [[3, 5, 9, 5, 9, 20, 3, 20]],
        "counts": {"size": [30, 20], "counts": np.diff(changes).tolist()},
        "compressed": {"size": [30, 20], "counts": encoded["counts"].decode()},
    }[form]
    assert np.array_equal(decode_mask(segmentation, 30, 20), MASK)
