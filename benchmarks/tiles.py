"""Small objects in large images: as a whole, in tiles, and at the demo's scale.

    python benchmarks/tiles.py

Scenes of 1,024 and 2,048 pixels with objects of 24 to 64 pixels, of novel classes. AP by
``pycocotools`` of the whole image alone, of tiles, and of the very objects where they are as large
as in the demo's scenes (each scene in parts, before it was shrunk): what tiles can reach at best.
Then the seconds an image by its number of tiles, and the peak memory for 100 megapixels. Writes
``benchmarks/results/tiles.json``. Proposals are kept in ``--kept``, so that another run goes on
where this one was stopped.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from demo_ap import draw_bank, reference_features, score, summarise, true_names
from oracle import proposal_cache, proposals_of
from PIL import Image

from ntt_plugin.demo.classes import NOVEL_CLASSES
from ntt_plugin.demo.large_scenes import LargeScene, make_large_scene
from ntt_plugin.demo.scenes import Scene
from ntt_plugin.engine import MemoryBank, Proposals, Segmenter
from ntt_plugin.engine.proposals.tiles import tile_grid

RESULTS = Path(__file__).parent / "results" / "tiles.json"
_STREAM = 4
"""Of the seeds: no scene of the demo has it."""
_PIXELS_OF_CELLS = {7: 1024, 14: 2048}


def main() -> None:
    """Measure AP, time and memory, and write the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenes", type=int, nargs=2, default=[40, 10], help="of each size")
    parser.add_argument("--tile", type=int, default=192, help="side of a tile, pixels")
    parser.add_argument("--overlap", type=float, default=0.34, help="64 pixels: the largest object")
    parser.add_argument("--references", type=int, default=120, help="scenes to draw them from")
    parser.add_argument("--shots", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=5, help="draws of references")
    parser.add_argument("--kept", type=Path, help="folder for proposals")
    parser.add_argument("--only", choices=["ap", "cost"], help="leave the other out")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()

    tiles = {"tile": options.tile, "tile_overlap": options.overlap}
    whole = Segmenter.from_preset("tiny", max_instances=300)
    tiled = whole.with_recipe(replace(whole.recipe, **tiles))
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    result: dict[str, Any] = {}
    if options.only and options.output.is_file():
        result = json.loads(options.output.read_text())  # the part that is left out stays
    result |= {"preset": "tiny", "recipe": {"max_instances": 300, **tiles}}
    if options.only != "cost":
        result |= {"shots": options.shots, "machine of AP": machine}
        features = reference_features(whole, options.references)
        banks = [
            draw_bank(whole, features, options.shots, seed, true_names)
            for seed in range(options.seeds)
        ]
        for (cells, side), count in zip(_PIXELS_OF_CELLS.items(), options.scenes, strict=True):
            if count:
                key = f"{side} pixels"
                result[key] = precision(whole, tiled, banks, cells, count, options.kept)
                print(key, json.dumps(result[key], indent=1))
    if options.only != "ap":
        result["machine of costs"] = machine
        result["seconds by tiles"] = seconds(tiled)
        result["100 megapixels"] = memory(replace(whole.recipe, tile=1024))
        print(json.dumps({key: result[key] for key in ("seconds by tiles", "100 megapixels")}))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n")


