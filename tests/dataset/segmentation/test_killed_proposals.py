"""A run that is killed while it keeps proposals loses none that it kept, and corrupts nothing."""

import signal

import pytest

import ntt_plugin as ntt
from ntt_plugin.engine.proposals.codec import decode_proposals
from ntt_plugin.engine.proposals.record_files import list_records
from ntt_plugin.engine.proposals.store import ProposalStore
from tests.dataset.segmentation.test_cached_proposals import Kept, labels_of, run
from tests.processes import OtherProcess

# A run in a process of its own that kills itself when it takes a step for the n-th time.
CHILD = """
import os, signal, sys
import fiftyone as fo
from ntt_plugin.dataset.segmentation import segment as segmentation
from ntt_plugin.engine.proposals import record_files
from ntt_plugin.engine.proposals.store import ProposalStore
from ntt_plugin.worker.tasks import cached_proposals as kept_proposals
from tests.dataset.segmentation.test_cached_proposals import Kept

name, folder, step, count = sys.argv[1:]
original, calls = getattr(record_files, step), []

def dying(*args, **kwargs):
    calls.append(1)
    if len(calls) == int(count):
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*args, **kwargs)

setattr(record_files, step, dying)
# With several writers, records would not be finished one after the other.
kept_proposals._MOST_WRITERS = 1
segmentation.segment(fo.load_dataset(name), "bank", "ntt", segmenter=Kept(), progress=False,
                     cache=ProposalStore(folder, 10**8))
"""


@pytest.mark.parametrize("moment", ["_checksum:4", "touch:4"])
def test_what_a_killed_run_kept_is_used_and_whole(dataset, tmp_path, moment):
    bank = ntt.build_memory_bank(dataset, "ground_truth", "bank", segmenter=Kept(), progress=False)
    kept = str(tmp_path / "kept")
    ended = OtherProcess(CHILD, dataset.name, kept, *moment.split(":")).wait()
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    dataset.reload()

    store = ProposalStore(tmp_path / "kept", 10**8)
    kept = [record for record in list_records(store.folder) if record.finished]
    assert len(kept) == store.info().entries == 3
    for record in kept:
        payload = store.get(record.path.stem)
        assert payload is not None and len(decode_proposals(payload)) > 0

    segmenter = Kept()
    report = run(dataset, bank, "again", segmenter, store)
    assert (report.from_cache, segmenter.proposed, report.notes) == (3, 3, [])
    run(dataset, bank, "cold", Kept(), False)
    assert labels_of(dataset, "again") == labels_of(dataset, "cold")
