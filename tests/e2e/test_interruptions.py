"""A page loaded anew in the middle of a run, a second tab, and a run that a worker does."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import fiftyone as fo
import pytest
from fiftyone.operators.delegated import DelegatedOperationService

import ntt_plugin as ntt
from tests.e2e.app_page import AppPage
from tests.e2e.server import PATIENCE, Server

# The bar moves too fast for a test to wait for a number of its choice.
BEGUN = re.compile("Segmenting: [1-9]")
_CLI = "from fiftyone.core.cli import main; main()"

T = TypeVar("T")


SCHEDULING = True
IMAGES = 32
"""So many that a run still goes when a person has seen it begin, on a fast machine too."""


@pytest.fixture
def dataset(clone) -> fo.Dataset:
    """A copy of the scenes with a bank, and each image several times."""
    dataset = clone()
    ntt.build_memory_bank(dataset, "ground_truth", "shapes", preset="tiny")
    paths = dataset.values("filepath")
    copies = IMAGES // len(paths) - 1
    dataset.add_samples([fo.Sample(filepath=path) for path in copies * paths])
    return dataset


@pytest.fixture
def app(app, dataset) -> AppPage:
    app.open(dataset.name)
    return app


@contextmanager
def worker(server: Server) -> Iterator[None]:
    """FiftyOne's own worker, with the server's plugins."""
    command = [sys.executable, "-c", _CLI, "delegated", "launch", "--type", "local"]
    with (server.log.parent / "worker.log").open("w") as out:
        process = subprocess.Popen(command, env=server.environment, stdout=out, stderr=out)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def wait_until(found: Callable[[], T | None]) -> T:
    """What a function finds at last."""
    deadline = time.monotonic() + PATIENCE
    while (value := found()) is None:
        assert time.monotonic() < deadline, "not found in time"
        time.sleep(0.2)
    return value


def stopped_run(dataset: fo.Dataset) -> ntt.SegmentReport | None:
    dataset.reload()
    report = ntt.load_segment_report(dataset, "ntt")
    return report if report.state == "stopped" else None


def ended_operation(dataset: fo.Dataset):
    found = DelegatedOperationService().list_operations(dataset_name=dataset.name)
    return next((one for one in found if one.run_state in ("completed", "failed")), None)


def segment_without_kept_proposals(app: AppPage, field: str = "ntt"):
    """The form, filled in so that the run takes its time whatever ran before."""
    form = app.operator("Segment with memory bank")
    form.fill("Write to", field)
    form.tick("Advanced settings")
    form.untick("Keep proposals")
    form.wait_for(f"Will write labels into '{field}'")
    return form


def test_after_a_reload_a_second_run_goes_on(app, dataset):
    form = segment_without_kept_proposals(app)
    form.submit("Segment")
    form.wait_for_progress(BEGUN)
    app.shoot("segment_progress")
    app.reload()
    stopped = wait_until(lambda: stopped_run(dataset))
    assert 1 <= stopped.segmented < IMAGES
    form = app.operator("Segment with memory bank")
    form.wait_for(f"Will write labels into 'ntt' of {IMAGES - stopped.segmented} image")
    app.shoot("segment_goes_on")
    form.submit("Segment")
    end = form.wait_for_end("in the field 'ntt'")
    assert f"Done before: {stopped.segmented}" in end
    assert len(dataset.exists("ntt")) == IMAGES


def test_a_second_tab_is_refused_in_words(app, new_tab, dataset):
    other = new_tab()
    other.open(dataset.name)
    second = segment_without_kept_proposals(other)
    first = segment_without_kept_proposals(app)
    first.submit("Segment")
    first.wait_for_progress(BEGUN)
    second.submit("Segment")
    second.wait_for_end("Another run is writing the field 'ntt'")
    other.shoot("second_tab")
    other.close()
    first.wait_for_end("in the field 'ntt'")


def test_a_scheduled_run_is_done_by_a_worker(app, dataset, server):
    form = app.operator("Segment with memory bank")
    form.wait_for("Will write labels into 'ntt'")
    form.schedule()
    app.page.get_by_text("Operation successfully scheduled").first.wait_for()
    app.shoot("scheduled")
    with worker(server):
        operation = wait_until(lambda: ended_operation(dataset))
    assert operation.run_state == "completed"
    assert len(dataset.exists("ntt")) == IMAGES


def test_stop_in_the_window_of_a_run_ends_it(app, dataset, shots):
    form = segment_without_kept_proposals(app)
    form.submit("Segment")
    form.wait_for_progress(BEGUN)
    app.shoot("stop_1_running")
    pressed = time.monotonic()
    form.press("Stop")
    form.run.get_by_text("Stopped").first.wait_for()
    seconds = round(time.monotonic() - pressed, 2)
    words = json.dumps({"from the click to the page at the end": seconds, "unit": "s"}, indent=1)
    (shots / "stop.json").write_text(words + "\n")
    app.shoot("stop_2_stopped")
    stopped = wait_until(lambda: stopped_run(dataset))
    assert 1 <= stopped.segmented < IMAGES
    assert len(dataset.exists("ntt")) == stopped.segmented
    form.close()
    form = app.operator("Segment with memory bank")
    form.wait_for(f"Will write labels into 'ntt' of {IMAGES - stopped.segmented} image")
