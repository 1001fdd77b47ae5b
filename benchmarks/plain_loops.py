"""Loops over ``Segmenter.segment`` without end, in processes of their own, for ``scale.py``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from itertools import cycle
from pathlib import Path

READY = "ready\n"


def start_loops(
    bank: Path, files: Path, nice: int, count: int, own_session: bool
) -> subprocess.Popen[str]:
    """Plain loops in a process group of their own; gives their leader when they are ready.

    Each computes in one thread, as each of two workers on two cores does. With ``own_session``
    the group is a session.
    """
    own_group = "" if own_session else "group"
    arguments = [str(bank), str(files), str(nice), str(count), own_group]
    loops = subprocess.Popen(
        [sys.executable, __file__, *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=own_session,
    )
    assert loops.stdout is not None
    # One may have done an image before another is ready.
    while count:
        line = loops.stdout.readline()
        if not line:
            raise SystemExit("A plain loop ended at its start.")
        count -= line == READY
    return loops


def read_counts(loop: subprocess.Popen[str]) -> list[float]:
    """The moments at which a loop has done an image; grows while it runs."""
    moments: list[float] = []
    assert loop.stdout is not None
    stream = loop.stdout

    def read() -> None:
        for line in stream:
            moments.append(float(line))

    threading.Thread(target=read, daemon=True).start()
    return moments


def main(bank_file: str, list_file: str, nice: str, count: str, own_group: str) -> None:
    """Segment the files in turn, and print the moment of each; ``count`` processes do so."""
    if own_group:
        os.setpgrp()
    os.nice(int(nice))
    # Before the networks' code, which cannot be forked later.
    for _ in range(int(count) - 1):
        if os.fork() == 0:
            break
    from ntt_plugin.engine import MemoryBank, Segmenter

    bank = MemoryBank.from_bytes(Path(bank_file).read_bytes())
    segmenter = Segmenter.from_preset(bank.recipe, device="cpu")
    tell(READY)
    for path in cycle(json.loads(Path(list_file).read_text())):
        segmenter.segment(path, bank)
        tell(f"{time.monotonic()}\n")


def tell(line: str) -> None:
    """Print a line in one piece: the loops share a pipe."""
    os.write(1, line.encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
