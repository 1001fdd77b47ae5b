"""The parts of benchmarks/scale.py run: few samples, nothing is timed."""

from argparse import Namespace

import pytest

from benchmarks import scale


def test_stubs_give_every_result_locally(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(scale.ROOT))
    figures = scale.measure_stubs("local", Namespace(workers=[1], samples=40))
    assert figures["1"]["samples"] == 40
    assert figures["1"]["efficiency"] > 0


@pytest.mark.parametrize("labels", [8, 100])
def test_stubs_write_their_labels_into_the_database(labels, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(scale.ROOT))
    figures = scale.written_run("local", 1, f"stub_0_{labels}", 40)
    assert (figures["samples"], figures["failed"]) == (40, 0)
    assert figures["bytes_a_sample"] > 100 * labels