def precision(
    whole: Segmenter,
    tiled: Segmenter,
    banks: list[MemoryBank],
    cells: int,
    count: int,
    kept: Path | None,
) -> dict[str, Any]:
    """AP of each way to look at ``count`` scenes, over the banks, and paired differences."""
    large = [
        make_large_scene((_STREAM, cells, index), NOVEL_CLASSES, cells) for index in range(count)
    ]
    scenes = [entry.scene for entry in large]
    parts = [cell for entry in large for cell in entry.cells]
    ways: dict[str, tuple[Segmenter, list[Scene]]] = {
        "whole": (whole, scenes),
        "tiles": (tiled, scenes),
        "at the demo's scale": (whole, parts),
    }
    runs: dict[str, list[dict[str, float]]] = {}
    for name, (segmenter, seen) in ways.items():
        cache = proposal_cache(segmenter, kept)
        proposals = [proposals_of(segmenter, scene, cache) for scene in seen]
        runs[name] = [score(seen, proposals, bank, segmenter) for bank in banks]
        print(name, [round(run["segm_ap"], 4) for run in runs[name]], flush=True)
    return {
        "scenes": count,
        "objects": sum(len(scene.classes) for scene in scenes),
        "object sides, pixels": sides(large),
        **{name: summarise(found) for name, found in runs.items()},
        "tiles - whole": difference(runs["tiles"], runs["whole"]),
        "at the demo's scale - tiles": difference(runs["at the demo's scale"], runs["tiles"]),
    }


def sides(large: list[LargeScene]) -> dict[str, float]:
    """The longer sides of the objects' boxes."""
    found = []
    for entry in large:
        for index in range(len(entry.scene.classes)):
            rows, columns = np.nonzero(entry.scene.mask(index))
            found.append(1 + max(np.ptp(rows), np.ptp(columns)))
    return {str(share): float(np.percentile(found, share)) for share in (1, 50, 99)}


def difference(runs: list[dict[str, float]], others: list[dict[str, float]]) -> dict[str, float]:
    """Mean paired difference in segm AP, and its standard error."""
    gains = [run["segm_ap"] - other["segm_ap"] for run, other in zip(runs, others, strict=True)]
    error = statistics.stdev(gains) / len(gains) ** 0.5 if len(gains) > 1 else float("nan")
    return {"mean": statistics.fmean(gains), "standard_error": error}


def seconds(tiled: Segmenter) -> list[dict[str, float]]:
    """Seconds to propose images of growing size, the fastest of three."""
    scene = make_large_scene((_STREAM, 7, 0), NOVEL_CLASSES, 7).scene
    table = []
    for side in (192, 320, 448, 576, 832, 1024):
        image = np.ascontiguousarray(scene.image[:side, :side])
        times = []
        for _ in range(3):
            began = time.perf_counter()
            tiled.propose(image)
            times.append(time.perf_counter() - began)
        recipe = tiled.recipe
        tiles = len(tile_grid((side, side), recipe.tile, recipe.tile_overlap))
        looks = 1 + tiles
        table.append({"side": side, "looks": looks, "seconds_a_look": min(times) / looks})
    return table


def memory(recipe: Any) -> dict[str, Any]:
    """Peak memory of a process that proposes 100 megapixels, and of one with a single tile."""
    context = multiprocessing.get_context("spawn")
    found: dict[str, Any] = {"tile": recipe.tile}
    with tempfile.TemporaryDirectory() as folder:
        for name, side in (("one tile", recipe.tile), ("100 megapixels", 10_000)):
            path = Path(folder) / f"{side}.png"
            _write(path, side)
            with context.Pool(1) as pool:
                found[name] = pool.apply(_peak, (recipe, path))
    return found


def _write(path: Path, side: int) -> None:
    """An image of a scene, repeated."""
    scene = make_large_scene((_STREAM, 7, 0), NOVEL_CLASSES, 7).scene.image
    times = -(-side // len(scene))
    Image.fromarray(np.tile(scene, (times, times, 1))[:side, :side]).save(path, compress_level=1)


def _peak(recipe: Any, path: Path) -> dict[str, float]:
    segmenter = Segmenter.from_preset(recipe)
    loaded = _megabytes()
    began = time.perf_counter()
    found: Proposals = segmenter.propose(path)
    return {
        "megabytes_before": loaded,
        "megabytes_at_the_peak": _megabytes(),
        "seconds": time.perf_counter() - began,
        "proposals": len(found),
        "megabytes_of_features": found.features.numel() * 4 / 1e6,
    }


def _megabytes() -> float:
    """Peak of this program. ``getrusage`` would count that of the one which started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6


if __name__ == "__main__":
    main()
