"""The real tasks in workers: from a script, from a thread, and what a worker imports for them."""

import subprocess
import sys
import threading
import uuid
from pathlib import Path

import pytest

import ntt_plugin as ntt
from ntt_plugin.demo.dataset import make_dataset
from ntt_plugin.engine import Recipe
from ntt_plugin.worker.tasks import spec as specs
from tests.processes import run_script

ROOT = Path(__file__).resolve().parents[2]
RECIPE = Recipe.from_preset("tiny", grid=4)

SCRIPT = """
import fiftyone as fo
import ntt_plugin as ntt
report = ntt.segment(fo.load_dataset("{name}"), "shapes", "script", workers=1, device="cpu",
                     cache=False, progress=False)
print(report.segmented, "segmented")
"""

IN_A_WORKER = """
import sys
from ntt_plugin.worker.handler import load_handler
from ntt_plugin.worker.messages import Item
handler = load_handler(sys.argv[1], open(sys.argv[2], "rb").read())
handler.submit(Item("0" * 24, sys.argv[3]).to_bytes())
print(len(handler.next()) > 1000, *sorted({"fiftyone", "pymongo", "ray"} & set(sys.modules)))
"""


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Four scenes and the bank ``shapes``."""
    name = f"test_{uuid.uuid4().hex}"
    dataset = make_dataset(tmp_path_factory.mktemp("scenes"), pool=2, targets=2, name=name)
    dataset.persistent = True
    ntt.build_memory_bank(
        dataset, "ground_truth", "shapes", preset=RECIPE, device="cpu", progress=False
    )
    yield dataset
    dataset.delete()


def test_a_script_without_main_guard_has_workers(scenes, tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT.format(name=scenes.name))
    printed = run_script(tmp_path, "script.py")
    assert printed.count("4 segmented") == 1


def test_a_thread_has_workers(scenes):
    reports = []

    def segment() -> None:
        options = {"workers": 1, "device": "cpu", "cache": False, "progress": False}
        reports.append(ntt.segment(scenes, "shapes", "thread", **options))

    thread = threading.Thread(target=segment)
    thread.start()
    thread.join()
    assert [report.segmented for report in reports] == [4]


def test_a_worker_imports_no_fiftyone_for_the_real_task(scenes, tmp_path, monkeypatch):
    sent = []
    plain = specs.WorkerSpec.to_bytes

    class Told(Exception):
        pass

    def keep(spec):
        sent.append(plain(spec))
        raise Told

    monkeypatch.setattr(specs.WorkerSpec, "to_bytes", keep)
    with pytest.raises(Told):
        ntt.segment(scenes, "shapes", "spec", workers=1, device="cpu", cache=False, progress=False)
    (tmp_path / "spec").write_bytes(sent[0])
    path = scenes.first().filepath
    arguments = [specs.HANDLER, str(tmp_path / "spec"), path]
    done = subprocess.run(
        [sys.executable, "-c", IN_A_WORKER, *arguments], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.split() == ["True"], done.stderr
