"""Requests written by hand: any JSON value in any place gets a sentence, and nothing is done."""

from __future__ import annotations

import asyncio
import copy
import json
from types import SimpleNamespace

import pytest
from fiftyone.operators.executor import execute_or_delegate_operator, resolve_type
from fiftyone.operators.registry import OperatorRegistry

import ntt_plugin as ntt
from ntt_plugin.app.operators import OPERATORS
from ntt_plugin.app.request import _KINDS, take_out_unfit
from ntt_plugin.app.text import unescaped
from tests.app.driver import NAME

VALUES = {
    "dictionary": {"a": {"b": [1]}},
    "empty dictionary": {},
    "list": [1, None, "x"],
    "nested list": [["red"]],
    "list of dictionaries": [{"a": 1}],
    "huge number": 10**400,
    "negative number": -1,
    "fraction": 0.5,
    "NaN": float("nan"),
    "infinity": float("inf"),
    "text": "no such thing",
    "path": "/proc/self/mem\0",
    "half a character": "\ud800",
    "long text": "x" * 100_000,
    "null": None,
    "true": True,
    "markdown": "![x](http://127.0.0.1:9/x.png)",
}
FEW = {name: VALUES[name] for name in ("dictionary", "nested list", "list of dictionaries", "NaN",
                                        "text", "half a character", "null", "true")}  # fmt: skip
OF_THE_KIND = {
    "text": ["no such thing", "x" * 100_000, "a\0b"],
    "list of texts": [["no such thing"], ["a\0b", "$a"]],
    "whole number": [-1, 2**62],
    "yes or no": [True, False],
}
REQUEST = ["selected", "selected_samples", "selected_labels", "view", "filters", "extended",
           "prompt_id", "group_slice", "current_sample", "active_fields", "view_name",
           "custom_view_target"]  # fmt: skip
each = pytest.mark.parametrize("operator", OPERATORS, ids=lambda o: o.operator_name)


def told(form) -> list[str]:
    """What keeps a form from being run."""
    assert not getattr(form, "error", None), form.error
    parts = form.to_json()["type"]["properties"].values()
    return [part["error_message"] for part in parts if part["invalid"]]


def form_of(operator, request) -> list[str]:
    registry = OperatorRegistry()
    uri = f"{NAME}/{operator.operator_name}"
    form = asyncio.run(
        resolve_type(registry, uri, {"operator_uri": uri, "prompt_id": "one", **request})
    )
    sentences = told(form)
    json.dumps(form.to_json())
    for sentence in sentences:
        assert not sentence.startswith(("This form cannot", "Traceback")), sentence
    return sentences


def answer_of(operator, request) -> str:
    """The page that a request to run ends with."""
    uri = f"{NAME}/{operator.operator_name}"
    result = asyncio.run(execute_or_delegate_operator(uri, {"operator_uri": uri, **request}))
    assert result.error is None, result.error
    messages = [message.body for message in result.result]
    [shown] = [body for body in messages if body.operator_uri == "show_output"]
    parts = shown.params["outputs"]["type"]["properties"]
    return unescaped(" ".join(str(part["view"]["label"]) for part in parts.values()))


@each
def test_every_parameter_is_of_a_known_kind(operator):
    assert set(operator.parameters) <= set(_KINDS)


@pytest.mark.parametrize("name", sorted(_KINDS))
def test_what_is_of_another_kind_is_taken_out_with_a_sentence(name):
    for value in VALUES.values():
        params = {name: value}
        wrong = take_out_unfit(SimpleNamespace(params=params))
        assert params == ({} if wrong else {name: value}) or value != value
        assert all(words.startswith(f"{name!r} is ") for words in wrong.values())
    for value in ({"a": 1}, {}, [{"a": 1}], [["x"]], 10**400, float("nan"), "\ud800"):
        assert take_out_unfit(SimpleNamespace(params={name: value})), value


@each
def test_a_form_shows_sentences_whatever_its_parameters_are(operator, plugin, worked_on):
    names = (*operator.parameters, "advanced", "confirm", "view_target")
    for value in VALUES.values():
        params = dict.fromkeys(names, value)
        form_of(operator, {"dataset_name": worked_on.name, "params": params})


@each
def test_a_form_shows_a_sentence_for_what_is_not_there(operator, plugin, worked_on):
    """Values of the right kind, one at a time, so that the other fields are right."""
    for name in operator.parameters:
        for value in OF_THE_KIND[_KINDS[name]]:
            params = {"advanced": True, name: value}
            form_of(operator, {"dataset_name": worked_on.name, "params": params})


@each
def test_a_value_of_another_kind_is_refused_by_name(operator, plugin, worked_on):
    for name in (*operator.parameters, "confirm"):
        request = {"dataset_name": worked_on.name, "params": {name: {"a": 1}}}
        sentences = form_of(operator, copy.deepcopy(request))
        assert any(text.startswith(f"{name!r} is a dictionary; give ") for text in sentences)
        assert f"{name!r} is a dictionary" in answer_of(operator, request)


@pytest.mark.parametrize("place", REQUEST)
@pytest.mark.parametrize("name", ["segment_with_memory_bank", "add_references"])
def test_a_form_shows_a_sentence_whatever_the_request_holds(name, place, plugin, worked_on):
    operator = next(o for o in OPERATORS if o.operator_name == name)
    for value in FEW.values():
        request = {"dataset_name": worked_on.name, "params": {}}
        (request["params"] if place == "custom_view_target" else request)[place] = value
        form_of(operator, request)


@pytest.mark.parametrize("value", VALUES.values(), ids=list(VALUES))
def test_a_result_that_is_none_of_ours_gets_a_page(value, plugin, worked_on):
    operator = OPERATORS[0]()
    for results in (value, {"message": value}, {"problems": value}, {"ntt_view": value},
                    {"ntt_table": value}, {"ntt_panel": value}, {"ntt_next": value}):  # fmt: skip
        context = type("Context", (), {"results": results})()
        json.dumps(operator.resolve_output(context).to_json())


def test_a_script_gets_the_sentence_too(plugin, dataset):
    from fiftyone.operators.executor import ExecutionError

    with pytest.raises(ExecutionError, match="'name' is a dictionary; give a text"):
        plugin.run(dataset, "rename_memory_bank", {"name": {"a": 1}, "new_name": "b"})
    assert ntt.list_memory_banks(dataset) == ["shapes"]


def test_what_cannot_be_run_is_not_scheduled(plugin, dataset):
    params = {"bank": {"a": 1}, "label_field": "found"}
    request = {"dataset_name": dataset.name, "params": params, "request_delegation": True}
    operator = next(o for o in OPERATORS if o.operator_name == "segment_with_memory_bank")
    assert "'bank' is a dictionary" in answer_of(operator, request)
