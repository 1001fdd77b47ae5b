"""The errors this project raises: each says what is wrong, where, and what to do about it."""

from __future__ import annotations


class NttError(Exception):
    """Base of every error that this project raises on purpose.

    Example:
        >>> from ntt_plugin.engine import NttError, Recipe
        >>> try:
        ...     Recipe.from_preset("slow")
        ... except NttError as error:
        ...     print(error)
        There is no preset 'slow'; presets are paper, balanced, fast, best, tiny.
    """


class RecipeError(NttError):
    """A setting of the recipe, the device or the precision is not one that can be run."""


class CheckpointError(NttError):
    """A network cannot be found, fetched, read or recognised."""


class OutOfMemoryError(NttError):
    """The device has not the memory for the work, however small the parts it is done in."""


class ImageError(NttError):
    """An image cannot be read, or is not of a form that the engine takes."""


class NoFileHandlesError(NttError):
    """The system has no file handles left; it concerns every image, and none is damaged."""


class ReferenceRefusedError(NttError):
    """A reference yields no feature, or a class is left without any."""


class BankError(NttError):
    """A memory bank is damaged, foreign, or does not fit what it is used with."""


class DatasetError(NttError):
    """A dataset, view or field does not hold what an operation needs."""


class StoreError(NttError):
    """A folder of cached proposals cannot be read or cleared."""


class WorkerError(NttError):
    """Workers cannot be started, or end again and again; says the cause."""
