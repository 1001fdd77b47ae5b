import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "make_venv.py"


@pytest.fixture
def make_venv(tmp_path, monkeypatch):
    """The script on a project folder of its own, with every `pip install` noted, none done."""
    spec = importlib.util.spec_from_file_location("make_venv_under_test", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "pyproject.toml").write_text("")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(module, "VENV_PYTHON", tmp_path / ".venv" / "bin" / "python")
    monkeypatch.setattr(module, "say", lambda message: None)
    module.installed = []
    monkeypatch.setattr(module, "pip", lambda _, *arguments: module.installed.append(arguments))
    for name in ("PYTHON", "NTT_TORCH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FIFTYONE_DATABASE_URI", "mongodb://127.0.0.1:1")
    return module


@pytest.fixture
def venv(make_venv, monkeypatch):
    """A `.venv` that stands already: a link to the running interpreter."""
    make_venv.VENV_PYTHON.parent.mkdir(parents=True)
    make_venv.VENV_PYTHON.symlink_to(sys.executable)
    return make_venv


def packages(module) -> list[str]:
    return [word for arguments in module.installed for word in arguments if word[0] != "-"]


def test_a_second_run_installs_nothing(venv):
    assert venv.main(["run"]) == 0
    assert "." in packages(venv)
    venv.installed.clear()
    assert venv.main(["run"]) == 0
    assert venv.installed == []


def test_changed_requirements_are_installed(venv):
    venv.main(["run"])
    venv.installed.clear()
    (venv.ROOT / "pyproject.toml").write_text("dependencies = ['another']")
    venv.main(["run"])
    assert "." in packages(venv)


def test_an_interrupted_run_installs_again(venv, monkeypatch):
    def broken():
        raise venv.SetupError("no mongod")

    with monkeypatch.context() as patch:
        patch.setattr(venv, "ensure_mongod", broken)
        assert venv.main(["run"]) == 1
    venv.installed.clear()
    assert venv.main(["run"]) == 0
    assert "." in packages(venv)


def test_the_tests_group_holds_the_run_group(venv):
    venv.main(["tests"])
    assert ".[tests]" in packages(venv)
    venv.installed.clear()
    venv.main(["run"])
    assert venv.installed == []


def test_the_run_group_does_not_hold_the_tests_group(venv):
    venv.main(["run"])
    venv.installed.clear()
    venv.main(["tests"])
    assert ".[tests]" in packages(venv)


def test_sam2_is_installed_without_its_dependencies(venv):
    venv.main(["tests"])
    [sam2] = [arguments for arguments in venv.installed if venv.META_SAM2 in arguments]
    assert "--no-deps" in sam2


@pytest.mark.parametrize(
    ("platform", "gpu", "wanted"),
    [
        ("linux", False, "torch==2.13.0"),
        ("linux", True, "torch"),
        ("darwin", False, "torch"),
    ],
)
def test_torch_follows_the_machine(make_venv, monkeypatch, platform, gpu, wanted):
    monkeypatch.setattr(make_venv.sys, "platform", platform)
    monkeypatch.setattr(make_venv, "has_nvidia_gpu", lambda: gpu)
    assert make_venv.torch_requirement() == wanted


def test_torch_can_be_chosen(make_venv, monkeypatch):
    monkeypatch.setenv("NTT_TORCH", "torch==2.8.0")
    assert make_venv.torch_requirement() == "torch==2.8.0"


def test_torch_that_is_there_stays(venv, monkeypatch):
    (venv.VENV / "torch").mkdir()
    monkeypatch.setattr(venv, "in_site_packages", lambda *parts: venv.VENV.joinpath(*parts))
    venv.main(["run"])
    assert packages(venv) == ["."]


def test_an_unfit_interpreter_is_refused_and_named(make_venv, monkeypatch, capsys):
    monkeypatch.setenv("PYTHON", "python-that-is-not-there")
    assert make_venv.main(["run"]) == 1
    assert "python-that-is-not-there" in capsys.readouterr().err
    assert not make_venv.VENV.exists()


def test_a_missing_mongod_comes_from_a_package(venv, monkeypatch):
    monkeypatch.delenv("FIFTYONE_DATABASE_URI")
    monkeypatch.setattr(venv.sys, "platform", "linux")
    monkeypatch.setattr(venv, "in_site_packages", lambda *parts: venv.VENV.joinpath(*parts))
    with pytest.raises(venv.SetupError, match="FIFTYONE_DATABASE_URI"):
        venv.ensure_mongod()  # the noted pip lays nothing there
    assert packages(venv) == [venv.BUNDLED_MONGOD]


@pytest.mark.parametrize(
    ("script", "works"), [("exit 0", True), ("echo no lib >&2; exit 127", False)]
)
def test_a_mongod_that_is_there_is_kept_and_tried(venv, monkeypatch, script, works):
    monkeypatch.delenv("FIFTYONE_DATABASE_URI")
    monkeypatch.setattr(venv, "in_site_packages", lambda *parts: venv.VENV.joinpath(*parts))
    mongod = venv.VENV / "fiftyone" / "db" / "bin" / "mongod"
    mongod.parent.mkdir(parents=True)
    mongod.write_text(f"#!/bin/sh\n{script}\n")
    mongod.chmod(0o755)
    if works:
        venv.ensure_mongod()
    else:
        with pytest.raises(venv.SetupError, match="no lib"):
            venv.ensure_mongod()
    assert venv.installed == []
