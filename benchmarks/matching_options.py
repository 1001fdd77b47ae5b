"""Ways to classify proposals that are tried before they are built: what ``options_ap.py`` compares.

Each takes the features of an image's proposals and the drawn references, and gives similarities:
float (n, k), n proposals and k classes, as ``match`` computes them by the recipe, section 4.1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ntt_plugin.demo.scenes import Scene
from ntt_plugin.engine import Segmenter
from ntt_plugin.engine.images.load import normalise
from ntt_plugin.engine.references import crop_reference, grid_weights, pool_reference, tight_box

Array = np.ndarray[Any, Any]
Similarity = Callable[[Array], Array]
_SIGMA = 0.8


@dataclass(frozen=True)
class Views:
    """One reference, seen in several ways; each a feature, float (C,), not normalised.

    Attributes:
        plain: as the recipe has it.
        flipped: from left to right.
        near: with half the context around it.
        far: with half as much again.
        background: the mean of what surrounds it in its crop.
    """

    plain: Array
    flipped: Array
    near: Array
    far: Array
    background: Array


Drawn = list[list[Views]]
"""The references of each class, in the order of the bank's classes."""


@torch.inference_mode()
def views_of(segmenter: Segmenter, scene: Scene, index: int) -> Views:
    """All views of an object as a reference."""
    encoder, ratio = segmenter._encoder, segmenter.recipe.context_ratio
    image = torch.from_numpy(scene.image).permute(2, 0, 1) / 255
    mask = scene.mask(index)
    crops, weights = [], []
    for context in (ratio, ratio / 2, ratio * 1.5):
        crop, cut = crop_reference(
            image, torch.from_numpy(mask), tight_box(mask), encoder.size, context
        )
        crops.append(crop)
        weights.append(grid_weights(cut, encoder.grid))
    crops.append(crops[0].flip(-1))
    weights.append(weights[0].flip(-1))
    maps = encoder.encode(torch.stack(crops))
    plain, near, far, flipped = (
        pool_reference(features, weight).numpy()
        for features, weight in zip(maps, weights, strict=True)
    )
    around = pool_reference(maps[0], 1 - weights[0]).numpy()
    return Views(plain, flipped, near, far, around)


def units(rows: Array) -> Array:
    """Rows of unit length."""
    return F.normalize(torch.from_numpy(np.asarray(rows, np.float32)), dim=1).numpy()


def means(drawn: Drawn, *views: str) -> Array:
    """A prototype a class: the mean over its references and some of their views (k, C)."""
    return units(
        np.stack(
            [np.mean([getattr(r, view) for r in refs for view in views], axis=0) for refs in drawn]
        )
    )


def to_means(drawn: Drawn, *views: str) -> Similarity:
    """The recipe's similarity, with prototypes of these views."""
    prototypes = means(drawn, *(views or ("plain",)))
    return lambda features: (features @ prototypes.T).clip(min=0)


# --- background prototypes ---------------------------------------------------------------------


def backgrounds(drawn: Drawn, each: bool) -> Array:
    """Unit features of what surrounds the references: of each, or their mean alone."""
    rows = np.stack([reference.background for refs in drawn for reference in refs])
    return units(rows if each else rows.mean(axis=0, keepdims=True))


def background_negatives(drawn: Drawn, each: bool, sigma: float = _SIGMA) -> Similarity:
    """Backgrounds as negatives of all classes (recipe, section 5)."""
    prototypes, negatives = means(drawn, "plain"), backgrounds(drawn, each)

    def similarity(features: Array) -> Array:
        positive = (features @ prototypes.T).clip(min=0)
        against = (features @ negatives.T).max(axis=1, keepdims=True)
        return np.asarray(positive * np.exp(-(against - positive).clip(min=0) / sigma))

    return similarity


def background_class(drawn: Drawn, each: bool) -> Similarity:
    """A class of its own: what is more like background than like any class is dropped."""
    prototypes, negatives = means(drawn, "plain"), backgrounds(drawn, each)

    def similarity(features: Array) -> Array:
        positive = (features @ prototypes.T).clip(min=0)
        against = (features @ negatives.T).max(axis=1, keepdims=True)
        return np.where(against > positive.max(axis=1, keepdims=True), 0, positive)

    return similarity


