"""Label new images with what another dataset has taught.

    python examples/label_with_another_datasets_bank.py

You labelled one dataset; now comes another one without a single label. A memory bank is saved
with the dataset that it learned from, and serves any other: by that dataset's name on the same
machine, or as a file on another one.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import fiftyone as fo

import ntt_plugin as ntt
from ntt_plugin.demo.dataset import make_dataset


def main() -> None:
    """Build a bank in a labelled dataset and segment an unlabelled one with it, in two ways."""
    parser = argparse.ArgumentParser(
        "examples/label_with_another_datasets_bank.py", description=main.__doc__
    )
    parser.add_argument("--preset", default="tiny", help="the networks and constants to use")
    parser.add_argument("--pool", type=int, default=40, help="images of the labelled dataset")
    parser.add_argument("--images", type=int, default=20, help="images of the other one")
    parser.add_argument("--folder", type=Path, default=Path("demo/banks"), help="for files")
    options = parser.parse_args()

    labelled = make_dataset(options.folder / "labelled", options.pool, 0, name="ntt-labelled")
    ntt.sample_references(labelled, "ground_truth", shots=3)
    ntt.build_memory_bank(
        labelled, "ground_truth", "shapes", tag="reference", preset=options.preset
    )

    # The new dataset: images and nothing else. (The generator's labels are left behind.)
    new = make_dataset(options.folder / "new", 0, options.images, name="ntt-new")
    new.delete_sample_field("ground_truth")

    # On the same machine: name the dataset that keeps the bank.
    print(ntt.segment(new, "shapes", label_field="ntt", bank_dataset=labelled.name))
    for label, count in sorted(new.count_values("ntt.detections.label").items()):
        print(f"{count:6d}  {label}")

    # On another machine: the file is enough. It holds features and names, no images.
    path = ntt.export_memory_bank(labelled, "shapes", options.folder, overwrite=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} KB")
    ntt.import_memory_bank(new, path, "from_file")
    print(ntt.segment(new, "from_file", label_field="ntt_from_file"))

    # Each label names the reference that it is most like, and the dataset where that lies.
    label = new.first()["ntt"].detections[0]
    source = fo.load_dataset(label.reference_dataset)[label.reference_sample]
    print(f"{label.label}, {label.confidence:.2f}: most like one in {Path(source.filepath).name}")


if __name__ == "__main__":
    main()
