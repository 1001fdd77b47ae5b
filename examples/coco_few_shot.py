"""The few-shot protocol of the published table, over COCO annotation files.

    python examples/coco_few_shot.py                        # generated scenes, offline
    python examples/coco_few_shot.py --preset paper --shots 30 --seed 33 \
        --train-images coco/train2017 --train coco/annotations/instances_train2017.json \
        --val-images coco/val2017 --val coco/annotations/instances_val2017.json

References are drawn from the training file in its own order, as the paper's were; all validation
images are segmented; pycocotools scores the novel classes against the validation file itself. A run
that is stopped goes on at the next call, and another ``--seed`` relabels in seconds, for what the
networks find in an image is kept. The published tables themselves, with their data and the
published figures beside ours: ``make reproduce`` (``benchmarks/published``).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import fiftyone as fo

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.published.coco import TABLE  # noqa: E402
from benchmarks.published.files import read_coco  # noqa: E402
from benchmarks.published.protocol import Coco, Task  # noqa: E402
from benchmarks.published.reproduce import run_task  # noqa: E402
from ntt_plugin.dataset.references.coco_few_shot import NOVEL_COCO_CLASSES  # noqa: E402
from ntt_plugin.demo.folder import write_coco  # noqa: E402
from ntt_plugin.demo.streams import reference_scene, scoring_scene  # noqa: E402


def main() -> None:
    """Draw references from one COCO file, segment the images of another, score by its rules."""
    options = parse_options()
    if options.train is None:
        make_scenes(options)
    train, val = read_coco(options.train), read_coco(options.val)
    task = Task("", train, options.train_images, val, options.val_images, novel_classes(val))
    outcome = run_task(
        TABLE, task, options.shots, options.seed, options.preset, options.name, options.device
    )
    for kind in ("bbox", "segm"):
        ap = outcome.figures[f"{kind} AP"]
        print(f"{kind} AP {ap:.4f}, {options.shots} shots, seed {options.seed}")


def parse_options() -> argparse.Namespace:
    """The command line; without files of yours, ``make_scenes`` fills them in."""
    parser = argparse.ArgumentParser("examples/coco_few_shot.py", description=main.__doc__)
    add = parser.add_argument
    add("--train", type=Path, help="annotation file to draw references from")
    add("--train-images", type=Path, help="folder of its images")
    add("--val", type=Path, help="annotation file to score against")
    add("--val-images", type=Path, help="folder of its images")
    add("--name", help="the validation dataset's name in FiftyOne")
    add("--preset", default="tiny", help="the networks and constants to use")
    add("--device", help="cpu, cuda or mps (default: the best there is)")
    add("--shots", type=int, default=3, help="references a class")
    add("--seed", type=int, default=33, help="seed of the choice of references")
    add("--scenes", type=int, nargs=2, default=(60, 30), help="generated: to learn, to score")
    add("--folder", type=Path, default=Path("demo/coco"), help="for generated scenes")
    options = parser.parse_args()
    given = [options.train, options.train_images, options.val, options.val_images]
    if any(given) and not all(given):
        parser.error("give --train, --train-images, --val and --val-images together, or none")
    options.name = options.name or ("ntt-coco" if any(given) else "ntt-coco-scenes")
    return options


def make_scenes(options: argparse.Namespace) -> None:
    """A small dataset in COCO's format, made anew: scenes of classes new to the tiny networks."""
    learn, score = options.scenes
    if fo.dataset_exists(options.name):
        fo.delete_dataset(options.name)
    options.train = write_coco(options.folder, "train", map(reference_scene, range(learn)))
    options.val = write_coco(options.folder, "val", map(scoring_scene, range(score)))
    options.train_images, options.val_images = (options.folder / part for part in ("train", "val"))


def novel_classes(coco: Coco) -> frozenset[int]:
    """COCO's twenty novel classes; of a file without them, all of its classes."""
    ids = {entry["name"]: entry["id"] for entry in coco["categories"]}
    novel = frozenset(ids[name] for name in NOVEL_COCO_CLASSES if name in ids)
    return novel or frozenset(ids.values())


if __name__ == "__main__":
    main()
