import os
import subprocess
import sys
from pathlib import Path

import pytest

from ntt_plugin.dataset.runtime.caching import in_own_thread

TASKS = Path("/proc/self/task")

# How many threads more the process has, some seconds after a thread that lives on called something:
# in a thread of its own, and plainly.
SCRIPT = """
import os, time
from concurrent.futures import ThreadPoolExecutor

import torch

from ntt_plugin.dataset.runtime import caching

def product():
    return float((torch.ones(512, 512) @ torch.ones(512, 512))[0, 0])

def more():
    return len(os.listdir("/proc/self/task")) - before

for call in (lambda: caching.in_own_thread(product), product):
    with ThreadPoolExecutor(1) as living:
        living.submit(int).result()
        before = len(os.listdir("/proc/self/task"))
        assert living.submit(call).result() > 0
        deadline = time.monotonic() + 3
        while more() and time.monotonic() < deadline:
            time.sleep(0.05)
        print("more:", more())
"""


@pytest.fixture(scope="module")
def threads_left() -> list[int]:
    environment = {**os.environ, "OMP_NUM_THREADS": "3", "MKL_DYNAMIC": "FALSE"}
    call = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(call, env=environment, capture_output=True, text=True, check=True)
    return [int(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("more:")]


def test_what_it_calls_returns_and_raises():
    assert in_own_thread(lambda: 7) == 7
    with pytest.raises(ValueError, match="no"):
        in_own_thread(lambda: int("no"))


@pytest.mark.skipif(not TASKS.is_dir(), reason="counts threads where Linux lists them")
def test_torch_leaves_no_threads_in_a_thread_that_lives_on(threads_left):
    assert threads_left[0] == 0


@pytest.mark.skipif(not TASKS.is_dir(), reason="counts threads where Linux lists them")
def test_without_it_torch_does(threads_left):
    assert threads_left[1] > 0
