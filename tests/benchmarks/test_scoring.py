"""LVIS's rules that an imitation of whole files does not reach."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.published.scoring import best_of_images, coco_figures, lvis_figures

BOX = [10, 10, 40, 40]


def lvis_file(images, annotations, frequencies="f"):
    categories = [{"id": k, "name": str(k), "frequency": f} for k, f in enumerate(frequencies, 1)]
    labels = [
        {"id": k, "image_id": image, "category_id": category, "bbox": BOX, "area": 1600}
        for k, (image, category) in enumerate(annotations, 1)
    ]
    entries = [
        {
            "id": key,
            "width": 100,
            "height": 100,
            "neg_category_ids": negative,
            "not_exhaustive_category_ids": [],
        }
        for key, negative in images.items()
    ]
    return {"images": entries, "annotations": labels, "categories": categories}


def found(image, category, score, bbox=BOX):
    return {"image_id": image, "category_id": category, "score": score, "bbox": bbox}


def test_the_best_detections_of_an_image_are_those_of_all_classes_together():
    results = [found(1, 1, 0.2), found(1, 2, 0.9), found(1, 3, 0.5), found(2, 1, 0.1)]
    kept = best_of_images(results, 2)
    assert [(r["image_id"], r["category_id"]) for r in kept] == [(1, 2), (1, 3), (2, 1)]


def test_what_is_beyond_the_most_detections_does_not_count():
    test = lvis_file({1: [2]}, [(1, 1)], "ff")
    results = [found(1, 2, 0.9), found(1, 1, 0.8)]
    assert lvis_figures(test, results, "bbox", 2)["AP"] == pytest.approx(1)
    assert lvis_figures(test, results, "bbox", 1)["AP"] == 0


def test_classes_without_an_annotation_are_left_out_of_the_means():
    test = lvis_file({1: [2]}, [(1, 1)], "fr")
    figures = lvis_figures(test, [found(1, 1, 0.5), found(1, 2, 0.9)], "bbox", 300)
    assert (figures["AP"], figures["APr"]) == (pytest.approx(1), -1)


def test_ap_at_one_threshold_is_that_of_the_threshold():
    # IoU 40/52 = 0.77 is enough at 0.5 and 0.75, and at six of the ten thresholds.
    low = [10, 10, 40, 52]
    figures = lvis_figures(lvis_file({1: []}, [(1, 1)]), [found(1, 1, 0.5, low)], "bbox", 300)
    assert (figures["AP50"], figures["AP75"], figures["AP"]) == pytest.approx((1, 1, 0.6))
    lower = [10, 10, 40, 60]
    figures = lvis_figures(lvis_file({1: []}, [(1, 1)]), [found(1, 1, 0.5, lower)], "bbox", 300)
    assert (figures["AP50"], figures["AP75"], figures["AP"]) == pytest.approx((1, 0, 0.4))


def test_nothing_found_scores_zero():
    assert lvis_figures(lvis_file({1: []}, [(1, 1)]), [], "bbox", 300)["AP"] == 0


def test_annotations_without_area_and_iscrowd_are_scored():
    test = lvis_file({1: []}, [(1, 1)])
    del test["annotations"][0]["area"]
    assert coco_figures(test, {1}, [found(1, 1, 0.5)], "bbox")["AP"] == pytest.approx(1)


def test_federated_precision_equals_a_plain_computation_of_random_scores():
    rng = np.random.default_rng(0)
    images = {key: [1] for key in range(40)}
    with_object = {key for key in images if rng.random() < 0.6}
    unchecked = {key for key in images if key not in with_object and rng.random() < 0.5}
    images |= {key: [] for key in unchecked}
    test = lvis_file(images, [(key, 1) for key in sorted(with_object)])
    results = [found(key, 1, float(rng.random())) for key in images if rng.random() < 0.8]

    ranked = sorted(
        (r for r in results if r["image_id"] not in unchecked), key=lambda r: -r["score"]
    )
    right = np.array([r["image_id"] in with_object for r in ranked])
    precision = np.cumsum(right) / np.arange(1, len(right) + 1)
    recall = np.cumsum(right) / len(with_object)
    points = [max(precision[recall >= at], default=0) for at in np.linspace(0, 1, 101)]
    assert lvis_figures(test, results, "bbox", 300)["AP"] == pytest.approx(np.mean(points))


def test_figures_equal_those_of_the_package_of_lvis():
    known = json.loads((Path(__file__).parent / "lvis_figures.json").read_text())
    for case in known["figures"]:
        ours = lvis_figures(known["file"], known["results"], case["kind"], case["max_detections"])
        assert ours == pytest.approx(case["figures"], abs=1e-12)
