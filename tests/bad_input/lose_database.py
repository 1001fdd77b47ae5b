"""A run whose database is killed under it, comes back, and is gone on with: prints what it saw.

A process of its own, with a database of its own that it may kill.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pymongo

from tests import fiftyone_database

# FiftyOne waits half a minute for a database that is gone; a test does not.
os.environ["FIFTYONE_DATABASE_URI"] += "/?serverSelectionTimeoutMS=1500&connectTimeoutMS=1500"

import fiftyone as fo

from ntt_plugin.dataset.banks import banks
from ntt_plugin.dataset.segmentation.segment import segment
from ntt_plugin.errors import DatasetError
from tests.dataset import scenes


class Killer(scenes.ColourSegmenter):
    """Kills the database while it looks at its third image, when the two before are written."""

    def propose(self, image, progress=None):
        proposals = super().propose(image)
        if self.proposed == 3:
            scenes.wait_until_written(fo.load_dataset("lost"), 2)
            fiftyone_database._mongod.kill()
            fiftyone_database._mongod.wait()
        return proposals


def wait_for_the_database() -> None:
    with pymongo.MongoClient(os.environ["FIFTYONE_DATABASE_URI"].split("/?")[0]) as client:
        client.admin.command("ping")


def main() -> None:
    folder = Path(tempfile.mkdtemp(dir=fiftyone_database._FOLDER))
    dataset = scenes.make_dataset("lost", folder, count=6)
    banks.build_memory_bank(dataset, "ground_truth", "blocks", segmenter=Killer())
    command = fiftyone_database._mongod.args
    message = ""
    try:
        segment(dataset, "blocks", segmenter=Killer())
    except DatasetError as error:
        message = str(error)
    fiftyone_database._mongod = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    wait_for_the_database()
    done = [len(sample.ntt.detections) for sample in dataset if sample.ntt]
    # FiftyOne takes a dataset's length from a count that MongoDB forgets when it is killed; a
    # view's is counted.
    view = dataset.limit(6)
    report = segment(view, "blocks", segmenter=scenes.ColourSegmenter())
    print(
        json.dumps(
            {
                "message": message,
                "done": done,
                "banks": banks.list_memory_banks(dataset),
                "truth": dataset.count("ground_truth.detections"),
                "then": [report.segmented, report.skipped, len(report.failed)],
            }
        )
    )


if __name__ == "__main__":
    sys.exit(main())
