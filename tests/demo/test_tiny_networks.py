"""What the bundled networks must still be able to do, on a few held-out scenes."""

import numpy as np
import pytest
import torch
from PIL import Image

from ntt_plugin.demo.classes import NOVEL_CLASSES
from ntt_plugin.demo.streams import reference_scene, scoring_scene
from ntt_plugin.engine import Instances, MemoryBank, Reference, Segmenter
from ntt_plugin.engine.images.load import to_tensor
from ntt_plugin.engine.networks.checkpoints import load_segmenter
from ntt_plugin.engine.networks.mask_proposer import MaskProposer

SCENES = 8


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter.from_preset("tiny", device="cpu")


@pytest.fixture(scope="module")
def bank(segmenter: Segmenter) -> MemoryBank:
    wanted = {entry.name: 3 for entry in NOVEL_CLASSES}
    references = []
    for index in range(60):
        scene = reference_scene(index)
        for number, entry in enumerate(scene.classes):
            if wanted[entry.name]:
                wanted[entry.name] -= 1
                references.append(Reference(scene.image, scene.mask(number), entry.name))
        if not any(wanted.values()):
            break
    assert not any(wanted.values())
    return segmenter.build_bank(references, progress=False)


@pytest.fixture(scope="module")
def found(segmenter: Segmenter, bank: MemoryBank) -> list[Instances]:
    return [segmenter.segment(scoring_scene(index).image, bank) for index in range(SCENES)]


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    return float((first & second).sum() / max(1, (first | second).sum()))


def test_most_novel_objects_are_cut_out_and_named(found: list[Instances]) -> None:
    hits, total = 0, 0
    for index, instances in enumerate(found):
        scene = scoring_scene(index)
        for number, entry in enumerate(scene.classes):
            total += 1
            hits += any(
                label == entry.name
                and overlap(instances.full_mask(place), scene.mask(number)) > 0.5
                for place, label in enumerate(instances.labels)
            )
    assert hits / total > 0.5


def test_a_box_is_turned_into_the_mask_inside_it(segmenter: Segmenter) -> None:
    overlaps = []
    for index in range(SCENES):
        scene = scoring_scene(index)
        masks = [scene.mask(number) for number in range(len(scene.classes))]
        boxes = []
        for mask in masks:
            rows, columns = np.nonzero(mask)
            boxes.append((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
        cut = segmenter.masks_from_boxes(scene.image, boxes)
        overlaps += [overlap(ours, mask) for ours, mask in zip(cut, masks, strict=True)]
    assert np.mean(overlaps) > 0.6


def proposed(dtype: torch.dtype, threshold: float) -> torch.Tensor:
    """Masks of a scene, by the network in a precision."""
    image = to_tensor(Image.fromarray(scoring_scene(1).image))
    proposer = MaskProposer(load_segmenter("tiny").model, torch.device("cpu"), dtype)
    return proposer.propose(image, 16, 64, threshold)[0] > 0


@pytest.fixture(scope="module")
def exact() -> torch.Tensor:
    return proposed(torch.float32, 0.6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_cuts_the_same_masks(dtype: torch.dtype, exact: torch.Tensor) -> None:
    rough = proposed(dtype, 0.5)
    first, second = exact.flatten(1).float(), rough.flatten(1).float()
    shared = first @ second.T
    best = (shared / (first.sum(1)[:, None] + second.sum(1) - shared)).amax(1)
    assert len(exact) > 3
    assert float(best.median()) > 0.95
