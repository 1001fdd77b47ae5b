"""What a local worker sees, and how it ends with its driver."""

import signal
import subprocess
import sys
import textwrap
import threading
import time
from itertools import islice
from pathlib import Path

import psutil
import pytest

from ntt_plugin.worker import local_processes
from ntt_plugin.worker.dispatcher import dispatch

from .conftest import results

ROOT = Path(__file__).resolve().parents[2]

# A shell that starts pytest in the background has it ignore Ctrl+C, and so would the driver.
DRIVER = """
import os, signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from ntt_plugin.worker.dispatcher import dispatch
from ntt_plugin.worker.local_processes import LocalPool
pool = LocalPool(2, "tests.worker.stubs:Echo", b"")
for key, result in dispatch([(n, b"who") for n in range(8)] + [(8, b"hang on")] * 2, pool):
    print("result", key, flush=True)
"""


def test_each_worker_has_a_gpu_of_its_own(local):
    pool = local(2, gpus=["3", "GPU-abc"])
    found = results(["who"] * 40, pool)
    assert {text.split()[1] for text in found.values()} <= {"3", "GPU-abc"}


def test_workers_share_the_cores(local, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(local_processes, "cores_here", lambda: 8)
    assert results(["threads"], local(2))[0] == "4"


def test_workers_use_no_more_threads_than_the_driver_may(local, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(local_processes, "cores_here", lambda: 8)
    assert results(["threads"], local(2))[0] == "1"


def test_a_worker_imports_neither_fiftyone_nor_a_database(local):
    modules = set(results(["modules"], local(1))[0].split())
    assert "ntt_plugin.worker.local_child" in modules
    assert not {"fiftyone", "pymongo", "torch"} & modules


def test_a_worker_starts_where_its_driver_is(local, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert results(["where"], local(1)) == {0: str(tmp_path)}


def test_a_worker_of_a_driver_whose_folder_was_deleted_starts_elsewhere(
    local, tmp_path, monkeypatch
):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert results(["where"], local(1)) == {0: "/"}


def test_the_gpus_are_those_that_the_driver_may_use(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5, GPU-abc")
    assert local_processes.gpus_here() == ["5", "GPU-abc"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert local_processes.gpus_here() == ["0", "1"]


def test_items_larger_than_the_sockets_buffer_arrive(local):
    texts = ["a" * 3_000_000, "b" * 5_000_000, "c"]
    assert results(texts, local(1)) == {n: text.upper() for n, text in enumerate(texts)}


def test_workers_can_be_driven_from_a_thread(local):
    found: list[dict] = []
    thread = threading.Thread(target=lambda: found.append(results(["x"] * 20, local(2))))
    thread.start()
    thread.join()
    assert found == [dict.fromkeys(range(20), "X")]


def test_a_script_without_main_guard_is_run_once(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            print("begins")
            from ntt_plugin.worker.dispatcher import dispatch
            from ntt_plugin.worker.local_processes import LocalPool
            pool = LocalPool(2, "tests.worker.stubs:Echo", b"")
            print(len(list(dispatch([(n, b"x") for n in range(20)], pool))))
            """
        )
    )
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split() == ["begins", "20"], done.stderr


class Driver:
    """A process that drives two workers, which hang after eight items."""

    def __init__(self, code: str = DRIVER) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert self.process.stdout is not None
        lines = (line for line in self.process.stdout if line.startswith("result "))
        assert len(list(islice(lines, 8))) == 8
        children = psutil.Process(self.process.pid).children()
        self.workers = [child for child in children if "local_child" in " ".join(child.cmdline())]
        self.forks = [child for child in children if child not in self.workers]

    def workers_left(self, seconds: float) -> list[psutil.Process]:
        alive: list[psutil.Process] = psutil.wait_procs(self.workers, timeout=seconds)[1]
        return alive


@pytest.mark.parametrize("signal_name", ["kill", "terminate"])
def test_workers_end_with_their_driver(signal_name):
    driver = Driver()
    getattr(driver.process, signal_name)()
    driver.process.communicate()
    assert driver.workers and driver.workers_left(5) == []


def test_ctrl_c_ends_driver_and_workers():
    driver = Driver()
    driver.process.send_signal(signal.SIGINT)
    _, errors = driver.process.communicate()
    assert errors.strip().endswith("KeyboardInterrupt")
    assert driver.workers and driver.workers_left(1) == []


def test_workers_end_while_a_fork_of_the_driver_holds_its_sockets():
    held = "    if key == 6 and os.fork() == 0:\n        time.sleep(20)\n        os._exit(0)\n"
    driver = Driver(DRIVER.replace("    print(", held + "    print("))
    driver.process.kill()
    driver.process.wait()
    left = driver.workers_left(5)
    [fork] = driver.forks
    fork.kill()
    assert driver.workers and left == []


def test_results_that_the_driver_does_not_fetch_keep_no_worker_from_working(local):
    """Each result is larger than what a socket holds."""
    iterator = dispatch([(n, b"y" * 1_000_000) for n in range(16)], local(1))
    next(iterator)
    time.sleep(0.5)
    assert len(list(iterator)) == 15
