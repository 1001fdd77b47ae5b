"""Examples as a person starts them: each in a process of its own, over the tests' database."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import fiftyone as fo
import pytest

ROOT = Path(__file__).resolve().parents[2]
Example = Callable[..., str]


@pytest.fixture
def example(tmp_path: Path) -> Iterator[Example]:
    """Runs an example of that name with arguments; what it printed. Its datasets go afterwards."""
    before = set(fo.list_datasets())

    def run(name: str, *arguments: object) -> str:
        command = [sys.executable, str(ROOT / "examples" / name), "--folder", str(tmp_path)]
        done = subprocess.run(
            [*command, *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    yield run
    for name in set(fo.list_datasets()) - before:
        fo.delete_dataset(name)