def background_removed(drawn: Drawn) -> Similarity:
    """The mean background's direction taken out of prototypes and proposals."""
    direction = backgrounds(drawn, each=False)[0]

    def without(rows: Array) -> Array:
        return units(rows - (rows @ direction)[:, None] * direction)

    prototypes = without(means(drawn, "plain"))
    return lambda features: (without(features) @ prototypes.T).clip(min=0)


# --- several prototypes a class ----------------------------------------------------------------


def clusters(rows: Array, count: int) -> Array:
    """Unit centres of ``count`` groups of rows (n, C), by k-means on the sphere."""
    rows = units(rows)
    count = min(count, len(rows))
    # Farthest first: no chance in it.
    chosen = [int((rows @ units(rows.mean(axis=0, keepdims=True))[0]).argmax())]
    while len(chosen) < count:
        chosen.append(int((rows @ rows[chosen].T).max(axis=1).argmin()))
    centres = rows[chosen]
    for _ in range(20):
        group = (rows @ centres.T).argmax(axis=1)
        centres = units(
            np.stack(
                [
                    rows[group == g].mean(axis=0) if (group == g).any() else centres[g]
                    for g in range(count)
                ]
            )
        )
    return centres


def best_of(features: Array, prototypes: list[Array]) -> Array:
    """The largest cosine over a class's prototypes."""
    return np.stack([(features @ rows.T).max(axis=1) for rows in prototypes], axis=1).clip(min=0)


def log_sum_exp(features: Array, prototypes: list[Array], temperature: float) -> Array:
    """A soft maximum over a class's prototypes."""
    columns = []
    for rows in prototypes:
        cosines = features @ rows.T / temperature
        top = cosines.max(axis=1)
        columns.append(temperature * (top + np.log(np.exp(cosines - top[:, None]).mean(axis=1))))
    return np.stack(columns, axis=1).clip(min=0)


def several(drawn: Drawn, count: int | None, temperature: float | None = None) -> Similarity:
    """``count`` prototypes a class, as many as references if None: best-of, or log-sum-exp."""
    rows = [np.stack([reference.plain for reference in refs]) for refs in drawn]
    found = [units(r) if count is None else clusters(r, count) for r in rows]
    if temperature is None:
        return lambda features: best_of(features, found)
    return lambda features: log_sum_exp(features, found, temperature)


def chosen_by_leave_one_out(drawn: Drawn) -> Similarity:
    """The number of prototypes a class, 1 to 3, that names most left-out references rightly."""
    rows = [np.stack([reference.plain for reference in refs]) for refs in drawn]
    counts = range(1, min(4, len(rows[0]) + 1))
    right = [_named_rightly(rows, count) for count in counts]
    best = counts[int(np.argmax(right))]
    return to_means(drawn) if best == 1 else several(drawn, best)


def _named_rightly(rows: list[Array], count: int) -> int:
    """References that are most similar to their own class's prototypes, made without them."""
    full = [clusters(r, count) for r in rows]
    if count == 1:
        full = [units(r.mean(axis=0, keepdims=True)) for r in rows]
    right = 0
    for own, references in enumerate(rows):
        if len(references) < 2:
            continue
        for index, feature in enumerate(units(references)):
            rest = np.delete(references, index, axis=0)
            made = units(rest.mean(axis=0, keepdims=True)) if count == 1 else clusters(rest, count)
            prototypes = [*full[:own], made, *full[own + 1 :]]
            right += int(best_of(feature[None], prototypes)[0].argmax() == own)
    return right


# --- how the image is encoded ------------------------------------------------------------------


@torch.inference_mode()
def patches_of_kept_aspect(segmenter: Segmenter, image: Array) -> Tensor:
    """Patch features (C, gh, gw) of an image that is not squeezed; about g x g patches in all."""
    encoder = segmenter._encoder
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
    patch = encoder.size // encoder.grid
    stretch = (image.shape[1] / image.shape[0]) ** 0.5
    rows, columns = round(encoder.grid / stretch), round(encoder.grid * stretch)
    size = (rows * patch, columns * patch)
    resized = F.interpolate(pixels, size, mode="bicubic", antialias=True)
    tokens = encoder._tokens(normalise(resized))
    return tokens[0, encoder._tokens_before :].T.reshape(-1, rows, columns)
