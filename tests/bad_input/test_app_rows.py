"""What the App is asked to show or to run, and by which process."""

import pytest
from fiftyone.operators.executor import ExecutionContext

import ntt_plugin as ntt
from ntt_plugin.app.operators.banks.manage_memory_bank import DeleteMemoryBank, RenameMemoryBank
from ntt_plugin.app.operators.references.remove_references import RemoveReferences
from tests.app.driver import unescaped
from tests.app.hostile import NAMES
from tests.bad_input.expectations import row
from tests.engine.device.test_threads import needs_fork, said_by_a_child

BAD = {
    "dictionary": {"a": 1},
    "list": [1],
    "huge number": 10**400,
    "NaN": float("nan"),
    "true": True,
    "half a character": "\ud800",
}


def form_of(operator, dataset, **params) -> dict:
    """The fields of an operator's form, as the App gets them."""
    request = {"dataset_name": dataset.name, "params": params, "operator_uri": "by hand"}
    return operator().resolve_input(ExecutionContext(request)).to_json()["type"]["properties"]


@row("markdown-names")
@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_is_markdown_is_shown_as_it_is(dataset, name):
    bank = ntt.load_memory_bank(dataset, "blocks")
    held = bank.references(bank.classes[0])[0]
    bank.add(name, held.feature)
    ntt.save_memory_bank(dataset, "named", bank)
    told = form_of(DeleteMemoryBank, dataset, name="named")["will_do"]["view"]["label"]
    assert name not in told
    assert " ".join(name.split()) in unescaped(told)


@row("any-json")
@pytest.mark.parametrize("value", BAD.values(), ids=list(BAD))
@pytest.mark.parametrize("operator", [DeleteMemoryBank, RenameMemoryBank, RemoveReferences])
def test_a_value_of_another_kind_is_refused_by_its_parameters_name(unchanged, operator, value):
    fields = form_of(operator, unchanged, name=value)
    assert fields["name"]["invalid"]
    assert fields["name"]["error_message"].startswith("'name' is ")


@row("any-json")
@pytest.mark.parametrize("place", ["view", "selected", "selected_labels", "filters"])
def test_a_request_that_cannot_be_read_is_refused(unchanged, place):
    request = {"dataset_name": unchanged.name, "params": {}, place: {"a": [1]}}
    form = DeleteMemoryBank().resolve_input(ExecutionContext(request)).to_json()
    assert "The request's" in form["type"]["properties"]["cannot_run"]["error_message"]


@row("forked-process")
@needs_fork
def test_a_forked_child_does_not_hang():
    assert "'spawn'" in said_by_a_child(threads=2)
