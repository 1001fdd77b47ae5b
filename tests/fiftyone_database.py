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


def _clean_up() -> None:
    database = sys.modules.get("fiftyone.core.odm.database")
    service = getattr(database, "_db_service", None)
    if service is not None:
        # FiftyOne stops mongod only after this process is gone, too late to remove its folder.
        service.stop()
    shutil.rmtree(_FOLDER, ignore_errors=True)


# Registered before FiftyOne registers its own, so it runs after them.
atexit.register(_clean_up)

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
