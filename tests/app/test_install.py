"""Installed as people do it: an archive over http, with FiftyOne's own command."""

import functools
import http.server
import json
import os
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from tests.app.driver import NAME, ROOT

START = "from fiftyone.core.cli import main; main()"
LISTED = """
import json
from fiftyone.operators.registry import OperatorRegistry
from fiftyone.plugins.context import build_plugin_contexts
[context] = [c for c in build_plugin_contexts() if c.name == "@ntt/no-time-to-train"]
registry = OperatorRegistry()
import sys
heavy = sorted({"torch", "transformers"} & set(sys.modules))
names = [o.name for o in registry.list_operators(type="operator") if o.plugin_name == context.name]
import fiftyone.plugins as fop
fop.ensure_plugin_compatibility(context.name, error_level=0)
import fiftyone.plugins.orgs.ntt.no_time_to_train as installed
where = installed.__path__[0]
print(json.dumps({"errors": context.errors, "names": names, "heavy": heavy, "where": where}))
"""


def files_of_the_tree() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    return [name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def archive_url(tmp_path_factory):
    """The tree as an archive, as a forge hands it out: in a folder of its own."""
    folder = tmp_path_factory.mktemp("served")
    with zipfile.ZipFile(folder / "main.zip", "w") as archive:
        for name in files_of_the_tree():
            archive.write(ROOT / name, f"no-time-to-train-main/{name}")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    handler.log_message = lambda *_: None
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/main.zip"
    server.shutdown()


def start(code: str, *arguments: str, plugins: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "FIFTYONE_PLUGINS_DIR": str(plugins), "PYTHONPATH": ""},
        cwd=plugins,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_downloaded_from_an_archive_it_lists_its_operators(archive_url, tmp_path, operators):
    start(START, "plugins", "download", archive_url, plugins=tmp_path)
    found = json.loads(start(LISTED, plugins=tmp_path).splitlines()[-1])
    assert found["errors"] == []
    # The button *Stop* in a run's window is one that no list shows.
    names = ["stop_run", *(operator.operator_name for operator in operators)]
    assert sorted(found["names"]) == sorted(names)
    assert found["heavy"] == []
    where = Path(found["where"])
    assert where.is_relative_to(tmp_path)
    # FiftyOne leaves hidden files out.
    needed = [name for name in files_of_the_tree() if not name.startswith(".")]
    assert [name for name in needed if not (where / name).is_file()] == []
    assert NAME in start(START, "plugins", "list", plugins=tmp_path)
