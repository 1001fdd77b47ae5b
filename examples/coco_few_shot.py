"""The few-shot protocol of the published table, over COCO annotation files.

    python examples/coco_few_shot.py                        # generated scenes, offline
    python examples/coco_few_shot.py --preset paper --shots 30 --seed 33 \
        --train-images coco/train2017 --train coco/annotations/instances_train2017.json \
        --val-images coco/val2017 --val coco/annotations/instances_val2017.json

References are drawn from the training file in its own order, as the paper's were; all validation
images are segmented; pycocotools scores the novel classes against the validation file itself. A run
that is stopped goes on at the next call, and another ``--seed`` relabels in seconds, for what the
networks find in an image is kept.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import ntt_plugin as ntt
from ntt_plugin.dataset.labels.placed_masks import full_mask
from ntt_plugin.dataset.references.coco_few_shot import NOVEL_COCO_CLASSES, sample_few_shot
from ntt_plugin.demo.folder import write_coco
from ntt_plugin.demo.streams import reference_scene, scoring_scene
from ntt_plugin.engine import MemoryBank, Reference, Segmenter


def main() -> None:
    """Draw references from one COCO file, segment the images of another, score by its rules."""
    options = parse_options()
    if options.train is None:
        make_scenes(options)
    train, val = COCO(str(options.train)), COCO(str(options.val))
    category_ids = novel_categories(val)
    bank = build_bank(train, category_ids, options)

    dataset = val_dataset(val, options.val_images, options.name)
    field = re.sub(r"\W", "_", f"ntt_{options.preset}_{options.shots}_{options.seed}")
    print(ntt.segment(dataset, bank, label_field=field))

    results = coco_results(dataset, field, val)
    if not results:
        raise SystemExit("Nothing was found in any image, so there is nothing to score.")
    # A result with a box has its size class from the box, so masks are scored without.
    for kind, left_out in (("bbox", "segmentation"), ("segm", "bbox")):
        scored = [{k: v for k, v in result.items() if k != left_out} for result in results]
        evaluation = COCOeval(val, val.loadRes(scored), kind)
        evaluation.params.catIds = category_ids
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        print(f"{kind} AP {evaluation.stats[0]:.4f}, {options.shots} shots, seed {options.seed}")


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


def novel_categories(coco: COCO) -> list[int]:
    """COCO's twenty novel classes; of a file without them, all of its classes."""
    return coco.getCatIds(catNms=list(NOVEL_COCO_CLASSES)) or coco.getCatIds()


def build_bank(train: COCO, category_ids: list[int], options: argparse.Namespace) -> MemoryBank:
    """Recipe section 7: the references' boxes and masks are the file's own, to the pixel."""
    chosen = sample_few_shot(train.dataset, options.shots, options.seed, category_ids)
    segmenter = Segmenter.from_preset(options.preset, device=options.device)
    return segmenter.build_bank(reference(train, options.train_images, entry) for entry in chosen)


def reference(train: COCO, folder: Path, entry: dict[str, Any]) -> Reference:
    """One drawn annotation as the engine learns it."""
    annotation = train.anns[entry["annotation_id"]]
    x, y, w, h = annotation["bbox"]
    return Reference(
        image=folder / train.imgs[entry["image_id"]]["file_name"],
        mask=train.annToMask(annotation).astype(bool),
        label=train.cats[entry["category_id"]]["name"],
        box=(x, y, x + w, y + h),
    )


def val_dataset(val: COCO, folder: Path, name: str) -> Any:
    """The validation images in FiftyOne, kept there, so that a stopped run can go on."""
    if fo.dataset_exists(name):
        dataset = fo.load_dataset(name)
    else:
        dataset = fo.Dataset(name, persistent=True)
    paths = {str((folder / entry["file_name"]).resolve()): key for key, entry in val.imgs.items()}
    new = sorted(set(paths) - set(dataset.values("filepath")))
    dataset.add_samples([fo.Sample(filepath=path, coco_id=paths[path]) for path in new])
    return dataset.select_by("filepath", list(paths))


def coco_results(dataset: Any, field: str, val: COCO) -> list[dict[str, Any]]:
    """What was found, as a COCO results list with unrounded scores."""
    ids = {entry["name"]: key for key, entry in val.cats.items()}
    results = []
    for sample in dataset.select_fields([field, "coco_id"]).iter_samples(progress=True):
        image = val.imgs[sample.coco_id]
        size = image["height"], image["width"]
        for label in sample[field].detections if sample[field] else []:
            rle = mask_utils.encode(np.asfortranarray(full_mask(label, size), dtype=np.uint8))
            results.append(
                {
                    "image_id": sample.coco_id,
                    "category_id": ids[label.label],
                    "bbox": mask_utils.toBbox(rle).tolist(),
                    "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
                    "score": label.confidence,
                }
            )
    return results


if __name__ == "__main__":
    main()
