"""fiftyone.yml, the registered operators, their files and the SDK agree with one another."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
import yaml
from fiftyone.operators.registry import OperatorRegistry

import ntt_plugin as ntt
from ntt_plugin.app.operators import OPERATORS
from tests.app.driver import NAME, ROOT

# What the context gives, and what only a script can pass on.
NOT_IN_FORMS = {"samples", "dataset", "progress", "segmenter"}
# A store of one's own where the form has nothing to switch; numbers by hand, for scripts.
NOT_IN_ITS_FORM = {
    "compute_proposals": {"cache"},
    "save_thresholds": {"thresholds"},
    "apply_thresholds": {"thresholds"},
}
each = pytest.mark.parametrize("operator", OPERATORS, ids=lambda o: o.operator_name)


def test_the_plugin_lists_the_operators_it_registers(operators):
    listed = yaml.safe_load((ROOT / "fiftyone.yml").read_text())["operators"]
    assert listed == [operator.operator_name for operator in operators]


def test_fiftyone_finds_them_all(plugin, operators):
    found = [
        o.uri for o in OperatorRegistry().list_operators(type="operator") if o.plugin_name == NAME
    ]
    assert sorted(found) == sorted(f"{NAME}/{operator.operator_name}" for operator in operators)


@each
def test_parameters_are_those_of_the_sdk(operator):
    signature = inspect.signature(getattr(ntt, operator.uses))
    left_out = NOT_IN_FORMS | NOT_IN_ITS_FORM.get(operator.operator_name, set())
    assert set(operator.parameters) == set(signature.parameters) - left_out


@each
def test_an_operator_has_a_file_of_its_name(operator):
    assert Path(inspect.getfile(operator)).stem == operator.operator_name


@each
def test_words_are_for_people(operator):
    assert re.fullmatch(r"[A-Z][a-z]+( [a-z]+)*", operator.title)
    assert operator.about.endswith(".")
    assert "Use it" in operator.about or operator.operator_name in (
        "rename_memory_bank",
        "delete_memory_bank",
    )


@each
def test_it_can_be_delegated_and_shows_progress(operator):
    config = operator().config
    assert config.allow_immediate_execution
    assert config.allow_delegated_execution
    assert config.execute_as_generator
    assert config.icon
