"""Random scenes of ellipses with predictions, as a dataset and as pycocotools' figures of them."""

import contextlib
import io
import json
import uuid

import fiftyone as fo
import numpy as np
from PIL import Image
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

CLASSES = ["cat", "dog", "zebra.foal"]


def ellipse(size, centre, radii):
    rows, columns = np.mgrid[: size[0], : size[1]]
    return ((columns - centre[0]) / radii[0]) ** 2 + ((rows - centre[1]) / radii[1]) ** 2 <= 1


def tight(mask):
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    x, y = int(columns[0]), int(rows[0])
    return [x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y]


def random_scene(rng, crowds, tied, fractional, spare_class):
    """One image: size, ground truth and predictions as (class, mask, pixel box, extra)."""
    size = int(rng.integers(110, 170)), int(rng.integers(110, 220))
    truth, found = [], []
    for _ in range(rng.integers(1, 6)):
        label = CLASSES[rng.integers(2)]
        centre = rng.uniform(0, size[1]), rng.uniform(0, size[0])
        radii = rng.uniform(4, 65, 2)
        mask = ellipse(size, centre, radii)
        if mask.sum() < 4:
            continue
        box = tight(mask)
        if fractional:
            # As in COCO's files: within half a pixel of the mask's, with two decimals.
            x, y = (round(edge + rng.uniform(0, 0.49), 2) for edge in box[:2])
            w = round(box[0] + box[2] - rng.uniform(0, 0.49) - x, 2)
            h = round(box[1] + box[3] - rng.uniform(0, 0.49) - y, 2)
            box = [x, y, max(w, 0.6), max(h, 0.6)]
        crowd = int(crowds and rng.random() < 0.3)
        truth.append((label, mask, box, crowd))
        for _ in range(rng.integers(0, 3) + 3 * crowd):
            shift, scale = rng.normal(0, 4, 2), rng.uniform(0.8, 1.15, 2)
            guess = ellipse(size, np.add(centre, shift), np.multiply(radii, scale))
            if guess.any():
                said = label if rng.random() < 0.85 else CLASSES[rng.integers(2 + spare_class)]
                score = float(rng.random())
                found.append((said, guess, tight(guess), round(score, 1) if tied else score))
    return size, truth, found


def make_dataset(scenes, folder):
    dataset = fo.Dataset(f"test_{uuid.uuid4().hex}")
    samples = []
    for index, (size, truth, found) in enumerate(scenes):
        path = folder / f"{index}.png"
        Image.new("L", (size[1], size[0])).save(path)
        sample = fo.Sample(filepath=str(path))
        for field, rows in (("truth", truth), ("found", found)):
            labels = []
            for label, mask, (x, y, w, h), extra in rows:
                cut = mask[round(y) : round(y + h), round(x) : round(x + w)]
                kept = {"iscrowd": extra} if field == "truth" else {"confidence": extra}
                box = [x / size[1], y / size[0], w / size[1], h / size[0]]
                labels.append(fo.Detection(label=label, bounding_box=box, mask=cut, **kept))
            sample[field] = fo.Detections(detections=labels)
        samples.append(sample)
    dataset.add_samples(samples, progress=False)
    return dataset


def run_lengths(mask):
    """Lengths of the runs of 0s and 1s in turn down the columns, beginning with 0s."""
    flat = mask.ravel(order="F").astype(np.int8)
    lengths = np.diff([0, *np.flatnonzero(np.diff(flat)) + 1, flat.size]).tolist()
    return [0, *lengths] if flat[0] else lengths


def by_hand(scenes, folder, kind, classes=CLASSES):
    """The twelve figures by pycocotools, from two JSON files as anyone would write them."""

    def encoded(mask):
        rle = mask_utils.frPyObjects({"size": mask.shape, "counts": run_lengths(mask)}, *mask.shape)
        return {"size": rle["size"], "counts": rle["counts"].decode()}

    images, annotations, results = [], [], []
    for index, (size, truth, found) in enumerate(scenes):
        images.append({"id": index + 1, "width": size[1], "height": size[0]})
        for label, mask, box, crowd in truth:
            if label in classes:
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": index + 1,
                        "category_id": CLASSES.index(label) + 1,
                        "bbox": box,
                        "area": int(mask.sum()),
                        "segmentation": encoded(mask),
                        "iscrowd": crowd,
                    }
                )
        for label, mask, box, score in found:
            if label in classes:
                shape = {"bbox": box} if kind == "bbox" else {"segmentation": encoded(mask)}
                place = {"image_id": index + 1, "category_id": CLASSES.index(label) + 1}
                results.append({**place, **shape, "score": score})
    categories = [{"id": CLASSES.index(name) + 1, "name": name} for name in classes]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "truth.json").write_text(json.dumps(content))
    (folder / "found.json").write_text(json.dumps(results))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(folder / "truth.json"))
        evaluation = COCOeval(coco, coco.loadRes(str(folder / "found.json")), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


def assert_figures(figures, scenes, folder, kind, classes=CLASSES):
    """Figures are pycocotools' own."""
    expected = by_hand(scenes, folder, kind, classes)
    np.testing.assert_allclose(list(figures.values()), expected, rtol=0, atol=1e-9)


def within(row):
    label, mask, (x, y, w, h), crowd = row
    kept = np.zeros_like(mask)
    inside = np.s_[round(y) : round(y + h), round(x) : round(x + w)]
    kept[inside] = mask[inside]
    return label, kept, [x, y, w, h], crowd
