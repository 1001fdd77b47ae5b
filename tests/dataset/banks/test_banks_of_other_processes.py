"""What another process did to the banks of a dataset that this one has loaded already."""

import fiftyone.core.odm as foo
import pytest
import torch

from ntt_plugin.dataset.banks import banks, edit, store
from ntt_plugin.dataset.database.dataset_locks import bank_lock
from ntt_plugin.engine.bank.memory_bank import MemoryBank
from ntt_plugin.errors import DatasetError
from tests.processes import run_elsewhere


def make_bank(segmenter, label):
    bank = MemoryBank(segmenter.fingerprint, "tiny")
    bank.add(label, torch.rand(1, 3))
    return bank


def elsewhere(dataset, code):
    """Run code that finds ``dataset`` and ``banks``, in a process of its own."""
    start = (
        "import sys, fiftyone as fo\n"
        "from ntt_plugin.dataset.banks import banks\n"
        "dataset = fo.load_dataset(sys.argv[1])\n"
    )
    run_elsewhere(start + code, dataset.name)


def test_banks_of_another_process_are_seen_kept_and_read_as_they_are(dataset, segmenter):
    banks.save_memory_bank(dataset, "mine", make_bank(segmenter, "mine"))
    banks.save_memory_bank(dataset, "gone", make_bank(segmenter, "gone"))
    banks.save_memory_bank(dataset, "changed", make_bank(segmenter, "before"))
    edited = dataset.first()
    edited["note"] = "not saved yet"
    elsewhere(
        dataset,
        "mine = banks.load_memory_bank(dataset, 'mine')\n"
        "banks.save_memory_bank(dataset, 'theirs', mine)\n"
        "banks.save_memory_bank(dataset, 'changed', mine, overwrite=True)\n"
        "banks.delete_memory_bank(dataset, 'gone')\n",
    )

    for action in (
        lambda: banks.save_memory_bank(dataset, "theirs", make_bank(segmenter, "other")),
        lambda: store.write(dataset, "theirs", make_bank(segmenter, "other"), False),
        lambda: banks.rename_memory_bank(dataset, "mine", "theirs"),
        lambda: banks.build_memory_bank(dataset, "ground_truth", "theirs", segmenter=segmenter),
    ):
        with pytest.raises(DatasetError, match="already has a memory bank 'theirs'"):
            action()
    assert banks.load_memory_bank(dataset, "theirs").classes == ["mine"]
    assert banks.load_memory_bank(dataset, "changed").classes == ["mine"]
    assert banks.list_memory_banks(dataset) == ["changed", "mine", "theirs"]
    with pytest.raises(DatasetError, match="no memory bank 'gone'"):
        banks.delete_memory_bank(dataset, "gone")
    assert edited["note"] == "not saved yet"
    stored = foo.RunDocument.objects(dataset_id=dataset._doc.id).count()
    dataset.reload()
    # Beside the three banks, the state of one before its change.
    assert stored == len(dataset.list_runs()) == 4


def test_two_processes_that_teach_a_bank_lose_nothing_of_one_another(dataset, segmenter):
    banks.build_memory_bank(dataset.limit(1), "ground_truth", "bank", segmenter=segmenter)
    code = (
        "from ntt_plugin.dataset.banks import edit as bank_edits\n"
        "from tests.dataset.scenes import ColourSegmenter\n"
        "bank_edits.update_memory_bank(\n"
        "    dataset[1:2], 'ground_truth', 'bank', segmenter=ColourSegmenter()\n"
        ")\n"
    )

    def meanwhile(bar):
        if bar.iteration == 1:
            elsewhere(dataset, code)

    change = edit.update_memory_bank(
        dataset[1:3], "ground_truth", "bank", segmenter=segmenter, progress=meanwhile
    )
    assert (change.already, sum(change.added.values())) == (3, 3)
    assert len(banks.load_memory_bank(dataset, "bank")) == 9


@pytest.mark.parametrize(
    "change",
    [
        lambda d, bank: banks.save_memory_bank(d, "bank", bank, overwrite=True),
        lambda d, bank: banks.rename_memory_bank(d, "bank", "other"),
        lambda d, bank: banks.delete_memory_bank(d, "bank"),
    ],
    ids=["overwrite", "rename", "delete"],
)
def test_a_bank_that_another_is_changing_is_left_alone(dataset, segmenter, change):
    banks.save_memory_bank(dataset, "bank", make_bank(segmenter, "red"))
    with bank_lock(dataset, "bank"):
        with pytest.raises(DatasetError, match=r"is changing the memory bank 'bank'.*try again"):
            change(dataset, make_bank(segmenter, "blue"))
    assert banks.load_memory_bank(dataset, "bank").classes == ["red"]
    change(dataset, make_bank(segmenter, "blue"))
    assert "bank" not in banks.list_memory_banks(dataset) or (
        banks.load_memory_bank(dataset, "bank").classes == ["blue"]
    )


def test_the_banks_of_a_deleted_dataset_are_an_error_of_ours(dataset):
    foo.get_db_conn().datasets.delete_one({"_id": dataset._doc.id})
    with pytest.raises(DatasetError, match="was deleted"):
        banks.list_memory_banks(dataset)
