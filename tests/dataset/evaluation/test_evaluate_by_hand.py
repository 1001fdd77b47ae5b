"""Every figure of ``evaluate`` against pycocotools run by hand on files written from the pixels.

Nothing here goes through the code under test but ``evaluate`` itself: scenes are arrays of pixels,
the files are made from these, with run lengths counted here, and the dataset beside them.
"""

import contextlib
import io
import json
import uuid
from dataclasses import dataclass

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ntt_plugin.dataset.evaluation.evaluate import coco_figures, evaluate

CLASSES = ["bolt", "nut", "washer"]


@dataclass
class Drawn:
    """One object: its class, its pixels (H, W), and its crowd flag or its score."""

    label: str
    pixels: np.ndarray
    crowd: int = 0
    score: float | None = None


def blob(rng, height, width):
    """A turned ellipse with a bite taken out, wherever it falls; it may be cut by the border."""
    rows, columns = np.mgrid[:height, :width]
    x, y = rng.uniform(0, width), rng.uniform(0, height)
    a, b, turn = rng.uniform(3, 95), rng.uniform(3, 95), rng.uniform(0, np.pi)
    u = (columns - x) * np.cos(turn) + (rows - y) * np.sin(turn)
    v = (rows - y) * np.cos(turn) - (columns - x) * np.sin(turn)
    bite = (columns - x - a / 2) ** 2 + (rows - y) ** 2 < (min(a, b) / 3) ** 2
    return ((u / a) ** 2 + (v / b) ** 2 <= 1) & ~bite


def moved(rng, pixels):
    """The same shape a few pixels off, with a strip of it gone."""
    rolled = np.roll(pixels, rng.integers(-6, 7, 2), axis=(0, 1))
    rolled[:, rng.integers(rolled.shape[1]) :][:, : rng.integers(1, 6)] = False
    return rolled


def draw_scene(rng):
    height, width = (int(side) for side in rng.integers(150, 230, 2))
    truth, found = [], []
    for _ in range(rng.integers(0, 6)):
        drawn = Drawn(str(rng.choice(CLASSES)), blob(rng, height, width))
        drawn.crowd = int(rng.random() < 0.25)
        if drawn.pixels.sum() < 5:
            continue
        truth.append(drawn)
        for _ in range(rng.integers(0, 4)):
            label = drawn.label if rng.random() < 0.8 else str(rng.choice(CLASSES))
            # Scores of one decimal: most of them are tied.
            guess = Drawn(label, moved(rng, drawn.pixels), score=round(float(rng.random()), 1))
            if guess.pixels.any():
                found.append(guess)
    return (height, width), truth, found


def corners(pixels):
    """x, y, w, h of the pixels, whole numbers."""
    ys, xs = np.nonzero(pixels)
    x, y = int(xs.min()), int(ys.min())
    return [x, y, int(xs.max()) + 1 - x, int(ys.max()) + 1 - y]


def run_lengths(pixels):
    """Lengths of the runs of 0s and 1s in turn down the columns, beginning with 0s."""
    flat = pixels.ravel(order="F").astype(np.int8)
    edges = np.flatnonzero(np.diff(flat)) + 1
    lengths = np.diff([0, *edges, flat.size]).tolist()
    return [0, *lengths] if flat[0] else lengths


def write_files(scenes, folder):
    images, annotations, boxes, masks = [], [], [], []
    for number, (size, truth, found) in enumerate(scenes, start=1):
        images.append({"id": number, "height": size[0], "width": size[1]})
        for drawn in [*truth, *found]:
            shape = {"size": list(size), "counts": run_lengths(drawn.pixels)}
            place = {"image_id": number, "category_id": CLASSES.index(drawn.label) + 1}
            if drawn.score is None:
                annotations.append(
                    {
                        **place,
                        "id": len(annotations) + 1,
                        "bbox": corners(drawn.pixels),
                        "area": int(drawn.pixels.sum()),
                        "iscrowd": drawn.crowd,
                        "segmentation": shape,
                    }
                )
            else:
                packed = mask_utils.frPyObjects(shape, *size)
                shape = {"size": list(size), "counts": packed["counts"].decode()}
                boxes.append({**place, "bbox": corners(drawn.pixels), "score": drawn.score})
                masks.append({**place, "segmentation": shape, "score": drawn.score})
    categories = [{"id": index + 1, "name": name} for index, name in enumerate(CLASSES)]
    truth_file = {"images": images, "annotations": annotations, "categories": categories}
    for name, content in (("truth", truth_file), ("bbox", boxes), ("segm", masks)):
        (folder / f"{name}.json").write_text(json.dumps(content))


def figures_by_hand(folder, kind, category=None):
    """pycocotools' twelve figures from the files, of all classes or of one."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(folder / "truth.json"))
        evaluation = COCOeval(truth, truth.loadRes(str(folder / f"{kind}.json")), kind)
        if category is not None:
            evaluation.params.catIds = [category]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


def make_dataset(scenes, folder):
    dataset = fo.Dataset(f"test_{uuid.uuid4().hex}")
    samples = []
    for number, (size, truth, found) in enumerate(scenes):
        path = folder / f"{number}.png"
        Image.new("RGB", size[::-1]).save(path)
        samples.append(
            fo.Sample(
                filepath=str(path),
                truth=fo.Detections(detections=[to_label(drawn, size) for drawn in truth]),
                found=fo.Detections(detections=[to_label(drawn, size) for drawn in found]),
            )
        )
    dataset.add_samples(samples, progress=False)
    return dataset


def to_label(drawn, size):
    x, y, w, h = corners(drawn.pixels)
    label = fo.Detection(
        label=drawn.label,
        bounding_box=[x / size[1], y / size[0], w / size[1], h / size[0]],
        mask=drawn.pixels[y : y + h, x : x + w],
    )
    if drawn.score is None:
        label["iscrowd"] = drawn.crowd
    else:
        label.confidence = drawn.score
    return label


@pytest.mark.parametrize("seed", [1, 2])
def test_all_figures_with_crowds_and_tied_scores_are_those_of_the_files(tmp_path, seed):
    rng = np.random.default_rng(seed)
    scenes = [draw_scene(rng) for _ in range(40)]
    assert sum(drawn.crowd for _, truth, _ in scenes for drawn in truth) > 10
    scores = [drawn.score for _, _, found in scenes for drawn in found]
    assert len(set(scores)) <= 11 < len(scores)
    write_files(scenes, tmp_path)
    dataset = make_dataset(scenes, tmp_path)
    try:
        evaluate(dataset, "found", "truth", "check")
        ours = coco_figures(dataset, "check")
    finally:
        dataset.delete()

    assert ours.classes == CLASSES
    largest = 0.0
    for kind, figures, by_class in (
        ("bbox", ours.bbox, ours.bbox_ap),
        ("segm", ours.segm, ours.segm_ap),
    ):
        expected = figures_by_hand(tmp_path, kind)
        assert 0 < expected[0] < 1 and (expected > -1).all()
        alone = [figures_by_hand(tmp_path, kind, number)[0] for number in (1, 2, 3)]
        difference = np.abs(np.array([*figures.values(), *by_class]) - [*expected, *alone])
        largest = max(largest, float(difference.max()))
    print(f"\nseed {seed}: 2 x (12 figures + 3 classes), largest difference {largest:.1e}")
    assert largest <= 1e-9
