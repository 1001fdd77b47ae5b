"""FiftyOne's server in a process of its own, with the plugin, on the tests' database."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import fiftyone as fo

from tests.app.driver import ROOT

PATIENCE = 180
"""Seconds to wait for anything: a busy machine may take minutes."""


class Server:
    """The App's server, until it is stopped.

    A view, a selection and a layout live in the server, not in the browser: scenarios that must
    not see each other's take one each.

    Args:
        home: an empty folder; the server's home, plugins and log are below it.
        scheduling: whether runs can be scheduled for a worker, which users have to ask for.

    Raises:
        RuntimeError: it did not answer; says its log's end.
    """

    def __init__(self, home: Path, scheduling: bool = False) -> None:
        self.plugins = home / "plugins"
        self.plugins.mkdir(parents=True)
        (self.plugins / "ntt").symlink_to(ROOT)
        self.environment = {
            **os.environ,
            "HOME": str(home),
            "HF_HUB_OFFLINE": "1",
            "FIFTYONE_PLUGINS_DIR": str(self.plugins),
        }
        if scheduling:
            self.environment["FIFTYONE_ALLOW_LEGACY_ORCHESTRATORS"] = "true"
        for name in ("HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME", "NTT_CACHE_DIR"):
            self.environment.pop(name, None)
        self.log = home / "server.log"
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        main = Path(fo.__file__).parent / "server" / "main.py"
        command = [sys.executable, "-u", str(main), "--port", str(port), "--address", "127.0.0.1"]
        with self.log.open("w") as out:
            self._process = subprocess.Popen(command, env=self.environment, stdout=out, stderr=out)
        self._wait_for_answer()

    def stop(self) -> None:
        """End the process."""
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _wait_for_answer(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                urllib.request.urlopen(self.url, timeout=5).close()
                return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        self.stop()
        raise RuntimeError(f"FiftyOne's server did not answer: {self.log.read_text()[-3000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
