"""Importing this gives FiftyOne a throw-away database; it must come before fiftyone itself.

A database folder of one's own is not enough: FiftyOne attaches to any database of its kind that
runs on the machine, whatever its folder, and so the tests would work in that of an App left open.
Only a server named by its address is the tests' alone.
"""

import atexit
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

if "fiftyone" in sys.modules:
    raise RuntimeError("fiftyone was imported before its test database was set up")

# Making a dataset makes a dozen files, and the database waits for the disk at each.
_MEMORY, _ROOM = Path("/dev/shm"), 4 * 2**30


def _folder() -> str:
    """A folder for the database: in memory where there is room, which halves what a test waits."""
    free = shutil.disk_usage(_MEMORY).free if os.access(_MEMORY, os.W_OK) else 0
    return tempfile.mkdtemp(prefix="ntt_tests_", dir=_MEMORY if free > _ROOM else None)


_FOLDER = _folder()


def _start_mongod() -> subprocess.Popen[bytes] | None:
    """Start the mongod that FiftyOne would start, on a free port; None where it has none."""
    package = importlib.util.find_spec("fiftyone")
    if package is None or package.origin is None:
        return None
    mongod = Path(package.origin).parent / "db" / "bin" / "mongod"
    if not mongod.is_file():
        return None
    data = os.path.join(_FOLDER, "database")
    os.makedirs(data)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    os.environ["FIFTYONE_DATABASE_URI"] = f"mongodb://127.0.0.1:{port}"
    log = os.path.join(_FOLDER, "mongod.log")
    where = ["--dbpath", data, "--logpath", log, "--bind_ip", "127.0.0.1", "--port", port]
    return subprocess.Popen([mongod, *where, "--nounixsocket"], stdout=subprocess.DEVNULL)


def _clean_up() -> None:
    if _mongod is not None:
        _mongod.terminate()
        _mongod.wait()
    elif "pymongo" in sys.modules and os.environ.get("FIFTYONE_DATABASE_URI"):
        with sys.modules["pymongo"].MongoClient(os.environ["FIFTYONE_DATABASE_URI"]) as client:
            client.drop_database(os.environ["FIFTYONE_DATABASE_NAME"])
    shutil.rmtree(_FOLDER, ignore_errors=True)


_mongod = _start_mongod()
# Registered before FiftyOne registers its own, so it runs after them.
atexit.register(_clean_up)

# Nothing here may change how FiftyOne behaves: users have its defaults, and so do the tests.
os.environ.update(
    FIFTYONE_DATABASE_NAME=f"ntt_tests_{os.getpid()}",
    FIFTYONE_DATASET_ZOO_DIR=os.path.join(_FOLDER, "dataset_zoo"),
    FIFTYONE_MODEL_ZOO_DIR=os.path.join(_FOLDER, "model_zoo"),
    FIFTYONE_DO_NOT_TRACK="true",
)
