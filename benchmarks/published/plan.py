"""What a run takes, said before it begins: images, references, downloads, hours."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from ntt_plugin.dataset.networks import (
    available_devices,
    get_segmenter,
    missing_networks,
    networks_of,
)
from ntt_plugin.engine import Recipe

from .downloads import free_gigabytes
from .protocol import Table

# Images a second with the preset ``paper``. On two CPU cores it was measured
# (results/throughput_paper_cpu.json); for other devices it is a guess.
ASSUMED = {"cpu": 0.03, "cuda": 1.0, "mps": 0.1}
_IMAGES_MEASURED = 3
_SUFFIXES = {".jpg", ".jpeg", ".png"}


def describe(
    table: Table,
    parts: Sequence[str],
    shots: int,
    seed: int,
    recipe: Recipe,
    folder: Path,
    device: str | None = None,
    images_per_second: float | None = None,
) -> str:
    """The plan of a run, a line for each thing it takes.

    Nothing is fetched. Networks and images that are on this machine are tried, for the time.
    """
    device = device or available_devices()[0]
    count = images_to_segment(table, folder, parts, shots)
    rate, source = speed(recipe, folder, device, images_per_second)
    return "\n".join(
        [
            f"{table.title}, {shots} references a class, seed {seed}",
            f"  images      {_images(table, parts, count)}",
            f"  references  {table.classes * shots:,} for all parts: {table.classes} classes "
            f"x {shots}",
            f"  data        {data_needed(table, folder, parts, shots)}",
            f"  networks    {', '.join(dict.fromkeys(map(str, networks_of(recipe))))}",
            f"  time        {_time(count, rate)} at {rate:.3g} images a second on {device}, "
            f"{source}; change it with --images-per-second",
            "A run that is stopped goes on where it was, and no image is computed twice.",
        ]
    )


def images_to_segment(table: Table, folder: Path, parts: Sequence[str], shots: int) -> int | None:
    """How many images are segmented; None if that is not known before the data are there."""
    if table.images is not None:
        return table.images
    files = table.annotation_files(folder, parts, shots)[: len(parts)]
    if not all(path.is_file() for path in files):
        return None
    return sum(len(json.loads(path.read_bytes())["images"]) for path in files)


def data_needed(table: Table, folder: Path, parts: Sequence[str], shots: int) -> str:
    """What is there, what would be fetched, and the room for it."""
    missing = [p for p in table.annotation_files(folder, parts, shots) if not p.is_file()]
    if not missing:
        return f"{folder} is there"
    if not table.downloads:
        return (
            f"{folder} lacks {len(missing)} annotation files, the first {missing[0]}; you fetch "
            "them yourself, benchmarks/published/README.md says where from"
        )
    fetched = sum(part.gigabytes for part in table.downloads)
    needed = fetched + sum(part.unpacked for part in table.downloads)
    names = ", ".join(f"{part.name} ({part.gigabytes:.2g} GB)" for part in table.downloads)
    return (
        f"about {fetched:.1f} GB to fetch into {folder}: {names}; with what is unpacked "
        f"{needed:.1f} GB of disk, {free_gigabytes(folder):.0f} GB are free"
    )


def speed(
    recipe: Recipe, folder: Path, device: str, given: float | None = None
) -> tuple[float, str]:
    """Images a second, and where that number comes from: you, a measurement, or a guess."""
    if given is not None:
        return given, "which you gave"
    images = list(islice(_images_below(folder), _IMAGES_MEASURED + 1))
    if len(images) > 1 and not missing_networks(recipe):
        print(f"Trying {len(images)} of your images, for the time.", file=sys.stderr)
        segmenter = get_segmenter(recipe, device)
        # The first image pays for what is made once.
        segmenter.propose(images[0])
        started = time.monotonic()
        for image in images[1:]:
            segmenter.propose(image)
        seconds = time.monotonic() - started
        return (len(images) - 1) / seconds, f"measured on {len(images) - 1} of your images"
    kind = device.partition(":")[0]
    known = "measured on two cores elsewhere" if kind == "cpu" else "a guess"
    return ASSUMED.get(kind, ASSUMED["cpu"]), f"{known}, for the preset paper, not yours"


def _images_below(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)


def _images(table: Table, parts: Sequence[str], count: int | None) -> str:
    if count is None:
        return "not known before the data are there"
    once = f", once for {len(parts)} parts" if table.images and len(parts) > 1 else ""
    return f"{count:,} to segment{once}"


def _time(count: int | None, rate: float) -> str:
    if count is None:
        return f"{_duration(1000 / rate)} for each 1,000 images"
    return _duration(count / rate)


def _duration(seconds: float) -> str:
    if seconds < 3600:
        return f"{math.ceil(seconds / 60)} minutes"
    return f"{seconds / 3600:.1f} hours"
