"""Examples as a person starts them: each in a process of its own, over the tests' database."""

from collections.abc import Callable, Iterator
from pathlib import Path

import fiftyone as fo
import pytest

from tests.processes import run_script

ROOT = Path(__file__).resolve().parents[2]
Example = Callable[..., str]


@pytest.fixture
def example(tmp_path: Path) -> Iterator[Example]:
    """Runs an example of that name with arguments; what it printed. Its datasets go afterwards."""
    before = set(fo.list_datasets())

    def run(name: str, *arguments: object) -> str:
        command = [str(ROOT / "examples" / name), "--folder", str(tmp_path)]
        return run_script(tmp_path, *command, *map(str, arguments))

    yield run
    for name in set(fo.list_datasets()) - before:
        fo.delete_dataset(name)
