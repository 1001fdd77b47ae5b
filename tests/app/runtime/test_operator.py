"""Errors and stops: a sentence for a person, a traceback for what nobody foresaw."""

import time

import fiftyone as fo
import pytest
import torch
from fiftyone.operators.executor import ExecutionError
from fiftyone.operators.registry import OperatorRegistry

import ntt_plugin as ntt
from ntt_plugin.dataset.segmentation.report import load_segment_report
from ntt_plugin.engine.bank.memory_bank import Fingerprint, MemoryBank
from tests.app.driver import NAME

# The forms stop what they can see; these get past them.
BROKEN = {"bank": "shapes", "label_field": "found"}


@pytest.fixture
def refused(dataset):
    """A dataset whose bank another encoder made, which only the run finds out; what it says."""
    bank = MemoryBank(Fingerprint("another", "digest", size=224, channels=3), "tiny")
    bank.add("red", torch.ones(3))
    ntt.save_memory_bank(dataset, "shapes", bank, overwrite=True)
    with pytest.raises(ntt.NttError) as error:
        ntt.segment(dataset, "shapes", "found")
    return str(error.value)


def shown(messages: list) -> str:
    """The words of the page at the end of a stream; before it are those of the progress bar."""
    return words_of([m.body for m in messages if m.body.operator_uri == "show_output"][-1])


def words_of(page) -> str:
    """The words of a page, or of a progress bar."""
    fields = page.params["outputs"]["type"]["properties"].values()
    return " ".join(field["view"]["label"] for field in fields)


def test_the_app_shows_our_error_as_a_sentence(plugin, dataset, refused):
    messages = list(plugin.stream(dataset, "segment_with_memory_bank", BROKEN))
    assert shown(messages) == f"Segment with memory bank: not done. {refused}"


def test_a_script_gets_our_error_raised(plugin, dataset, refused):
    with pytest.raises(ExecutionError) as error:
        plugin.run(dataset, "segment_with_memory_bank", BROKEN)
    assert refused in str(error.value)


def test_a_delegated_run_keeps_our_error_as_a_sentence(plugin, dataset, refused, worker):
    operation = plugin.queue(dataset, "segment_with_memory_bank", BROKEN)
    failed = worker(operation)
    assert failed.run_state == "failed"
    assert failed.result.error == refused


@pytest.fixture
def surprised(plugin, monkeypatch):
    """The operator to delete a bank, with a fault in it."""
    operator = OperatorRegistry().get_operator(f"{NAME}/delete_memory_bank")

    def fault(*_):
        raise ZeroDivisionError("nobody foresaw this")

    monkeypatch.setattr(type(operator), "run", fault)


def test_the_app_shows_an_unexpected_error_with_its_traceback(plugin, dataset, surprised):
    messages = list(
        plugin.stream(dataset, "delete_memory_bank", {"name": "shapes", "confirm": True})
    )
    assert "ZeroDivisionError: nobody foresaw this" in shown(messages)
    assert "in fault" in shown(messages)


def test_a_closed_tab_stops_the_run_and_a_second_one_goes_on(plugin, dataset):
    # Enough images, none of them kept already, that the run cannot end before the tab is closed.
    dataset.add_samples([fo.Sample(filepath=path) for path in dataset.values("filepath") * 2])
    params = {**BROKEN, "cache": False}
    stream = plugin.stream(dataset, "segment_with_memory_bank", params)
    for message in stream:
        if " of 15" in words_of(message.body):
            break
    stream.close()
    deadline = time.monotonic() + 60
    while load_segment_report(dataset, "found").state == "running":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    report = load_segment_report(dataset, "found")
    assert report.state == "stopped"
    plugin.run(dataset, "segment_with_memory_bank", params)
    assert load_segment_report(dataset, "found").skipped == report.segmented
    assert len(fo.load_dataset(dataset.name).exists("found")) == len(dataset)


def test_stop_in_the_window_ends_the_run_and_keeps_what_is_written(plugin, dataset):
    dataset.add_samples([fo.Sample(filepath=path) for path in dataset.values("filepath") * 2])
    messages = []
    for message in plugin.stream(dataset, "segment_with_memory_bank", {**BROKEN, "cache": False}):
        messages.append(message)
        moved = message.body.operator_uri == "show_output"
        if moved and " of 15" in words_of(message.body):
            stop = message.body.params["outputs"]["type"]["properties"]["stop"]["view"]
            plugin.run(dataset, stop["operator"].removeprefix(f"{NAME}/"), stop["params"])
    assert "stopped. What is written stays" in shown(messages)
    report = load_segment_report(dataset, "found")
    assert report.state == "stopped"
    assert 0 < report.segmented < 15
    assert len(fo.load_dataset(dataset.name).exists("found")) == report.segmented


def test_a_run_that_is_over_cannot_be_stopped(plugin, dataset):
    messages = plugin.run(dataset, "stop_run", {"run": "no such run"})
    assert messages == []
