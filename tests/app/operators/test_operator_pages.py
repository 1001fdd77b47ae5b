"""docs/operators and the operators say the same: names, parameters, defaults, labels."""

import inspect
import re
from pathlib import Path

import pytest

import ntt_plugin as ntt
from ntt_plugin.app.operators import OPERATORS
from tests.app.driver import ROOT
from tests.app.operators.test_agreement import OF_ITS_OWN
from tests.docs.pages import links, sdk_calls, table

FOLDER = ROOT / "docs" / "operators"
each = pytest.mark.parametrize("operator", OPERATORS, ids=lambda o: o.operator_name)


def page_of(operator) -> str:
    return (FOLDER / f"{operator.operator_name}.md").read_text()


def parameters_of(operator) -> dict[str, list[str]]:
    """The rows of its page's table by parameter."""
    rows = table(page_of(operator))
    if not operator.parameters:
        return {}
    return {row[1].strip("`"): row for row in rows}


def test_each_page_is_of_an_operator():
    pages = {path.stem for path in FOLDER.glob("*.md")} - {"README"}
    assert pages == {operator.operator_name for operator in OPERATORS}


def test_the_index_lists_them_in_the_order_of_use():
    index = [
        Path(link).stem for link in links((FOLDER / "README.md").read_text()) if "/" not in link
    ]
    assert index == [operator.operator_name for operator in OPERATORS]


@each
def test_the_page_is_headed_by_its_title_and_name(operator):
    title, _, line = page_of(operator).splitlines()[:3]
    assert title == f"# {operator.title}"
    assert line.startswith(f"`{operator.operator_name}` · ")


@each
def test_the_page_has_every_parameter_and_no_other(operator):
    assert set(parameters_of(operator)) == set(operator.parameters)


@each
def test_the_page_says_what_it_writes_and_calls_the_sdk(operator):
    text = page_of(operator)
    assert re.search(r"^\*\*(Writes|Deletes)\*\* ", text, re.MULTILINE)
    assert operator.uses in {name for name, _ in sdk_calls(text)}


@each
def test_the_page_gives_the_sdks_defaults(operator):
    signature = inspect.signature(getattr(ntt, operator.uses)).parameters
    for name, row in parameters_of(operator).items():
        if name in OF_ITS_OWN.get(operator.operator_name, ()):
            continue
        default = signature[name].default
        if default is inspect.Parameter.empty:
            assert row[2] == "", name
        elif default is None:
            assert row[2] and not row[2].startswith("`"), name
        else:
            assert row[2] == f"`{default}`" or row[2] == f'`"{default}"`', name


@each
def test_the_page_names_fields_as_the_form_does(operator, plugin, worked_on):
    form = plugin.form(worked_on, operator.operator_name, params={"advanced": True})
    for name, row in parameters_of(operator).items():
        if name in form.fields:
            assert f"**{form.fields[name].view.label}**" in row[0], name
