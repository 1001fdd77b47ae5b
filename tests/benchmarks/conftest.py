"""Runs of published tables over imitations of their data."""

import uuid

import fiftyone as fo
import pytest

from benchmarks.published.reproduce import run_task
from tests.benchmarks.imitations import BlockEngine


@pytest.fixture
def run():
    """Runs a task with the engine that finds coloured blocks; its datasets go afterwards."""
    name = f"test_{uuid.uuid4().hex}"

    def run_it(table, task, shots, engine=None, seed=33):
        engine = engine or BlockEngine(max_instances=table.max_instances)
        return run_task(table, task, shots, seed, "tiny", name, segmenter=engine, cache=False)

    yield run_it
    if fo.dataset_exists(name):
        fo.delete_dataset(name)
