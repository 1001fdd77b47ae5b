"""The table in docs/bad_input.md and these tests say the same: each row has a test."""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent
TABLE = TESTS.parents[1] / "docs" / "bad_input.md"
# Rows that take a cluster, or a machine without Ray.
WITH_RAY = [TESTS.parent / "worker" / name for name in ("test_ray.py", "test_ray_cluster.py")]


def table() -> dict[str, list[str]]:
    """Cells of each row of the table by the name of its anchor."""
    rows = {}
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        found = re.match(r'\| <a id="([a-z0-9-]+)"></a>', line)
        if found:
            assert found[1] not in rows
            rows[found[1]] = [cell.strip() for cell in line.strip("| ").split(" | ")]
    return rows


def rows_with_tests() -> set[str]:
    """The rows that tests carry by ``@row``."""
    names = set()
    for path in [*TESTS.glob("test_*.py"), *WITH_RAY]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                for mark in node.decorator_list:
                    if isinstance(mark, ast.Call) and getattr(mark.func, "id", "") == "row":
                        names.add(ast.literal_eval(mark.args[0]))
    return names


def test_every_row_has_a_test_and_every_test_a_row():
    assert set(table()) == rows_with_tests()


def test_every_row_says_what_happens_and_what_to_do():
    for name, cells in table().items():
        assert len(cells) == 3 and all(cells), name
