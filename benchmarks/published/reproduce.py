"""A published few-shot table, computed on your machine and printed beside the published figures.

    make reproduce TABLE=coco SHOTS=30
    make reproduce TABLE=voc SHOTS=5 --dry-run

Fetches the data where that is allowed, draws the published reference sets, segments the images,
scores them by the table's rules, and writes a JSON file. A run that is stopped goes on at the next
call. ``benchmarks/published/README.md`` says what each table is and where its data come from.
"""

from __future__ import annotations

import argparse
import platform
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import fiftyone as fo
import torch

import ntt_plugin as ntt
from ntt_plugin.engine import Recipe, Segmenter
from ntt_plugin.errors import DatasetError, NttError

from . import cdfsod, coco, lvis, plan, voc
from .detections import add_images, image_dataset, results_of
from .downloads import require_room
from .files import require_images
from .protocol import PUBLISHED_SEED, Annotation, Table, Task, short_classes
from .references import build_bank
from .result_table import render, rows_with_mean, write_json

TABLES = {module.TABLE.name: module.TABLE for module in (coco, voc, cdfsod, lvis)}
RESULTS = Path(__file__).resolve().parents[1] / "results"


@dataclass(frozen=True)
class Outcome:
    """What one part of a table came to.

    Attributes:
        figures: by row, in [0, 1].
        references: ids of the chosen annotations, in their order.
        report: what ``ntt.segment`` did, in words.
        notes: what a reader of the figures should know.
    """

    figures: dict[str, float]
    references: list[int]
    report: str
    notes: list[str]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run or plan one table; 1 after an error, which is said in a sentence."""
    options = parse_options(arguments)
    try:
        if options.dry_run:
            print(dry_run(options))
        else:
            reproduce(options)
    except NttError as error:
        print(f"Stopped: {error}", file=sys.stderr)
        return 1
    return 0


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser("make reproduce", description=main.__doc__)
    add = parser.add_argument
    add("--table", required=True, choices=TABLES, help="which published table")
    add("--shots", type=int, required=True, help="references a class")
    add("--seed", type=int, default=PUBLISHED_SEED, help="seed of the choice of references")
    add("--part", action="append", help="only this split or dataset; may be given again")
    add("--preset", default="paper", help="the networks and constants to use")
    add("--device", help="cpu, cuda or mps (default: the best there is)")
    add("--data", type=Path, help="folder of the data (default: below FiftyOne's zoo)")
    add("--output", type=Path, help="the JSON file to write")
    add("--dry-run", action="store_true", help="say what the run takes, and do nothing")
    add("--images-per-second", type=float, help="for the hours that --dry-run says")
    options = parser.parse_args(arguments)
    table = TABLES[options.table]
    if options.shots not in table.shots:
        parser.error(f"{options.table} was published for {_listed(table.shots)} shots")
    options.part = options.part or list(table.parts)
    if unknown := [part for part in options.part if part not in table.parts]:
        parser.error(f"{options.table} has no part {unknown[0]!r}; it has {_listed(table.parts)}")
    if options.images_per_second is not None and options.images_per_second <= 0:
        parser.error("--images-per-second must be above 0")
    options.data = options.data or Path(fo.config.dataset_zoo_dir) / table.folder
    if options.output is None:
        run = field_name("published", table.name, str(options.shots), options.preset)
        options.output = RESULTS / f"{run}_seed{options.seed}.json"
    return options


def dry_run(options: argparse.Namespace) -> str:
    """The plan in words."""
    table = TABLES[options.table]
    return plan.describe(
        table,
        options.part,
        options.shots,
        options.seed,
        recipe_for(table, options.preset),
        options.data,
        options.device,
        options.images_per_second,
    )


def reproduce(options: argparse.Namespace) -> dict[str, float]:
    """Compute a table, print it and write its JSON file; its figures by row, in [0, 1].

    A part whose data are missing is left out, and said.

    Raises:
        NttError: no part can be computed.
    """
    table = TABLES[options.table]
    # Before gigabytes of data are fetched: without networks they are of no use.
    ntt.download_networks(recipe_for(table, options.preset))
    bring_data(table, options)
    outcomes: dict[str, Outcome] = {}
    left_out: list[DatasetError] = []
    for part in options.part:
        try:
            task = table.load(options.data, part, options.shots)
        except DatasetError as error:
            print(f"Left out: {error}", file=sys.stderr)
            left_out.append(error)
            continue
        # Parts over the same images share a dataset, so that each image is there once.
        own = f"-{part}" if table.images is None else ""
        outcomes[part] = run_task(
            table,
            task,
            options.shots,
            options.seed,
            options.preset,
            f"ntt-published-{table.name}{own}",
            options.device,
            options.data,
        )
    if not outcomes:
        raise left_out[0]
    figures: dict[str, float] = {}
    for outcome in outcomes.values():
        figures |= outcome.figures
    figures = rows_with_mean(table, figures)
    facts = {
        "seed": options.seed,
        "recipe": asdict(recipe_for(table, options.preset)),
        "parts": {part: asdict(outcome) for part, outcome in outcomes.items()},
        "left_out": [str(error) for error in left_out],
        "torch": torch.__version__,
        "machine": platform.machine(),
    }
    write_json(options.output, table, options.shots, figures, facts)
    print(f"\n{render(table, options.shots, figures)}\n\nWritten to {options.output}")
    return figures


def bring_data(table: Table, options: argparse.Namespace) -> None:
    """Fetch what is missing, where that is allowed.

    Raises:
        DatasetError: the disk is too small, or a file cannot be fetched.
    """
    if table.fetch is None:
        return
    files = table.annotation_files(options.data, options.part, options.shots)
    if not all(path.is_file() for path in files):
        require_room(options.data, table.downloads)
    table.fetch(options.data)


def run_task(
    table: Table,
    task: Task,
    shots: int,
    seed: int,
    preset: str,
    dataset_name: str,
    device: str | None = None,
    data: Path | None = None,
    *,
    segmenter: Segmenter | None = None,
    **segment_options: Any,
) -> Outcome:
    """Choose references, learn them, segment the test images and score.

    Args:
        table: the table's rules.
        task: the data.
        shots: references a class.
        seed: seed of the choice.
        preset: networks and constants.
        dataset_name: the dataset of the test images in FiftyOne, made if it is new.
        device: where to run; the best there is if None.
        data: the folder of the data, for images of references that are still to be fetched.
        segmenter: a loaded one, in place of preset and device.
        **segment_options: further arguments of ``ntt.segment``.

    Raises:
        NttError: an image of a reference is missing, networks cannot be loaded, or another run
            writes the same field.
    """
    recipe = segmenter.recipe if segmenter else recipe_for(table, preset)
    chosen = table.choose(task, shots, seed)
    if table.fetch_references and data is not None:
        table.fetch_references(data, task, chosen)
    require_images(images_of(task, chosen), task.train_images)
    notes = short_classes(task, chosen, shots)

    dataset = image_dataset(dataset_name)
    view = add_images(dataset, task)
    field = field_name("ntt", preset, task.part, str(shots), str(seed))
    bank, is_new = build_bank(dataset, field, task, chosen, recipe, device, segmenter)
    if bank.refused:
        notes.append(ntt.describe_refused(bank.refused))
    report = ntt.segment(
        view,
        bank,
        label_field=field,
        device=device,
        preset=recipe,
        segmenter=segmenter,
        # Labels of an earlier bank of that name go.
        overwrite=is_new,
        **segment_options,
    )
    if report.failed:
        notes.append(f"{len(report.failed)} images could not be segmented, and count as empty")
    for line in (str(report), *notes):
        print(line)
    figures = table.score(task, results_of(view, field, table, task))
    return Outcome(figures, [a["id"] for a in chosen], str(report), notes)


def recipe_for(table: Table, preset: str) -> Recipe:
    """A preset with the table's number of detections an image."""
    return Recipe.from_preset(preset, max_instances=table.max_instances)


def images_of(task: Task, chosen: Sequence[Annotation]) -> dict[str, Any]:
    """The entries of the images that chosen annotations lie in."""
    wanted = {annotation["image_id"] for annotation in chosen}
    return {"images": [image for image in task.train["images"] if image["id"] in wanted]}


def field_name(*parts: str) -> str:
    """A name for a field: the parts that are not empty, joined by underscores."""
    return re.sub(r"\W", "_", "_".join(filter(None, parts)))


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(map(str, values))


if __name__ == "__main__":
    sys.exit(main())
