"""Which scenes serve what: no scene is ever in two of these streams."""

from __future__ import annotations

from .classes import BASE_CLASSES, NOVEL_CLASSES
from .scenes import Scene, make_scene


def training_scene(index: int) -> Scene:
    """A scene of base classes, for training the tiny networks."""
    return make_scene((1, index), BASE_CLASSES)


def reference_scene(index: int) -> Scene:
    """A scene of novel classes to take references from."""
    return make_scene((2, index), NOVEL_CLASSES)


def scoring_scene(index: int) -> Scene:
    """A held-out scene of novel classes to segment and score."""
    return make_scene((3, index), NOVEL_CLASSES)
