"""Scenes as files are what the scenes are."""

import contextlib
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools.coco import COCO

from ntt_plugin.demo.folder import write_folder
from ntt_plugin.demo.streams import scoring_scene


def load(path: Path) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


def test_the_truth_holds_every_mask_of_every_image_to_the_pixel(tmp_path: Path) -> None:
    write_folder(tmp_path, images=3, boxed=1)
    truth = load(tmp_path / "truth.json")
    for number in range(3):
        scene = scoring_scene(number)
        image = truth.imgs[number + 1]
        with Image.open(tmp_path / "photos" / image["file_name"]) as opened:
            assert np.array_equal(np.asarray(opened), scene.image)
        annotations = truth.imgToAnns[number + 1]
        names = [truth.cats[annotation["category_id"]]["name"] for annotation in annotations]
        assert names == [entry.name for entry in scene.classes]
        for index, annotation in enumerate(annotations):
            assert np.array_equal(truth.annToMask(annotation), scene.mask(index))
            x, y, w, h = map(int, annotation["bbox"])
            assert scene.mask(index)[y : y + h, x : x + w].sum() == annotation["area"]


def test_the_boxes_are_those_of_the_first_images_and_have_no_masks(tmp_path: Path) -> None:
    write_folder(tmp_path, images=3, boxed=2)
    truth, boxes = (
        json.loads((tmp_path / f"{name}.json").read_text()) for name in ("truth", "boxes")
    )
    assert boxes["images"] == truth["images"][:2]
    wanted = [entry for entry in truth["annotations"] if entry["image_id"] <= 2]
    assert [entry["bbox"] for entry in boxes["annotations"]] == [entry["bbox"] for entry in wanted]
    assert not any("segmentation" in entry for entry in boxes["annotations"])
