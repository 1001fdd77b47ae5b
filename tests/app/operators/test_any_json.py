"""Requests written by hand: any JSON value in any place gets a sentence, and nothing is done."""

import asyncio
import copy
import json
from functools import cache
from types import SimpleNamespace

import pytest
from fiftyone.operators.executor import execute_or_delegate_operator, resolve_type
from fiftyone.operators.registry import OperatorRegistry

import ntt_plugin as ntt
from ntt_plugin.app.operators import OPERATORS
from ntt_plugin.app.request import _KINDS, _is_stage, take_out_unfit
from tests.app.driver import NAME, unescaped

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
    "number": [-1, 0.5, 1e300],
    "number from 0 to 1": [-1, 0.5, 2],
    "yes or no": [True, False],
}
REQUEST = ["selected", "selected_samples", "selected_labels", "view", "filters", "extended",
           "prompt_id", "group_slice", "current_sample", "active_fields", "view_name",
           "custom_view_target"]  # fmt: skip
each = pytest.mark.parametrize("operator", OPERATORS, ids=lambda o: o.operator_name)


@cache
def _registry() -> OperatorRegistry:
    return OperatorRegistry()


def told(form) -> list[str]:
    """What keeps a form from being run."""
    assert not getattr(form, "error", None), form.error
    parts = form.to_json()["type"]["properties"].values()
    return [part["error_message"] for part in parts if part["invalid"]]


def form_of(operator, request) -> list[str]:
    uri = f"{NAME}/{operator.operator_name}"
    form = asyncio.run(
        resolve_type(_registry(), uri, {"operator_uri": uri, "prompt_id": "one", **request})
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
    *_, shown = (body for body in messages if body.operator_uri == "show_output")
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


STAGE = "fiftyone.core.stages."
UNREADABLE_VIEWS = {
    "limit": {"view": [{"_cls": STAGE + "Limit", "kwargs": [["limit", "x"]]}]},
    "ids": {
        "view": [{"_cls": STAGE + "Select", "kwargs": [["sample_ids", ["x"]], ["ordered", False]]}]
    },
    "pipeline": {"view": [{"_cls": STAGE + "Mongo", "kwargs": [["pipeline", [{"$no": 1}]]]}]},
    "division": {
        "view": [{"_cls": STAGE + "Match", "kwargs": [["filter", {"$expr": {"$divide": [1, 0]}}]]}]
    },
    "extended": {"extended": {STAGE + "Limit": {"limit": "x"}}},
    "custom": {
        "params": {"custom_view_target": [{"_cls": STAGE + "Limit", "kwargs": [["limit", "x"]]}]}
    },
}


@pytest.mark.parametrize("more", UNREADABLE_VIEWS.values(), ids=list(UNREADABLE_VIEWS))
@pytest.mark.parametrize("name", ["sample_references", "add_references"])
def test_a_view_that_can_be_built_but_not_read_is_refused(name, more, plugin, worked_on):
    operator = next(o for o in OPERATORS if o.operator_name == name)
    request = {"dataset_name": worked_on.name, "params": {}, **copy.deepcopy(more)}
    [sentence] = form_of(operator, request)
    assert sentence.startswith("The request's view cannot be opened (")


def test_a_view_of_groups_by_a_field_can_be_read(plugin, worked_on):
    view = worked_on.group_by("filepath")
    operator = next(o for o in OPERATORS if o.operator_name == "sample_references")
    request = {"dataset_name": worked_on.name, "params": {}, "view": view._serialize()}
    assert not any("cannot be opened" in text for text in form_of(operator, request))


def bad_stage(path):
    stage = {"_cls": "os.makedirs", "kwargs": [["name", str(path)]]}
    nested = {
        "_cls": STAGE + "Concat",
        "kwargs": [["samples", {"dataset": "x", "stages": [stage]}]],
    }
    return {"alone": stage, "in a stage": nested}


@pytest.mark.parametrize("kind", ["alone", "in a stage"])
def test_only_fiftyones_stages_are_built_of_a_former_runs_view(kind, plugin, worked_on, tmp_path):
    made = tmp_path / "made"
    params = {"custom_view_target": [bad_stage(made)[kind]], "view_target": "CUSTOM_VIEW_TARGET"}
    operator = next(o for o in OPERATORS if o.operator_name == "segment_with_memory_bank")
    [sentence] = form_of(operator, {"dataset_name": worked_on.name, "params": params})
    assert "has a stage 'os.makedirs', which is none of FiftyOne's" in sentence
    assert not made.exists()


@pytest.mark.parametrize("name", ["os.system", STAGE + "foo", STAGE + "fos.x", STAGE, 5])
def test_what_is_no_stage_of_fiftyones_is_no_stage(name):
    assert not _is_stage(name) and _is_stage(STAGE + "Limit")


def labels_of(dataset, **changed):
    sample = dataset.first()
    [label, *_] = sample.ground_truth.detections
    entry = {"label_id": label.id, "sample_id": sample.id, "field": "ground_truth", **changed}
    return [{name: value for name, value in entry.items() if value is not None}]


@pytest.mark.parametrize("lacking", ["sample_id", "field"])
def test_a_selected_label_without_its_sample_or_field_is_refused(lacking, plugin, worked_on):
    operator = next(o for o in OPERATORS if o.operator_name == "add_references")
    chosen = labels_of(worked_on, **{lacking: None})
    request = {"dataset_name": worked_on.name, "params": {}, "selected_labels": chosen}
    assert "'selected_labels' is no selection" in " ".join(form_of(operator, request))


@pytest.mark.parametrize("field", ["nope", "metadata", "ground_truth.detections", "", "filepath"])
@pytest.mark.parametrize("name", ["add_references", "update_memory_bank", "build_memory_bank"])
def test_a_selected_label_of_no_field_of_labels_is_refused(name, field, plugin, worked_on):
    operator = next(o for o in OPERATORS if o.operator_name == name)
    chosen = labels_of(worked_on, field=field)
    request = {"dataset_name": worked_on.name, "params": {"view_target": "SELECTED_LABELS"}}
    sentences = form_of(operator, {**request, "selected_labels": chosen})
    assert any("has no such field of labels" in text for text in sentences), sentences


@pytest.mark.parametrize("more", [{}, {"run_doc": "x"}, {"run_doc": "6b0afc50c340a24daef02a13"}])
def test_a_request_that_says_it_is_delegated_gets_the_page(more, plugin, worked_on):
    operator = next(o for o in OPERATORS if o.operator_name == "add_references")
    request = {"dataset_name": worked_on.name, "params": {"bank": {"a": 1}}, "delegated": True}
    assert "'bank' is a dictionary" in answer_of(operator, {**request, **more})
