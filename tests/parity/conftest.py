"""Golden data, and the largest difference of each step in the terminal summary."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

Close = Callable[..., None]

_LARGEST = pytest.StashKey[dict[str, tuple[float, float]]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_LARGEST] = {}


@pytest.fixture(scope="session")
def golden(pytestconfig: pytest.Config) -> Callable[[str], Any]:
    """Load a file of the golden folder: the arrays of an .npz, the content of a .json."""
    folder = pytestconfig.getoption("--golden")
    if folder is None:
        pytest.skip("no golden data: give their folder with --golden FOLDER")
    if not folder.is_dir():
        pytest.fail(f"--golden {folder} is no folder", pytrace=False)

    def load(name: str) -> Any:
        path = folder / name
        if not path.is_file():
            pytest.skip(f"the golden folder has no {name}")
        if path.suffix == ".json":
            return json.loads(path.read_text())
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)

    return load


@pytest.fixture
def close(pytestconfig: pytest.Config) -> Close:
    """Assert that two arrays are equal within a tolerance, and note their difference."""
    largest = pytestconfig.stash[_LARGEST]

    def compare(step: str, ours: Any, theirs: Any, tolerance: float = 1e-4) -> None:
        ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
        assert ours.shape == theirs.shape, step
        difference = float(np.abs(ours - theirs).max(initial=0.0))
        seen, _ = largest.get(step, (0.0, tolerance))
        # max() would let a nan pass unseen.
        largest[step] = (difference if not difference <= seen else seen, tolerance)
        assert difference <= tolerance, f"{step}: {difference} > {tolerance}"

    return compare


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    largest = config.stash[_LARGEST]
    if not largest:
        return
    terminalreporter.section("largest difference from the golden data")
    for step, (difference, tolerance) in largest.items():
        allowed = f"at most {tolerance:.0e}" if tolerance else "must be equal"
        terminalreporter.write_line(f"{step:<44} {difference:.2e}   ({allowed})")
