"""The plugin in FiftyOne's own registry, a dataset that was worked on, and a real worker."""

import importlib
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import eta.core.utils as etau
import fiftyone as fo
import pytest
import yaml
from fiftyone.operators.delegated import DelegatedOperationService

import ntt_plugin as ntt
from ntt_plugin.demo.dataset import make_dataset
from tests.app.driver import ROOT, Plugin

START = "from fiftyone.core.cli import main; main()"
PATIENCE = 240


@pytest.fixture(scope="module", autouse=True)
def no_singletons() -> Iterator[None]:
    """``fo.load_dataset`` gives another object with each call, as it does in the App's server."""
    before = fo.config.singleton_cache
    fo.config.singleton_cache = False
    yield
    fo.config.singleton_cache = before


@pytest.fixture(scope="session", autouse=True)
def quick_yaml() -> Iterator[None]:
    """FiftyOne reads the YAML of all plugins at each request: libyaml finds the same, sooner."""
    if not yaml.__with_libyaml__:
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yaml, "safe_load", lambda text: yaml.load(text, Loader=yaml.CSafeLoader))
        yield


@pytest.fixture(autouse=True)
def no_bar_of_an_operator(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No operator draws a bar: its thread would exchange ``sys.stdout`` of the App's server."""
    drawn: list[str] = []
    enter = etau.CaptureStdout.__enter__

    def noted(capture):
        thread = threading.current_thread()
        if thread is not threading.main_thread():
            drawn.append(thread.name)
        return enter(capture)

    monkeypatch.setattr(etau.CaptureStdout, "__enter__", noted)
    yield
    assert drawn == []


@pytest.fixture(scope="session")
def plugins_dir(tmp_path_factory) -> Path:
    """A plugins folder with the checkout in it, as a link."""
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "ntt").symlink_to(ROOT)
    return folder


@pytest.fixture(scope="session")
def plugin(plugins_dir) -> Plugin:
    """The operators, through FiftyOne's executor."""
    before = fo.config.plugins_dir
    fo.config.plugins_dir = str(plugins_dir)
    yield Plugin()
    fo.config.plugins_dir = before


@pytest.fixture(scope="session")
def worked_on(tmp_path_factory):
    """Five scenes: references, a bank ``shapes``, predictions in ``ntt``, boxes in ``boxes``."""
    dataset = make_dataset(tmp_path_factory.mktemp("scenes"), pool=3, targets=2, name="app_tests")
    ntt.sample_references(dataset.match_tags("pool"), "ground_truth", shots=1)
    ntt.build_memory_bank(dataset, "ground_truth", "shapes", tag="reference", preset="tiny")
    ntt.segment(dataset.match_tags("target"), "shapes", "ntt")
    for sample in dataset.iter_samples(autosave=True):
        sample["boxes"] = fo.Detections(
            detections=[
                fo.Detection(label=label.label, bounding_box=label.bounding_box)
                for label in sample["ground_truth"].detections
            ]
        )
    yield dataset
    fo.delete_dataset("app_tests")


@pytest.fixture
def dataset(worked_on):
    """A copy of ``worked_on`` to do as one likes with."""
    name = f"app_{uuid.uuid4().hex}"
    yield worked_on.clone(name)
    if fo.dataset_exists(name):
        fo.delete_dataset(name)


@pytest.fixture
def bare(worked_on):
    """Its images alone: no label, no bank."""
    name = f"bare_{uuid.uuid4().hex}"
    bare = fo.Dataset(name)
    bare.add_samples([fo.Sample(filepath=path) for path in worked_on.values("filepath")])
    yield bare
    fo.delete_dataset(name)


@pytest.fixture(scope="session")
def worker(plugins_dir, tmp_path_factory):
    """FiftyOne's own worker, ``fiftyone delegated launch``, in a process of its own.

    Gives a function that waits for an operation's end and returns its document.
    """
    log = tmp_path_factory.mktemp("worker") / "log"
    command = [sys.executable, "-c", START, "delegated", "launch", "--type", "local"]
    environment = {**os.environ, "FIFTYONE_PLUGINS_DIR": str(plugins_dir), "HF_HUB_OFFLINE": "1"}
    with log.open("w") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
    service = DelegatedOperationService()

    def wait(operation):
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and process.poll() is None:
            found = service.get(operation)
            if found.run_state in ("completed", "failed"):
                return found
            time.sleep(0.2)
        pytest.fail(f"The worker did not end the operation: {log.read_text()[-3000:]}")

    yield wait
    process.terminate()
    process.wait()


@pytest.fixture
def operators():
    """The operators' classes."""
    return importlib.import_module("ntt_plugin.app.operators").OPERATORS
