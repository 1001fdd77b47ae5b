import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "ntt_plugin"

# What each floor may import of the package; "" is the package's own __init__, the SDK.
MAY_IMPORT = {
    "errors": set(),
    "engine": {"engine", "errors"},
    "worker": {"worker", "engine", "errors"},
    "dataset": {"dataset", "worker", "engine", "errors"},
    "": {"dataset", "worker", "engine", "errors"},
    "app": {"app", "dataset", "worker", "engine", "errors", ""},
    "demo": {"demo", "dataset", "engine", "errors", ""},
}
WITHOUT_FIFTYONE = {"errors", "engine", "worker"}


def imported_names(tree: ast.AST, package: str) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of all that a module imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = absolute("." * node.level + (node.module or ""), package)
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and called_name(node) in {"import_module", "__import__"}:
            name = node.args[0] if node.args else None
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                yield node.lineno, absolute(name.value, package)


def called_name(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def absolute(name: str, package: str) -> str:
    """`..engine` seen from `ntt_plugin.app` is `ntt_plugin.engine`."""
    level = len(name) - len(name.lstrip("."))
    if level == 0:
        return name
    parents = package.split(".")
    return ".".join([*parents[: len(parents) - level + 1], *filter(None, [name[level:]])])


def written_absolutely(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.lineno, node.module or ""


def floor_of(parts: list[str], floors: set[str]) -> str:
    return parts[1] if len(parts) > 1 and parts[1] in floors else ""


def violations(package: Path) -> list[str]:
    """Every import of the package that goes up a floor, out of the engine, or not relatively."""
    floors = set(MAY_IMPORT)
    found = []
    for path in sorted([*package.rglob("*.py"), *package.rglob("*.pyi")]):
        parts = list(path.relative_to(package.parent).with_suffix("").parts)
        tree = ast.parse(path.read_text(), str(path))
        floor = floor_of(parts, floors)
        inside = ".".join(parts[:-1])
        where = "/".join(parts)
        for line, name in imported_names(tree, inside):
            target = name.split(".")
            if target[0] == package.name:
                reached = floor_of(target, floors)
                if reached not in MAY_IMPORT[floor]:
                    found.append(f"{where}:{line} reaches {name}")
            elif target[0] == "fiftyone" and floor in WITHOUT_FIFTYONE:
                found.append(f"{where}:{line} imports {name}")
        for line, name in written_absolutely(tree):
            if name.split(".")[0] == package.name:
                found.append(f"{where}:{line} imports {name} absolutely")
    return found


def plant(folder: Path, module: str, source: str) -> Path:
    """A package of empty floors, with one module of the given source."""
    package = folder / "ntt_plugin"
    for floor in ("", "engine", "worker", "dataset", "app", "demo"):
        (package / floor).mkdir(parents=True, exist_ok=True)
        (package / floor / "__init__.py").write_text("")
    (package / module).write_text(source)
    return package


def test_every_module_keeps_to_its_floor():
    assert violations(PACKAGE) == []


def test_every_module_belongs_to_a_known_floor():
    modules = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert modules - {"__init__", "__pycache__"} <= set(MAY_IMPORT)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("engine/a.py", "from ..dataset import banks"),
        ("engine/a.py", "from ..dataset.banks import save"),
        ("engine/a.py", "from .. import dataset"),
        ("engine/a.py", "from ..worker import dispatcher"),
        ("worker/a.py", "from ..dataset import banks"),
        ("worker/a.py", "def f():\n    import fiftyone as fo"),
        ("engine/a.py", "from .. import segment"),
        ("engine/a.py", "def f():\n    import fiftyone as fo"),
        ("engine/a.py", "if True:\n    from fiftyone.core import labels"),
        ("engine/a.py", "import importlib\nimportlib.import_module('fiftyone')"),
        ("errors.py", "from .engine import config"),
        ("dataset/a.py", "from ..app.forms import bank_input"),
        ("dataset/a.py", "import importlib\nimportlib.import_module('..app', __package__)"),
        ("app/a.py", "from ..demo import scenes"),
        ("dataset/a.py", "from ..demo.scenes import Scene"),
        ("demo/a.py", "from ..app import panel"),
        ("__init__.py", "from .app import panel"),
        ("__init__.pyi", "from .app.panel import MemoryBanks as MemoryBanks"),
        ("engine/a.py", "import ntt_plugin.engine.recipe"),
        ("app/a.py", "from ntt_plugin.engine import recipe as config"),
    ],
)
def test_a_planted_violation_is_found(tmp_path, module, source):
    assert len(violations(plant(tmp_path, module, source))) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("engine/a.py", "import torch\nfrom ..errors import NttError\nfrom . import config"),
        ("dataset/a.py", "import fiftyone as fo\nfrom ..engine.memory import MemoryBank"),
        ("worker/a.py", "import bson\nfrom ..engine import Segmenter"),
        ("dataset/a.py", "from ..worker import dispatcher"),
        ("app/a.py", "from ..dataset import banks\nfrom .. import segment"),
        ("demo/a.py", "from ..engine import Segmenter\nfrom .scenes import Scene"),
    ],
)
def test_the_way_down_is_free(tmp_path, module, source):
    assert violations(plant(tmp_path, module, source)) == []


def test_the_plugin_entry_does_not_import_the_demo():
    tree = ast.parse((ROOT / "__init__.py").read_text())
    reached = [name for _, name in imported_names(tree, "plugin")]
    assert not [name for name in reached if name.startswith("plugin.ntt_plugin.demo")]


def test_the_engine_runs_where_fiftyone_is_not_installed():
    code = (
        "import sys\n"
        "sys.modules['fiftyone'] = None\n"  # importing it now raises
        "import ntt_plugin.engine as engine\n"
        "engine.Segmenter, engine.MemoryBank, engine.Reference\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_no_form_and_no_page_of_the_panel_waits_for_the_networks_code():
    code = (
        "import pkgutil, sys\n"
        "import ntt_plugin.app, ntt_plugin.dataset, ntt_plugin.engine\n"
        "for floor in (ntt_plugin.app, ntt_plugin.dataset):\n"
        "    for module in pkgutil.walk_packages(floor.__path__, floor.__name__ + '.'):\n"
        "        __import__(module.name)\n"
        "assert 'ntt_plugin.app.panel.layout' in sys.modules\n"
        "assert 'transformers' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
