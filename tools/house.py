"""The map of the house: folders, sizes, and which folder imports which.

    python tools/house.py

Counts the package ``ntt_plugin``, and ends with an error if a folder has more than 15 entries, a
file more than 400 lines, folders import each other in a circle, or a floor imports a higher one. A
module that lies directly on a floor (``engine/recipe.py``) counts as a folder of its own here.
"""

from __future__ import annotations

import ast
import statistics
import sys
from collections import Counter, defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.test_floors import PACKAGE, imported_names, violations  # noqa: E402

MOST_ENTRIES = 15
MOST_LINES = 400
FLOORS = ("engine", "worker", "dataset", "app", "demo")
Edges = set[tuple[str, str]]


def main() -> int:
    """Print the map; 1 if a rule is broken."""
    files = sorted(PACKAGE.rglob("*.py"))
    lines = {path: len(path.read_text().splitlines()) for path in files}
    full = {str(f.relative_to(ROOT)): n for f, n in entries().items() if n > MOST_ENTRIES}
    long = {str(f.relative_to(ROOT)): n for f, n in lines.items() if n > MOST_LINES}
    edges = module_edges(files)
    importers = Counter(imported for _, imported in edges)
    once = [module for module, count in importers.items() if count == 1]
    print(f"Folders with more than {MOST_ENTRIES} entries: {summary(full)}")
    print(f"Files over {MOST_LINES} lines: {summary(long)}")
    sizes = f"{sum(lines.values()):,} lines, median {statistics.median(lines.values()):.0f} a file"
    print(f"{len(files)} files, {sizes}; {len(once)} modules with one importer.")
    circular = [circle for floor in FLOORS if (circle := show_floor(floor, edges))]
    broken = violations(PACKAGE)
    print("\nFloors hold." if not broken else "\nFloors broken:\n  " + "\n  ".join(broken))
    return int(bool(full or long or circular or broken))


def entries() -> dict[Path, int]:
    """How many files and folders lie in each folder that holds code."""
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    return {f: sum(p.name != "__pycache__" for p in f.iterdir()) for f in sorted(folders)}


def summary(found: dict[str, int]) -> str:
    """How many, and which with their counts."""
    return f"{len(found)} " + ", ".join(f"{name} ({count})" for name, count in found.items())


def module_edges(files: list[Path]) -> Edges:
    """Which module of the package imports which, each pair once."""
    names = {dotted(path) for path in files}
    edges = set()
    for path in files:
        module = dotted(path)
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        for _, name in imported_names(ast.parse(path.read_text()), package):
            # `from .a import b`: b is a module, or a name of the module a.
            imported = name if name in names else name.rpartition(".")[0]
            if imported in names - {module}:
                edges.add((module, imported))
    return edges


def dotted(path: Path) -> str:
    """A file's module name."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def show_floor(floor: str, edges: Edges) -> set[str]:
    """Print which folder of a floor imports which; those that import each other in a circle."""
    inside: Counter[tuple[str, str]] = Counter()
    for pair in edges:
        start, end = (room_of(module, floor) for module in pair)
        if start and end and start != end:
            inside[start, end] += 1
    rooms = sorted({room for pair in inside for room in pair})
    circle = in_circles(set(inside))
    print(f"\n{floor}: {len(inside)} arrows, in circles: {', '.join(sorted(circle)) or 'none'}")
    width = max(map(len, rooms), default=0)
    print(" " * (width + 3) + " ".join(f"{number:2}" for number in range(len(rooms))))
    for number, room in enumerate(rooms):
        cells = " ".join(f"{inside[room, other] or '.':>2}" for other in rooms)
        print(f"{number:2} {room:{width}} {cells}")
    return circle


def room_of(module: str, floor: str) -> str:
    """A module's folder below its floor, or its own name where it lies on the floor itself."""
    parts = module.split(".")
    if len(parts) < 3 or parts[1] != floor:
        return ""
    folder = (PACKAGE.parent / "/".join(parts[:3])).is_dir()
    return parts[2] + "/" if folder else parts[2]


def in_circles(pairs: Edges) -> set[str]:
    """The nodes from which a way leads back to them."""
    after = defaultdict(set)
    for start, end in pairs:
        after[start].add(end)

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        ahead = [start]
        while ahead:
            new = after[ahead.pop()] - seen
            seen |= new
            ahead += new
        return seen

    return {node for node in list(after) if node in reached(node)}


if __name__ == "__main__":
    sys.exit(main())
