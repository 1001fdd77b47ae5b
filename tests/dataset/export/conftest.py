"""A dataset of ragged masks of every kind, and what an export of it must give."""

import uuid

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

SIZE = (120, 160)
CLASSES = ["bird", "cat", "dog"]


def object_mask(rng):
    """A smooth object with holes, parts and specks, at the image's size."""
    field = ndimage.gaussian_filter(rng.normal(size=SIZE), 5)
    mask = field > np.quantile(field, 0.85)
    top, left = rng.integers(0, 40, size=2)
    mask[:top] = mask[:, :left] = False
    mask[tuple(rng.integers(20, 100, size=2))] ^= True
    return mask if mask.any() else np.eye(*SIZE, dtype=bool)


@pytest.fixture(scope="module")
def ragged(tmp_path_factory):
    """Ten images with four labels each in ``labels``: masks in the database and in files, cropped
    and of the whole image, and crowds; and by the labels' ids their masks."""
    folder, rng = tmp_path_factory.mktemp("ragged"), np.random.default_rng(5)
    masks, samples = {}, []
    for index in range(10):
        path = folder / f"part{index % 2}" / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (*SIZE, 3), dtype=np.uint8)).save(path)
        labels = []
        for place in range(4):
            mask = object_mask(rng)
            label = fo.Detection.from_mask(mask, label=CLASSES[(index + place) % 3])
            if place == 1:
                label.mask = mask  # of the whole image
            elif place == 2:
                file = folder / f"mask{index}.png"
                Image.fromarray(label.mask.astype(np.uint8) * 255).save(file)
                label.mask, label.mask_path = None, str(file)
            elif place == 3:
                label["iscrowd"] = 1
            else:
                label.confidence = 0.1 * index
            masks[label.id] = mask
            labels.append(label)
        sample = fo.Sample(filepath=str(path))
        sample["labels"] = fo.Detections(detections=labels)
        samples.append(sample)
    dataset = fo.Dataset(f"test_{uuid.uuid4().hex}")
    dataset.add_samples(samples, progress=False)
    yield dataset, masks
    dataset.delete()
