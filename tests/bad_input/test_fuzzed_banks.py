"""Damaged, forged and hostile bank files: our error or a sound bank, for little memory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bad_input.bank_mutations import giants
from tests.bad_input.read_mutations import make_bank

MUTATIONS = 10_000

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="memory is measured through Linux's /proc"
)


def read_in_a_process(*arguments: object) -> dict:
    command = [sys.executable, "-m", "tests.bad_input.read_mutations", *map(str, arguments)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def outcome():
    return read_in_a_process(MUTATIONS)


def test_every_mutation_gives_our_error_or_a_sound_bank(outcome):
    assert outcome["wrong"] == []
    assert sum(outcome["refused"].values()) + sum(outcome["sound"].values()) == MUTATIONS


def test_most_mutations_are_refused_and_every_way_of_them(outcome):
    assert sum(outcome["refused"].values()) > 0.75 * MUTATIONS
    assert set(outcome["sound"]) < set(outcome["refused"])


def test_no_file_is_opened_whatever_a_bank_names(outcome):
    assert outcome["opened"] == []


def test_errors_stay_short(outcome):
    assert outcome["longest"] < 1000


def test_mutations_take_little_memory(outcome):
    assert outcome["memory"] < 100


def test_headers_made_to_swell_take_a_bounded_memory(tmp_path):
    paths = []
    for name, data in giants(make_bank().to_bytes()):
        paths.append(tmp_path / name.replace(" ", "_"))
        paths[-1].write_bytes(data)
    outcome = read_in_a_process(*paths)
    assert (outcome["wrong"], outcome["sound"]) == ([], {})
    assert {path.name for path in paths} == set(outcome["refused"])
    assert outcome["memory"] < 400
