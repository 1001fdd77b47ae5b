import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = (ROOT / "pyproject.toml").read_text()


def copy_of_the_tree(folder: Path) -> Path:
    """The project's files alone, as a person who downloads the plugin gets them."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def run_python(code: str, folder: Path, **variables: str) -> str:
    """What code prints in an interpreter of its own, started in a folder."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def dependencies() -> list[str]:
    block = re.search(r"^dependencies = \[(.*?)^\]", PYPROJECT, re.MULTILINE | re.DOTALL)
    assert block is not None
    return re.findall(r'"([^"]+)"', block.group(1))


def test_requirements_txt_lists_what_pyproject_depends_on():
    assert (ROOT / "requirements.txt").read_text().split() == dependencies()


def test_the_tests_have_the_ray_that_the_extra_names():
    """So they never skip it: `make test` installs what users are told to."""
    [extra] = re.findall(r'^ray = \["(ray[^"]+)"\]', PYPROJECT, re.MULTILINE)
    assert f'    "{extra}",' in PYPROJECT
    assert not [name for name in dependencies() if name.startswith("ray")]
    assert importlib.util.find_spec("ray") is not None


def test_nothing_depends_on_torchvision():
    assert not re.search(r'"torchvision', PYPROJECT)


def test_one_version_everywhere():
    plugin = yaml.safe_load((ROOT / "fiftyone.yml").read_text())
    version = re.search(r'^version = "([^"]+)"', PYPROJECT, re.MULTILINE)
    assert version is not None
    assert plugin["version"] == version.group(1)


def test_one_range_of_fiftyone_everywhere():
    plugin = yaml.safe_load((ROOT / "fiftyone.yml").read_text())
    assert "fiftyone" + plugin["fiftyone"]["version"] in dependencies()


def code_of_the_plugin() -> dict[str, ast.Module]:
    """The modules that FiftyOne may load, by their paths: all but the demo's."""
    paths = [p for p in (ROOT / "ntt_plugin").rglob("*.py") if "demo" not in p.parts]
    return {str(path.relative_to(ROOT)): ast.parse(path.read_text()) for path in paths}


def test_what_is_read_from_the_environment_is_declared():
    plugin = yaml.safe_load((ROOT / "fiftyone.yml").read_text())
    read = set()
    for path, tree in code_of_the_plugin().items():
        constants = {
            node.targets[0].id: node.value.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and isinstance(node.value, ast.Constant)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in (
                "os.environ.get",
                "os.getenv",
            ):
                name = node.args[0]
                read.add(
                    name.value if isinstance(name, ast.Constant) else constants[ast.unparse(name)]
                )
            assert not isinstance(node, ast.Subscript) or "environ" not in ast.unparse(node), path
    assert read == set(plugin["secrets"])


# Workers are processes of their own: they are spoken to through sockets, and load their handler by
# its name, which the driver gives.
OF_WORKERS = {
    "handler.py": {"importlib"},
    "local_child.py": {"socket"},
    "local_processes.py": {"socket"},
    "ray_actors.py": {"importlib", "socket"},
    "ray_cluster.py": {"importlib", "socket"},
}


def test_only_workers_import_by_name_or_open_sockets():
    for path, tree in code_of_the_plugin().items():
        allowed = OF_WORKERS.get(Path(path).name, set()) if "worker" in Path(path).parts else set()
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            used = {"importlib", "socket"} & {name.split(".")[0] for name in names}
            assert used <= allowed, path


def test_the_plugin_says_where_its_method_is_from():
    plugin = yaml.safe_load((ROOT / "fiftyone.yml").read_text())
    assert plugin["url"] == "https://arxiv.org/abs/2507.02798"


def test_the_changelog_has_an_unreleased_section():
    assert "\n## [Unreleased]\n" in (ROOT / "CHANGELOG.md").read_text()


def test_the_tree_loads_as_a_package_of_any_name_and_place(tmp_path):
    folder = copy_of_the_tree(tmp_path / "some plugin")
    code = f"""
import importlib, importlib.util, sys
sys.modules["ntt_plugin"] = None  # an absolute import of it would raise
spec = importlib.util.spec_from_file_location(
    "strange.place", {str(folder / "__init__.py")!r}, submodule_search_locations=[{str(folder)!r}]
)
module = importlib.util.module_from_spec(spec)
sys.modules["strange.place"] = module
sys.modules["strange"] = type(sys)("strange")
sys.modules["strange"].__path__ = []
spec.loader.exec_module(module)
sys.modules["fiftyone"] = None  # whoever registers brings it, nobody else
registered = module.register
engine = importlib.import_module("strange.place.ntt_plugin.engine")
print(engine.Segmenter.__module__)
"""
    where = run_python(code, tmp_path).split()[-1]
    assert where.startswith("strange.place.ntt_plugin.engine")


@pytest.mark.skipif(
    importlib.util.find_spec("setuptools") is None, reason="setuptools builds the wheel"
)
def test_the_wheel_holds_the_package_and_the_bundled_networks_and_nothing_else(tmp_path):
    tree = copy_of_the_tree(tmp_path / "tree")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "-w", str(tmp_path), str(tree)], check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    names = {
        name
        for name in zipfile.ZipFile(wheel).namelist()
        if not re.match(r"no_time_to_train-[^/]+\.dist-info/", name)
    }
    package = tree / "ntt_plugin"
    files = {str(p.relative_to(tree)) for p in package.rglob("*") if p.is_file()}
    assert names == files
    assert {"ntt_plugin/engine/networks/bundled/segmenter/model.safetensors"} <= names
    assert {"ntt_plugin/engine/networks/bundled/encoder/model.safetensors"} <= names
