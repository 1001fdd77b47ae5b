"""Events of the panel written by hand: a toast with a sentence, never a bare error."""

import asyncio

import pytest
from fiftyone.operators.executor import execute_or_delegate_operator

from tests.app.operators.test_any_json import FEW
from tests.app.panel_driver import URI

EVENTS = {
    "on_load": {},
    "on_unload": {},
    "on_change_dataset": {},
    "on_change_selected": {},
    "on_change_selected_labels": {},
    "go": {"to": {"tab": "runs"}},
    "choose_class": {"value": "red"},
    "ask": {"operator": "delete_memory_bank", "values": {"name": "shapes"}},
    "done": {},
    "refresh": {},
    "show_references": {"bank": "shapes"},
    "show_classes": {"x": "red", "y": "blue"},
    "show_run": {"field": "ntt", "patches": False},
    "show_failed": {"field": "ntt"},
    "open_evaluations": {},
}
values = pytest.mark.parametrize("value", FEW.values(), ids=list(FEW))


def send(dataset, params, **request) -> list[str]:
    """Send an event; the toasts that it is answered with."""
    request |= {"dataset_name": dataset.name, "params": params, "selected_samples": []}
    result = asyncio.run(execute_or_delegate_operator(URI, request))
    assert result.error is None, result.error
    sent = result.executor.to_json()["requests"]
    return [m["params"]["message"] for m in sent if m["operator_uri"] == "notify"]


def event(method, **params):
    return {"panel_id": "panel", "panel_state": {}, "__method__": method, **params}


@pytest.mark.parametrize("method", EVENTS)
def test_an_event_as_the_app_sends_it_is_answered(method, plugin, worked_on):
    toasts = send(worked_on, event(method, **EVENTS[method]))
    # No bank is open, and nothing failed.
    assert toasts == [] or method in ("show_failed", "show_classes")


@values
@pytest.mark.parametrize("method", EVENTS)
def test_any_value_in_any_place_of_an_event_is_answered(method, value, plugin, worked_on):
    for name in EVENTS[method]:
        for toast in send(worked_on, event(method, **EVENTS[method] | {name: value})):
            assert "Traceback" not in toast and not toast.startswith("The panel cannot show")


@values
def test_any_state_is_answered(value, plugin, worked_on):
    for state in (value, {"place": value}, *({"place": {name: value}} for name in
                  ("tab", "bank", "run", "shown", "label", "page", "visit"))):  # fmt: skip
        for toast in send(worked_on, event("refresh", panel_state=state)):
            assert not toast.startswith("The panel cannot show")
    send(worked_on, event("refresh", panel_id=value))
    send(worked_on, event(value))
    send(worked_on, event("refresh"), selected_labels=value)


@pytest.mark.parametrize("method", ["execute", "render", "__class__", "config", "nope"])
def test_only_the_panels_events_are_answered(method, plugin, worked_on):
    [toast] = send(worked_on, event(method))
    assert f"no event {method!r}" in toast
