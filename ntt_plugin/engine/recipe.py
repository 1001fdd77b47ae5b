"""The recipe's constants, and the presets by name."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from typing import Any

import numpy as np

from ..errors import RecipeError
from .rules import Rule, one_of, real, whole

IMAGE_MEAN: tuple[float, float, float] = (0.485, 0.456, 0.406)
IMAGE_STD: tuple[float, float, float] = (0.229, 0.224, 0.225)

PRECISIONS = ("float32", "bfloat16", "float16")
RESCORINGS = ("decay", "diffusion")
ENCODINGS = ("whole", "squares")

ADDED_LATER: dict[str, Any] = {
    "duplicate_iou": None,
    "rescoring": "decay",
    "tile": None,
    "tile_overlap": 0.2,
    "iou_exponent": 0.0,
    "stability_exponent": 0.0,
    "box_points": 0,
    "encoding": "whole",
}
"""Fields that earlier versions lacked, with the values that give their results."""


@dataclass(frozen=True)
class Recipe:
    """Every constant of the method; the defaults are the preset ``paper``.

    Attributes:
        name: the preset that this recipe came from.
        segmenter: the promptable segmenter: hub id, folder, Meta's file, or ``tiny``.
        encoder: the patch encoder: hub id, folder, Meta's file, or ``tiny``.
        encoder_size: side of the encoder's input, pixels.
        precision: ``float32``, ``bfloat16`` or ``float16``, for the networks only.
        context_ratio: context around a reference's box, relative to its longer side; 0 for none.
        grid: points along each side of the image.
        point_batch: points per batch, at most; changes memory and speed, not results.
        iou_threshold: proposals with a predicted IoU above it are kept.
        duplicate_iou: of proposals whose masks overlap with at least this IoU, the one with the
            highest predicted IoU is kept; None to keep all. Candidates always are.
        nms_iou: box IoU above which the proposal of lower predicted IoU is suppressed.
        max_instances: instances an image, at most.
        candidate_factor: candidates left after NMS, at most, in units of ``max_instances``.
        rescoring: how overlapping masks lower each other's scores: ``decay`` (section 4.4) or
            ``diffusion`` (section 6).
        merge_exponent: strength of the rescoring; 0 turns it off.
        negative_sigma: the larger, the less negatives lower a score.
        tile: side of the tiles that larger images are looked at in, too, pixels; None for none.
            ``max_instances`` is for the whole image: raise it where there are more objects.
        tile_overlap: of neighbouring tiles, relative to ``tile``, at least. An object that is
            smaller than the overlap lies in some tile as a whole.
        iou_exponent: scores are multiplied by the predicted IoU to this power; 0 for not at all.
        stability_exponent: likewise by the mask's stability.
        box_points: points along each side of a box that is to become a mask: of their masks and
            the box's own the one that fills the box best is taken; 0 for the box's own alone.
        encoding: how the encoder sees an oblong image: ``whole``, squeezed into its square input,
            or as overlapping ``squares``, as little distorted as the references are.

    Raises:
        RecipeError: a field's value is not allowed; says which, and what is.

    Example:
        >>> from ntt_plugin.engine import Recipe
        >>> recipe = Recipe.from_preset("fast", grid=8)
        >>> recipe.encoder, recipe.grid
        ('facebook/dinov2-base', 8)
    """

    name: str = "paper"
    segmenter: str = "facebook/sam2-hiera-large"
    encoder: str = "facebook/dinov2-large"
    encoder_size: int = 518
    precision: str = "float32"
    context_ratio: float = 0.2
    grid: int = 32
    point_batch: int = 256
    iou_threshold: float = 0.4
    duplicate_iou: float | None = None
    nms_iou: float = 0.5
    max_instances: int = 100
    candidate_factor: int = 8
    rescoring: str = "decay"
    merge_exponent: float = 0.5
    negative_sigma: float = 0.8
    tile: int | None = None
    tile_overlap: float = 0.2
    iou_exponent: float = 0.0
    stability_exponent: float = 0.0
    box_points: int = 0
    encoding: str = "whole"

    def __post_init__(self) -> None:
        for field, rule in _RULES.items():
            value = getattr(self, field)
            if isinstance(value, np.generic):
                # Recipes are kept as JSON and in ids of runs, which know Python's numbers alone.
                value = value.item()
                object.__setattr__(self, field, value)
            if not rule.holds(value):
                raise RecipeError(f"Recipe.{field} is {value!r}; it must be {rule.allowed}.")

    @property
    def networks(self) -> tuple[str, str, int, str]:
        """What the networks depend on: recipes with equal values can share them."""
        return self.segmenter, self.encoder, self.encoder_size, self.precision

    @classmethod
    def from_preset(cls, name: str, **overrides: Any) -> Recipe:
        """A preset with some fields overridden.

        Args:
            name: a key of ``PRESETS``.
            **overrides: fields of the recipe and their values.

        Raises:
            RecipeError: unknown preset or field, or a value that is not allowed.
        """
        if not isinstance(name, str) or name not in PRESETS:
            raise RecipeError(f"There is no preset {name!r}; presets are {', '.join(PRESETS)}.")
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(overrides) - set(known))
        if unknown:
            raise RecipeError(
                f"A recipe has no field {', '.join(map(repr, unknown))}; "
                f"its fields are {', '.join(known)}."
            )
        return replace(PRESETS[name], **overrides)


def _or_none(rule: Rule) -> Rule:
    return Rule(f"{rule.allowed}, or None", lambda value: value is None or rule.holds(value))


_TEXT = Rule("a name", lambda value: isinstance(value, str) and bool(value.strip()))
_NETWORK = Rule("a hub id, a folder or a file", _TEXT.holds)
_RULES: dict[str, Rule] = {
    "name": _TEXT,
    "segmenter": _NETWORK,
    "encoder": _NETWORK,
    "encoder_size": whole(14, 4096, " of pixels"),
    "precision": one_of(*PRECISIONS),
    "context_ratio": real(0, 10),
    "grid": whole(1, 256),
    "point_batch": whole(1, 65536),
    "iou_threshold": real(0, 1),
    "duplicate_iou": _or_none(real(0.01, 1)),
    "nms_iou": real(0, 1),
    "max_instances": whole(1, 10_000),
    "candidate_factor": whole(1, 1000),
    "rescoring": one_of(*RESCORINGS),
    "merge_exponent": real(0, 10),
    "negative_sigma": Rule("a number from 0.000001 to 1000000", real(1e-6, 1e6).holds),
    "tile": _or_none(whole(32, 65_536, " of pixels")),
    "tile_overlap": real(0, 0.9),
    "iou_exponent": real(0, 10),
    "stability_exponent": real(0, 10),
    "box_points": whole(0, 16),
    "encoding": one_of(*ENCODINGS),
}

PRESETS: dict[str, Recipe] = {
    "paper": Recipe(),
    "balanced": Recipe(
        name="balanced", segmenter="facebook/sam2.1-hiera-large", precision="bfloat16"
    ),
    "fast": Recipe(
        name="fast",
        segmenter="facebook/sam2.1-hiera-small",
        encoder="facebook/dinov2-base",
        grid=16,
    ),
    # What raised AP on generated scenes (benchmarks/options_ap.py).
    "best": Recipe(
        name="best",
        segmenter="facebook/sam2.1-hiera-large",
        iou_exponent=1.0,
        stability_exponent=2.0,
        encoding="squares",
    ),
    # Small networks know objects at one scale: a wide crop shows a reference as large as the
    # objects in the images. They make better masks of points than of boxes
    # (benchmarks/candidates_ap.py).
    "tiny": Recipe(
        name="tiny",
        segmenter="tiny",
        encoder="tiny",
        encoder_size=224,
        context_ratio=2.0,
        grid=16,
        box_points=3,
    ),
}

OWN = "own"
"""In a recipe's text what stands for the recipe that a bank has."""

