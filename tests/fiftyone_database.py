"""Importing this gives FiftyOne a throw-away database; it must come before fiftyone itself."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile

if "fiftyone" in sys.modules:
    raise RuntimeError("fiftyone was imported before its test database was set up")

_FOLDER = tempfile.mkdtemp(prefix="ntt_tests_")
# Registered before FiftyOne registers its own, so it runs after mongod has been stopped.
atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)

os.environ.pop("FIFTYONE_DATABASE_URI", None)
os.environ.update(
    FIFTYONE_DATABASE_DIR=os.path.join(_FOLDER, "database"),
    FIFTYONE_DATABASE_NAME="ntt_tests",
    FIFTYONE_DATASET_ZOO_DIR=os.path.join(_FOLDER, "dataset_zoo"),
    FIFTYONE_MODEL_ZOO_DIR=os.path.join(_FOLDER, "model_zoo"),
    FIFTYONE_DATABASE_VALIDATION="false",
    FIFTYONE_DO_NOT_TRACK="true",
    FIFTYONE_SHOW_PROGRESS_BARS="false",
)
