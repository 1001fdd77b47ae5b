"""A run whose database is killed and started again under it, twice: prints what it saw.

A process of its own, with a database of its own that it may kill.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests import fiftyone_database

import fiftyone as fo  # isort: skip

from ntt_plugin.dataset.banks import banks
from ntt_plugin.dataset.segmentation import writing_behind
from ntt_plugin.dataset.segmentation.segment import segment
from ntt_plugin.dataset.segmentation.writer import FieldWriter
from tests.dataset import scenes

COUNT = 40


def restart() -> None:
    """Kill the database, which forgets what it wrote in the last tenth of a second."""
    command = fiftyone_database._mongod.args
    fiftyone_database._mongod.kill()
    fiftyone_database._mongod.wait()
    fiftyone_database._mongod = subprocess.Popen(command, stdout=subprocess.DEVNULL)


def main() -> None:
    folder = Path(tempfile.mkdtemp(dir=fiftyone_database._FOLDER))
    dataset = scenes.make_dataset("restarted", folder, COUNT)
    segmenter = scenes.ColourSegmenter()
    bank = banks.build_memory_bank(dataset, "ground_truth", "blocks", segmenter=segmenter)
    # The bank and the scenes are on the disk; what a run writes is what may be lost.
    fo.core.odm.get_db_conn().client.admin.command("fsync")
    update, written = FieldWriter._update, []

    def killing(*args):
        too_large = update(*args)
        written.append(1)
        if len(written) in (15, COUNT):
            restart()
        return too_large

    FieldWriter._update = killing
    writing_behind.MOST_AT_ONCE = 1
    report = segment(dataset, bank, segmenter=segmenter)
    samples = dataset._sample_collection
    held = samples.count_documents({"ntt.detections.2": {"$exists": True}})
    print(
        json.dumps(
            {
                "state": report.state,
                "held": held,
                "segmented": report.segmented,
                "failed": len(report.failed),
                "writes": len(written),
                "notes": [note.reason for note in report.notes],
            }
        )
    )


if __name__ == "__main__":
    sys.exit(main())