_NO_SETTINGS = ("name", "segmenter", "encoder")


def recipe_of_text(text: str, own: Recipe | None = None) -> Recipe:
    """The recipe of a text: a preset's name or ``own``, then settings, such as ``tile=1024``.

    Args:
        text: for example ``fast``, ``own tile=1024`` or ``paper rescoring=diffusion``; ``none``
            takes a setting away. No network can be named.
        own: what ``own`` stands for.

    Raises:
        RecipeError: there is no such preset or setting, a value is not allowed, or ``text`` is no
            text.

    Example:
        >>> recipe_of_text("fast tile=1024 rescoring=diffusion").tile
        1024
    """
    if not isinstance(text, str):
        raise RecipeError(
            f"{repr(text)[:60]} is no recipe; give a Recipe, a preset's name "
            f"({', '.join(PRESETS)}), or a text such as 'fast tile=1024'."
        )
    first, *settings = re.sub(r"\s*=\s*", "=", text).split() or [""]
    base = own if first == OWN and own is not None else Recipe.from_preset(first)
    known = [field.name for field in fields(Recipe) if field.name not in _NO_SETTINGS]
    values: dict[str, Any] = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        if name not in known or not value:
            alike = [] if name in known else get_close_matches(name, known, 1)
            meant = f" Did you mean {alike[0]!r}?" if alike else ""
            raise RecipeError(
                f"{setting!r} is no setting of a recipe; write one as name=value, the name one of "
                f"{', '.join(known)}.{meant}"
            )
        values[name] = _value_of(value)
    return replace(base, **values)


def text_of_recipe(recipe: Recipe) -> str:
    """A recipe in words: its preset's name and what is other than there.

    Where its name is no preset's, what is other than the defaults of ``Recipe``.

    Example:
        >>> text_of_recipe(Recipe.from_preset("fast", tile=1024))
        'fast tile=1024'
    """
    preset = PRESETS.get(recipe.name) or Recipe(name=recipe.name)
    changed = changed_settings(preset, recipe)
    return " ".join([recipe.name, *(f"{name}={value}" for name, (_, value) in changed.items())])


def changed_settings(before: Recipe, after: Recipe) -> dict[str, tuple[str, str]]:
    """The fields in which two recipes differ, with both values as ``recipe_of_text`` takes them.

    Example:
        >>> changed_settings(Recipe(tile=128), Recipe())
        {'tile': ('128', 'none')}
    """
    values = {
        field.name: (getattr(before, field.name), getattr(after, field.name))
        for field in fields(Recipe)
    }
    return {
        name: (_in_text(one), _in_text(other))
        for name, (one, other) in values.items()
        if one != other
    }


def _in_text(value: Any) -> str:
    return "none" if value is None else str(value)


def _value_of(text: str) -> Any:
    if text == "none":
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
