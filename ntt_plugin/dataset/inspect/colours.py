"""How the App colours labels."""

from __future__ import annotations

import logging

import fiftyone as fo

from ..database.fiftyone_internals import show_color_scheme
from ..samples.checks import dataset_of

logger = logging.getLogger(__name__)


def colour_by_class(samples: fo.Dataset | fo.DatasetView, in_app: bool = False) -> None:
    """Let the App colour labels by their class, unless the dataset has a colour scheme already.

    Args:
        samples: the dataset, or a view of it.
        in_app: whether this is the App's server: an App that is open shows it at once.
    """
    dataset = dataset_of(samples)
    if dataset.app_config.color_scheme is not None:
        return
    dataset.app_config.color_scheme = fo.ColorScheme(color_by="value")
    dataset.save()
    if in_app:
        try:
            show_color_scheme(dataset)
        except Exception:
            # Colours must not end a run: the App has them when it opens the dataset again.
            logger.exception("The open App could not be told of the colours")
