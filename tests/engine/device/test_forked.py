"""A child that was forked after networks ran: an error of ours in place of an endless wait."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys

import pytest

FORK = """
import os, select, signal, sys
import numpy as np
import torch
from ntt_plugin.engine import NttError, Segmenter

torch.set_num_threads(2)
segmenter = Segmenter.from_preset("tiny", device="cpu")
image = np.zeros((40, 40, 3), np.uint8)
proposals = segmenter.propose(image)
read, write = os.pipe()
child = os.fork()
if child == 0:
    threads = int(sys.argv[1])
    if threads != 2:
        torch.set_num_threads(threads)
    try:
        if sys.argv[2] == "propose":
            segmenter.propose(image)
        else:
            proposals.with_masks_made()
        said = "done"
    except NttError as error:
        said = str(error)
    os.write(write, said.encode())
    os._exit(0)
if select.select([read], [], [], 60)[0]:
    print(os.read(read, 10_000).decode())
else:
    print("The child hangs.")
    os.kill(child, signal.SIGKILL)
os.wait()
"""


def said_by_a_child(threads: int, work: str = "propose") -> str:
    command = [sys.executable, "-c", FORK, str(threads), work]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=120, env={**os.environ}
    ).stdout


needs_fork = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="this system has no fork"
)


@needs_fork
@pytest.mark.parametrize("work", ["propose", "with_masks_made"])
def test_a_forked_child_is_told_to_be_spawned(work: str) -> None:
    assert "'spawn'" in said_by_a_child(threads=2, work=work)


@needs_fork
def test_a_forked_child_with_one_thread_computes() -> None:
    assert said_by_a_child(threads=1).strip() == "done"
