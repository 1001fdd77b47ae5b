"""What tiles cost, against tiles counted one by one; and the segmenters' sides."""

from dataclasses import replace

import fiftyone as fo
import pytest

from ntt_plugin.dataset.inspect.tiling import are_oblong, segmenter_side, tile_cost
from ntt_plugin.engine.networks.checkpoints import load_segmenter
from ntt_plugin.engine.networks.convert_sam2 import HieraTraits
from ntt_plugin.engine.recipe import PRESETS
from tests.dataset import scenes

TINY = replace(PRESETS["tiny"], tile_overlap=0.0)


def test_the_sides_are_those_of_the_networks():
    config = load_segmenter("tiny", ()).model.config
    assert segmenter_side(PRESETS["tiny"]) == config.prompt_encoder_config.image_size
    assert segmenter_side(PRESETS["paper"]) == HieraTraits.image_size


def test_sizes_are_read_from_the_files(dataset):
    # 64 x 96: two by three tiles of 32, and the whole image.
    cost = tile_cost(dataset, TINY, 32)
    assert (cost.looks, cost.large, cost.looked_at) == (7.0, 0.0, 6)
    height, width = scenes.SIZE
    assert cost.looks == 1 + (height // 32) * (width // 32)


def test_no_tiles_are_one_look(dataset):
    assert tile_cost(dataset, TINY, 0).looks == 1.0


def test_metadata_is_taken_where_it_is_there(dataset):
    first = dataset.first()
    first["metadata"] = fo.ImageMetadata(width=2048, height=600)
    first.save()
    cost = tile_cost(dataset, TINY, 1024)
    # Only the first is larger than a tile: two tiles and the whole image.
    assert cost.looks == pytest.approx((3 + 5) / 6)
    assert cost.large == pytest.approx(1 / 6)


def test_an_image_that_cannot_be_read_is_passed_over(dataset):
    with open(dataset.first().filepath, "wb") as file:
        file.write(b"no image")
    assert tile_cost(dataset, TINY, 32).looked_at == 5


@pytest.mark.parametrize(
    ("width", "height", "oblong"),
    [(640, 480, True), (480, 640, True), (512, 512, False), (512, 480, False)],
)
def test_photographs_are_oblong_and_squares_are_not(dataset, width, height, oblong):
    for sample in dataset:
        sample["metadata"] = fo.ImageMetadata(width=width, height=height)
        sample.save()
    assert are_oblong(dataset) is oblong


def test_images_of_no_known_size_are_not_oblong(dataset):
    for path in dataset.values("filepath"):
        with open(path, "wb") as file:
            file.write(b"no image")
    assert not are_oblong(dataset)
