"""How long a run will take, roughly: from earlier runs, else from the networks' work."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from ..engine.config import Recipe, resolve_device
from ..errors import NttError
from .kept_share import NOTHING_KEPT, KeptShare
from .label_field import segmentation_fields
from .own_thread import in_own_thread
from .report import read_report
from .run_record import is_segmentation_by, read_facts

# Billions of multiply-adds for one pass over an image at the recipe's own input sizes; the large
# networks were counted, the others follow from their number of parameters.
_SEGMENTER_WORK = {"tiny": 0.42, "small": 140.0, "base-plus": 285.0, "large": 907.0}
_ENCODER_WORK = {"small": 37.0, "base": 143.0, "large": 507.0, "giant": 1900.0}
_POINT_WORK = 1.8
_ENCODER_SIDE = 518
_BUNDLED_WORK = {"segmenter": 0.42, "encoder": 0.42, "point": 0.0174}

# Large networks reach about this share of what plain matrix products do (measured on a CPU).
_EFFICIENCY = 0.5
# Reading, matching, merging and writing, whatever the networks.
_SECONDS_BESIDES = 0.3
# The same for an image whose proposals are kept, with its labels.
_SECONDS_KEPT = 0.1
_PRODUCTS = 5


@dataclass(frozen=True)
class Estimate:
    """About how long something takes.

    Attributes:
        seconds: the guess.
        source: what it rests on, in words.
    """

    seconds: float
    source: str

    def __str__(self) -> str:
        """The time in words, and what it rests on."""
        return f"{in_words(self.seconds)} ({self.source})"


def estimate_segmentation(
    dataset: Any,
    recipe: Recipe,
    device: str | None,
    images: int,
    kept: KeptShare = NOTHING_KEPT,
) -> Estimate:
    """How long segmenting some images takes, without loading the networks.

    Args:
        dataset: the dataset, whose earlier runs are asked first.
        recipe: the recipe.
        device: where to run; the best there is if None.
        images: number of images.
        kept: the share of them whose proposals are kept.
    """
    computed = round(images * (1 - kept.share))
    found = _estimate(dataset, recipe, device, segmentation_work(recipe), computed)
    if not kept.share:
        return found
    seconds = found.seconds + (images - computed) * _SECONDS_KEPT
    about = "about " if kept.sampled else ""
    if kept.share == 1:
        source = f"the proposals of {about}all of them are kept"
    else:
        source = f"the proposals of {about}{images - computed:,} of them are kept; {found.source}"
    return Estimate(seconds, source)


def estimate_references(
    dataset: Any, recipe: Recipe, device: str | None, references: int
) -> Estimate:
    """How long building a bank takes: each reference is one pass through the encoder."""
    return _estimate(dataset, recipe, device, encoder_work(recipe), references)


def estimate_boxes(
    dataset: Any, recipe: Recipe, device: str | None, images: int, boxes: int
) -> Estimate:
    """How long turning boxes into masks takes: an image is embedded once, a box decoded."""
    bundled = recipe.segmenter == "tiny"
    point = _BUNDLED_WORK["point"] if bundled else _POINT_WORK
    work = (segmenter_work(recipe) * images + point * boxes) / max(images, 1)
    return _estimate(dataset, recipe, device, work, images)


def segmentation_work(recipe: Recipe) -> float:
    """Work for one image, in billions of multiply-adds: both networks and the grid of points."""
    point = _BUNDLED_WORK["point"] if recipe.segmenter == "tiny" else _POINT_WORK
    return segmenter_work(recipe) + encoder_work(recipe) + point * recipe.grid**2


def segmenter_work(recipe: Recipe) -> float:
    """Work of the segmenter's image encoder, in billions of multiply-adds an image."""
    if recipe.segmenter == "tiny":
        return _BUNDLED_WORK["segmenter"]
    return _by_size(recipe.segmenter, _SEGMENTER_WORK)


def encoder_work(recipe: Recipe) -> float:
    """Work of the patch encoder, in billions of multiply-adds an image."""
    if recipe.encoder == "tiny":
        return _BUNDLED_WORK["encoder"]
    return _by_size(recipe.encoder, _ENCODER_WORK) * (recipe.encoder_size / _ENCODER_SIDE) ** 2


def in_words(seconds: float) -> str:
    """A length of time as people say it."""
    if seconds < 2:
        return "a moment"
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"about {round(seconds / size)} {unit}"
    return f"about {round(seconds)} seconds"


def _by_size(name: str, table: dict[str, float]) -> float:
    # Longest first: "base-plus" holds no other, but a name may hold "large" and more.
    for size in sorted(table, key=len, reverse=True):
        if size in name:
            return table[size]
    return table["large"]


def _estimate(
    dataset: Any, recipe: Recipe, device: str | None, work: float, times: int
) -> Estimate:
    """By its share of the work, from the last segmentation by the recipe; else from work alone."""
    where = str(resolve_device(device))
    measured = _measured(dataset, recipe, where)
    if measured is not None:
        each = measured * work / segmentation_work(recipe)
        return Estimate(times * each, "as fast as the last run here")
    each = work / (_rate(where) * _EFFICIENCY) + _SECONDS_BESIDES
    return Estimate(times * each, f"on {where}; a guess until the first run")


@lru_cache
def _rate(device: str) -> float:
    """Billions of multiply-adds a second in plain float32 matrix products."""
    side = 1024 if device == "cpu" else 4096
    try:
        seconds = in_own_thread(lambda: _best_of_products(side, device))
        return side**3 / 1e9 / max(seconds, 1e-6)
    except (RuntimeError, MemoryError):  # no memory left, say: a slow device is assumed
        return 50.0


def _best_of_products(side: int, device: str) -> float:
    matrix = torch.ones(side, side, device=device)
    float((matrix @ matrix)[0, 0])
    # The best of several: other programs that use the device now may end soon.
    return min(_seconds_of_product(matrix) for _ in range(_PRODUCTS))


def _seconds_of_product(matrix: torch.Tensor) -> float:
    started, worked = time.perf_counter(), time.process_time()
    # Reading one number back waits for the device.
    float((matrix @ matrix)[0, 0])
    passed = time.perf_counter() - started
    if matrix.device.type != "cpu":
        return passed
    # While other programs run, a product waits longer than a network will that takes minutes.
    return min(passed, (time.process_time() - worked) / torch.get_num_threads())


def _measured(dataset: Any, recipe: Recipe, device: str) -> float | None:
    """Seconds an image of the latest segmentation by the recipe on the device, None without one."""
    reports = []
    for field in segmentation_fields(dataset):
        if not is_segmentation_by(read_facts(dataset, field), recipe):
            continue
        try:
            reports.append(read_report(dataset, field))
        except NttError:
            continue
    reports = [
        report
        for report in reports
        if report.device == device
        and report.segmented
        # Without a network a run is faster by far, which says nothing of one with them.
        and not report.from_cache
    ]
    if not reports:
        return None
    latest = max(reports, key=lambda report: report.started)
    return latest.seconds / latest.segmented
