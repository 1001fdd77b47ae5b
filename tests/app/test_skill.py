"""FiftyOne lists the skill, and what it names is there."""

import re

import fiftyone.plugins as fop
import pytest
import yaml

from ntt_plugin.app.operators import OPERATORS
from tests.app.driver import NAME, ROOT
from tests.docs.pages import table

SKILL = ROOT / "skills" / "label-with-few-references" / "SKILL.md"
OF_OPERATORS = {operator.operator_name: operator for operator in OPERATORS}


def rows() -> list[list[str]]:
    """The order of use: step, operators, parameters, check."""
    text = SKILL.read_text()
    return table(text[text.index("## The order") :])


def test_fiftyone_lists_it(plugin):
    [skill] = fop.list_skills(plugin=NAME)
    assert skill.name == "label-with-few-references"
    assert skill.content == SKILL.read_text()
    assert skill.category and len(skill.description) < 1024


def test_fiftyone_yml_names_every_skill_that_is_there():
    listed = yaml.safe_load((ROOT / "fiftyone.yml").read_text())["skills"]
    assert sorted(listed) == sorted(path.parent.name for path in ROOT.glob("skills/*/SKILL.md"))


@pytest.mark.parametrize("row", rows(), ids=lambda row: re.sub(r"\W+", "_", row[1]))
def test_operators_and_their_parameters_are_real(row):
    operators = re.findall(r"`(\w+)`", row[1])
    known = {name for operator in operators for name in OF_OPERATORS[operator].parameters}
    assert operators
    assert set(re.findall(r"`(\w+)`", row[2])) <= known
