"""From a few references to scored masks, the shortest way.

    python examples/quickstart.py

By default it makes generated scenes and runs the small bundled networks on them, offline. For
images of your own, put your dataset in place of ``make_dataset`` and pass ``--preset paper``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import ntt_plugin as ntt
from ntt_plugin.demo.dataset import make_dataset


def main() -> None:
    """Choose references, learn them, find their classes in other images, score the result."""
    parser = argparse.ArgumentParser("examples/quickstart.py", description=main.__doc__)
    parser.add_argument("--preset", default="tiny", help="the networks and constants to use")
    parser.add_argument("--shots", type=int, default=3, help="references a class")
    parser.add_argument("--pool", type=int, default=40, help="images to take references from")
    parser.add_argument("--images", type=int, default=30, help="images to segment")
    parser.add_argument("--folder", type=Path, default=Path("demo/quickstart"), help="for images")
    options = parser.parse_args()

    # Yours: fo.load_dataset("my-dataset"), with masks in the field "ground_truth" of some images.
    dataset = make_dataset(options.folder, options.pool, options.images, name="ntt-quickstart")
    pool, targets = dataset.match_tags("pool"), dataset.match_tags("target")

    # Labels that are references carry a label tag; tag your own in the App if you like.
    print(ntt.sample_references(pool, "ground_truth", shots=options.shots))
    bank = ntt.build_memory_bank(
        pool, "ground_truth", "shapes", tag="reference", preset=options.preset
    )
    print(bank)

    # The images to segment need no labels. A run that is stopped goes on at the next call.
    print(ntt.segment(targets, "shapes", label_field="ntt"))

    # These happen to have some, so the result can be scored.
    ntt.evaluate(targets, "ntt", "ground_truth", eval_key="ntt_eval")
    figures = ntt.coco_figures(dataset, "ntt_eval")
    print(f"segm AP {figures.segm['AP']:.3f}, AP50 {figures.segm['AP50']:.3f}")
    print(f"Look at it: fiftyone app launch {dataset.name}")


if __name__ == "__main__":
    main()
