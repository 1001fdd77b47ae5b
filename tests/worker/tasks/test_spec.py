"""A worker is started with all it needs, and says in a sentence what it cannot do."""

import dataclasses
import gc
import platform
import subprocess
import sys

import pytest

from ntt_plugin.engine.bank.memory_bank import Fingerprint, MemoryBank
from ntt_plugin.engine.recipe import Recipe
from ntt_plugin.errors import BankError, WorkerError
from ntt_plugin.worker.handler import quick_imports
from ntt_plugin.worker.labels.label_bytes import Stamp
from ntt_plugin.worker.tasks.spec import (
    PROPOSE,
    SEGMENT,
    WorkerSpec,
    make_handler,
    mapping_of,
    require_readable,
)


@pytest.mark.parametrize("preset", ["paper", "balanced", "fast", "best", "tiny"])
def test_a_spec_comes_back_as_it_was_sent(preset):
    stamp = Stamp("run", "token", {"_cls": "Detection", "tags": []}, {"detections": []}, True)
    spec = WorkerSpec(
        SEGMENT,
        Recipe.from_preset(preset),
        device="cuda",
        zoo_dirs=["/zoo"],
        bank=b"bank",
        bank_name="animals",
        stamp=stamp,
        store="/kept",
        store_bytes=2**40,
        paths={"/data.v1": "/mnt/data"},
        look_at=["/data.v1/a.png"],
    )
    assert WorkerSpec.from_bytes(spec.to_bytes()) == spec
    plain = WorkerSpec(SEGMENT, Recipe.from_preset(preset), zoo_dirs=[], look_at=[])
    assert WorkerSpec.from_bytes(plain.to_bytes()) == plain


def test_another_version_is_refused_with_both_named():
    spec = dataclasses.replace(WorkerSpec(SEGMENT, Recipe()), version="9.9")
    with pytest.raises(WorkerError, match=rf"^{platform.node()} has version .* version 9\.9"):
        make_handler(spec.to_bytes())


def test_a_file_that_cannot_be_read_is_named_with_the_machine(tmp_path):
    (tmp_path / "a.png").write_bytes(b"a")
    require_readable([str(tmp_path / "a.png")])
    missing = str(tmp_path / "b.png")
    with pytest.raises(WorkerError, match=r"cannot read .*b\.png .*mount it there or give paths="):
        make_handler(WorkerSpec(SEGMENT, Recipe(), look_at=[missing]).to_bytes())


def test_a_missing_file_is_told_before_the_networks_code_is_imported(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ntt_plugin.engine.segmenter", None)  # importing it raises
    spec = WorkerSpec(PROPOSE, Recipe.from_preset("tiny"), look_at=[str(tmp_path / "a.png")])
    with pytest.raises(WorkerError, match="cannot read"):
        make_handler(spec.to_bytes())


def test_garbage_is_collected_again_after_imports_that_fail():
    with pytest.raises(ImportError), quick_imports():
        assert not gc.isenabled()
        raise ImportError
    assert gc.isenabled()


def test_a_bank_of_another_encoder_is_refused():
    bank = MemoryBank(Fingerprint("another", "digest", size=224, channels=2))
    spec = WorkerSpec(
        SEGMENT, Recipe.from_preset("tiny", grid=4), device="cpu", bank=bank.to_bytes()
    )
    with pytest.raises(BankError, match="another"):
        make_handler(spec.to_bytes())


@pytest.mark.parametrize(
    ("path", "mapped"),
    [
        ("/data/a.png", "/mnt/data/a.png"),
        ("/data/deep/a.png", "/ssd/a.png"),
        ("/data", "/mnt/data"),
        ("/database/a.png", "/database/a.png"),
        ("/else/data/a.png", "/else/data/a.png"),
    ],
)
def test_paths_begin_as_this_machine_has_them(path, mapped):
    assert mapping_of({"/data/": "/mnt/data/", "/data/deep": "/ssd"})(path) == mapped


def test_a_workers_code_needs_neither_fiftyone_nor_a_database_client():
    code = (
        "import sys\n"
        "sys.modules['fiftyone'] = sys.modules['pymongo'] = None\n"  # importing them now raises
        "import ntt_plugin.worker.tasks.spec, ntt_plugin.worker.tasks.task_handler\n"
        "from ntt_plugin.engine.segmenter import Segmenter\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
