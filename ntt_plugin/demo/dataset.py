"""The demo's dataset: generated scenes of novel classes in a FiftyOne database."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import fiftyone as fo
from PIL import Image

from ..dataset.banks.banks import list_memory_banks
from ..errors import DatasetError
from .scenes import Scene
from .streams import reference_scene, scoring_scene

DATASET_NAME = "ntt-demo"
POOL_TAG = "pool"
TARGET_TAG = "target"
GROUND_TRUTH = "ground_truth"
FIELD = "ntt"
SHOWN_FROM = 0.6
"""Predictions are shown from this confidence; all of them are kept and scored."""

BANK = "demo_bank"
_MADE_BY = "ntt_plugin.demo"
_FINISHED = "finished"


def make_dataset(
    folder: Path, pool: int = 40, targets: int = 60, name: str = DATASET_NAME
) -> fo.Dataset:
    """Render the scenes to a folder and put them into a persistent dataset.

    Samples tagged ``pool`` are there to take references from, samples tagged ``target`` to be
    segmented; all show novel classes only, with exact masks in ``ground_truth``.

    Args:
        folder: where the images go.
        pool: number of scenes to take references from.
        targets: number of scenes to segment.
        name: the dataset's name; a demo dataset of that name is made anew. One that somebody
            worked in since is kept under another name.

    Raises:
        DatasetError: a dataset of that name exists and the demo did not make it.
    """
    if fo.dataset_exists(name):
        if fo.load_dataset(name).info.get("made_by") != _MADE_BY:
            raise DatasetError(
                f"A dataset {name!r} is there already, and this demo did not make it; rename "
                "it, or give the demo another name with --name."
            )
        _make_room(fo.load_dataset(name))
    folder.mkdir(parents=True, exist_ok=True)
    parts = [(reference_scene, index, POOL_TAG) for index in range(pool)]
    parts += [(scoring_scene, index, TARGET_TAG) for index in range(targets)]
    with fo.ProgressBar(total=len(parts), iters_str="scenes") as bar:
        samples = [
            _sample(make(index), folder / f"{tag}-{index:03d}.png", tag)
            for make, index, tag in bar(parts)
        ]
    dataset = fo.Dataset(name, persistent=True)
    dataset.info = {"made_by": _MADE_BY}
    dataset.add_samples(samples, progress=False)
    return dataset


def finish(dataset: fo.Dataset) -> None:
    """Note that all is written that the demo writes: what comes later is a person's work."""
    dataset.app_config.active_fields = fo.ActiveFields(paths=[FIELD])
    # Dates of the database have milliseconds.
    dataset.info = {**dataset.info, _FINISHED: dataset.max("last_modified_at")}
    dataset.save()


def _make_room(dataset: fo.Dataset) -> None:
    """Delete a former demo's dataset, or rename it where somebody worked in it."""
    finished = dataset.info.get(_FINISHED)
    banks = set(list_memory_banks(dataset)) - {BANK}
    if finished is None or (dataset.max("last_modified_at") <= finished and not banks):
        fo.delete_dataset(dataset.name)
        return
    former = dataset.name
    numbered = (f"{former}-{number}" for number in count(1))
    dataset.name = next(name for name in numbered if not fo.dataset_exists(name))
    print(f"     Somebody worked in {former!r}: it is kept as {dataset.name!r}.", flush=True)


def _sample(scene: Scene, path: Path, tag: str) -> fo.Sample:
    Image.fromarray(scene.image).save(path)
    labels = [
        fo.Detection.from_mask(scene.mask(index), label=entry.name)
        for index, entry in enumerate(scene.classes)
    ]
    height, width = scene.owners.shape
    sample = fo.Sample(filepath=str(path.resolve()), tags=[tag])
    sample.metadata = fo.ImageMetadata(width=width, height=height, num_channels=3)
    sample[GROUND_TRUTH] = fo.Detections(detections=labels)
    return sample
