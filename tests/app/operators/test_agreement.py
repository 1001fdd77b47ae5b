"""fiftyone.yml, the registered operators, their files and the SDK agree with one another."""

import inspect
import re
from pathlib import Path

import fiftyone.operators as foo
import pytest
import yaml
from fiftyone.operators.executor import ExecutionError
from fiftyone.operators.registry import OperatorRegistry
from fiftyone.operators.types import RiskLevel

import ntt_plugin as ntt
from ntt_plugin.app.operators import OPERATORS
from ntt_plugin.dataset.networks import networks_of
from ntt_plugin.engine.recipe import PRESETS
from tests.app.driver import NAME, ROOT

# What the context gives, and what only a script can pass on.
NOT_IN_FORMS = {"samples", "dataset", "progress", "segmenter"}
# A store of one's own where the form has nothing to switch; numbers by hand, for scripts.
NOT_IN_ITS_FORM = {
    "compute_proposals": {"cache"},
    "save_thresholds": {"thresholds"},
    "apply_thresholds": {"thresholds"},
}
# One chooses between two functions, the second of which takes a parameter more; the other takes
# the SDK's thresholds by class as a text.
OF_ITS_OWN = {
    "export_labels": {"format", "copy_images"},
    "apply_thresholds": {"own_thresholds"},
}
# The button Stop in a window calls it.
WITHOUT_A_FORM = ["stop_run"]
SHARED_FILES = {
    "manage_memory_bank": [
        "rename_memory_bank",
        "duplicate_memory_bank",
        "delete_memory_bank",
        "merge_memory_banks",
    ],
    "share_memory_bank": ["export_memory_bank", "import_memory_bank"],
    "show_memory_bank": ["get_memory_bank_info", "load_references_view"],
    "teach_predictions": ["promote_references", "add_negatives"],
    "proposals": [
        "compute_proposals",
        "get_proposals_info",
        "clear_proposals",
        "download_networks",
    ],
}
each = pytest.mark.parametrize("operator", OPERATORS, ids=lambda o: o.operator_name)


def test_the_plugin_lists_the_operators_it_registers(operators):
    listed = yaml.safe_load((ROOT / "fiftyone.yml").read_text())["operators"]
    assert listed == [*(operator.operator_name for operator in operators), *WITHOUT_A_FORM]


def test_fiftyone_finds_them_all(plugin, operators):
    found = [
        o.uri for o in OperatorRegistry().list_operators(type="operator") if o.plugin_name == NAME
    ]
    names = [*(operator.operator_name for operator in operators), *WITHOUT_A_FORM]
    assert sorted(found) == sorted(f"{NAME}/{name}" for name in names)


@each
def test_parameters_are_those_of_the_sdk(operator):
    signature = inspect.signature(getattr(ntt, operator.uses))
    left_out = NOT_IN_FORMS | NOT_IN_ITS_FORM.get(operator.operator_name, set())
    of_its_own = OF_ITS_OWN.get(operator.operator_name, set())
    assert set(operator.parameters) == (set(signature.parameters) - left_out) | of_its_own


@each
def test_an_operator_has_a_file_of_its_name_or_shares_one_by_subject(operator):
    name = operator.operator_name
    file = next((file for file, names in SHARED_FILES.items() if name in names), name)
    assert Path(inspect.getfile(operator)).stem == file


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


@each
def test_what_may_download_says_so_and_is_of_medium_risk_at_least(operator):
    config = operator().config
    sizes = [
        sum(network.megabytes for network in networks_of(recipe))
        for name, recipe in PRESETS.items()
        if name != "tiny"
    ]
    said = f"downloads up to {max(sizes) / 1000:.1f} GB from Hugging Face"
    assert (said in config.description) == operator.downloads
    # What chooses a preset or a device runs networks.
    assert operator.downloads == bool({"preset", "device"} & set(operator.parameters))
    if operator.downloads:
        assert config.risk_level in (RiskLevel.MEDIUM, RiskLevel.HIGH)


def test_the_panel_declares_its_risk(plugin):
    [panel] = [o for o in OperatorRegistry().list_operators(type="panel") if o.plugin_name == NAME]
    assert panel.risk_level == RiskLevel.MEDIUM


@each
def test_what_deletes_asks_for_a_tick(operator, plugin, worked_on):
    deletes = operator.operator_name.startswith(("delete_", "clear_", "remove_"))
    bank = ntt.load_memory_bank(worked_on, "shapes")
    params = {"name": "shapes"} if "name" in operator.parameters else {}
    params |= {"classes": bank.classes[:1]} if "references" in operator.parameters else {}
    form = plugin.form(worked_on, operator.operator_name, params=dict(params))
    assert ("confirm" in form.errors) == deletes
    if deletes:
        params["confirm"] = True
        assert plugin.form(worked_on, operator.operator_name, params=params).errors == {}


def test_a_script_need_not_confirm_and_gets_the_outcomes_dictionary(plugin, dataset):
    uri = f"{NAME}/get_memory_bank_info"
    found = foo.execute_operator(uri, dataset=dataset, params={"name": "shapes"}).result
    assert found["message"].startswith("shapes: ") and found["Preset"] == "tiny"
    uri, params = f"{NAME}/delete_memory_bank", {"name": "shapes"}
    with pytest.raises(ExecutionError, match="Tick to go on"):
        foo.execute_operator(uri, dataset=dataset, params={**params, "confirm": False})
    assert ntt.list_memory_banks(dataset) == ["shapes"]
    found = foo.execute_operator(uri, dataset=dataset, params=params).result
    assert found == {"message": "The memory bank 'shapes' is deleted."}
    assert ntt.list_memory_banks(dataset) == []


def test_the_app_must_confirm(plugin, dataset):
    list(plugin.stream(dataset, "delete_memory_bank", {"name": "shapes"}))
    assert ntt.list_memory_banks(dataset) == ["shapes"]
    list(plugin.stream(dataset, "delete_memory_bank", {"name": "shapes", "confirm": True}))
    assert ntt.list_memory_banks(dataset) == []
