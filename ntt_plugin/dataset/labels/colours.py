"""How the App colours labels."""

from __future__ import annotations

import fiftyone as fo

from ..samples.checks import dataset_of


def colour_by_class(samples: fo.Dataset | fo.DatasetView) -> None:
    """Let the App colour labels by their class, unless the dataset has a colour scheme already."""
    dataset = dataset_of(samples)
    if dataset.app_config.color_scheme is None:
        dataset.app_config.color_scheme = fo.ColorScheme(color_by="value")
        dataset.save()
