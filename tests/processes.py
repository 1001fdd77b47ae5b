"""Python code in other processes.

What users start themselves runs in a new interpreter. What only has to be another process is
forked from one that has imported FiftyOne and the package, for these imports take five seconds.
Such a process shares the database with the tests, and nothing else; it may be killed, and does not
call what is registered for its exit.
"""

import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

_METHODS = multiprocessing.get_all_start_methods()
_CONTEXT = multiprocessing.get_context("forkserver" if "forkserver" in _METHODS else "spawn")
_CONTEXT.set_forkserver_preload(
    [
        "fiftyone",
        "ntt_plugin.dataset.banks.edit",
        "ntt_plugin.dataset.segmentation.segment",
        "tests.dataset.scenes",
        # What workers import.
        "ntt_plugin.worker.tasks.spec",
        "ntt_plugin.engine.segmenter",
    ]
)


class OtherProcess:
    """Runs code that finds its arguments in ``sys.argv[1:]``."""

    def __init__(self, code: str, *arguments: str) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._streams = [Path(self._folder.name) / name for name in ("stdout", "stderr")]
        self._process = _CONTEXT.Process(target=_run, args=(code, arguments, self._streams))
        self._process.start()
        self.pid = self._process.pid

    def is_alive(self) -> bool:
        return self._process.is_alive()

    def wait(self) -> subprocess.CompletedProcess[str]:
        self._process.join()
        with self._folder:
            out, err = (path.read_text() if path.exists() else "" for path in self._streams)
        return subprocess.CompletedProcess([], self._process.exitcode or 0, out, err)


class ForkedWorker:
    """A local worker in a forked process, in place of the ``subprocess.Popen`` of a ``LocalPool``.

    It runs the same program. It imports nothing anew, which takes a new interpreter six seconds.
    """

    def __init__(self, descriptor: int, environment: dict[str, str]) -> None:
        with socket.socket(fileno=os.dup(descriptor)) as connection:
            self.stderr, errors = _CONTEXT.Pipe(duplex=False)
            with errors:
                arguments = (connection, errors, environment)
                self._process = _CONTEXT.Process(target=_run_worker, args=arguments)
                self._process.start()
        self.kill = self._process.kill
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("a forked worker", timeout)
        return self._process.exitcode


def run_elsewhere(code: str, *arguments: str) -> str:
    """Wait until code in another process has ended well; what it printed."""
    ended = OtherProcess(code, *arguments).wait()
    assert ended.returncode == 0, ended.stderr[-3000:]
    return ended.stdout


def run_script(folder: Path, *command: str) -> str:
    """``python COMMAND`` in a folder, in a new interpreter, as a person starts it."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def _run(code: str, arguments: tuple[str, ...], streams: list[Path]) -> None:
    from fiftyone.core.odm import database

    for number, path in enumerate(streams, start=1):
        os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY), number)
    sys.argv = ["-c", *arguments]
    # A connection that was open before a fork belongs to the parent.
    database._disconnect()
    exec(code, {"__name__": "__main__"})


def _run_worker(connection: socket.socket, errors: Connection, environment: dict[str, str]) -> None:
    import torch

    from ntt_plugin.worker import local_child

    os.dup2(errors.fileno(), 2)
    os.environ.update(environment)
    # Of a new interpreter's environment torch reads it itself.
    torch.set_num_threads(int(environment["OMP_NUM_THREADS"]))
    local_child.main(connection.detach(), os.getppid())
