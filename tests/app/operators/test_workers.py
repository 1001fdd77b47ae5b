"""Workers from the forms, live and delegated: FiftyOne loads the plugin under a name of its own."""

import time

import psutil
import pytest

import ntt_plugin as ntt
from ntt_plugin.app.forms import run_options
from ntt_plugin.errors import DatasetError
from tests.app.driver import loaded

WITH_WORKERS = (
    "segment_with_memory_bank",
    "masks_from_boxes",
    "compute_proposals",
    "suggest_references",
)
PARAMS = {
    "bank": "shapes",
    "label_field": "found",
    "device": "cpu",
    "cache": False,
    "workers": 2,
}


def workers_here() -> list[psutil.Process]:
    children = psutil.Process().children()
    return [child for child in children if "local_child" in " ".join(child.cmdline())]


def state_of(dataset) -> str:
    dataset.reload()
    try:
        return ntt.load_segment_report(dataset, "found").state
    except DatasetError:
        return "no report"


@pytest.mark.parametrize("operator", WITH_WORKERS)
def test_workers_are_an_advanced_field(plugin, worked_on, operator):
    params = {"bank": "shapes", "label_field": "ground_truth"}
    assert "workers" not in plugin.form(worked_on, operator, params=params).fields
    shown = plugin.form(worked_on, operator, params={**params, "advanced": True})
    assert shown.fields["workers"].view.label == "Workers"


@pytest.mark.parametrize("wrong", [0, -1, 1000, "many", 2.5])
def test_a_number_that_cannot_be_is_marked(plugin, worked_on, wrong):
    params = {"bank": "shapes", "advanced": True, "workers": wrong}
    form = plugin.form(worked_on, "segment_with_memory_bank", params=params)
    assert "workers" in form.errors


@pytest.mark.parametrize(
    ("gpus", "said"),
    [(["0", "1"], "2 GPUs found"), ([], "no GPU, 2 cores"), (["0"], "1 GPU found")],
)
def test_the_form_says_which_devices_there_are(plugin, worked_on, monkeypatch, gpus, said):
    module = loaded(plugin, run_options.__name__.partition(".")[2])
    monkeypatch.setattr(module, "gpus_here", lambda: gpus)
    monkeypatch.setattr(module, "cores_here", lambda: 2)
    params = {"bank": "shapes", "advanced": True}
    form = plugin.form(worked_on, "segment_with_memory_bank", params=params)
    assert said in form.fields["workers"].view.description


def test_a_live_run_with_workers_leaves_none(plugin, dataset):
    plugin.run(dataset, "segment_with_memory_bank", PARAMS)
    dataset.reload()
    assert len(dataset.exists("found")) == len(dataset) == 5
    assert workers_here() == []


def test_a_run_stopped_while_workers_start_leaves_no_worker_and_nothing_else(plugin, dataset):
    stream = plugin.stream(dataset, "segment_with_memory_bank", PARAMS)
    while not (workers := workers_here()):
        next(stream)
    stream.close()  # the tab is closed
    assert psutil.wait_procs(workers, timeout=30)[1] == []
    assert state_of(dataset) != "running"
    assert not dataset.has_field("found") or not dataset.exists("found")


def test_a_run_stopped_among_its_images_leaves_no_worker_and_its_report(plugin, dataset):
    stream = plugin.stream(dataset, "segment_with_memory_bank", PARAMS)
    while state_of(dataset) == "no report":
        next(stream)
    workers = workers_here()
    stream.close()
    assert psutil.wait_procs(workers, timeout=30)[1] == []
    # The run's own thread keeps its report after that.
    deadline = time.monotonic() + 30
    while (state := state_of(dataset)) == "running" and time.monotonic() < deadline:
        time.sleep(0.1)
    assert state == "stopped"


def test_a_delegated_run_has_workers(plugin, dataset, worker):
    operation = plugin.queue(dataset, "segment_with_memory_bank", {**PARAMS, "workers": 1})
    assert worker(operation).run_state == "completed"
    dataset.reload()
    assert len(dataset.exists("found")) == 5
