"""Names that are Markdown stay names: in every form, on every page, in the panel."""

import json
import re

import fiftyone as fo
import pytest

from ntt_plugin.app.operators import OPERATORS
from ntt_plugin.app.text import code_block, escaped
from tests.app.driver import calls, unescaped
from tests.app.hostile import NAMES, PORT, export_hostile, make_hostile
from tests.app.panel_driver import PanelOnScreen

each = pytest.mark.parametrize("operator", OPERATORS, ids=lambda o: o.operator_name)
RENDERED = ("label", "description", "caption")
PLAIN = ("Button", "MarkdownView", "Dropdown", "AutocompleteView", "Choice")


@pytest.fixture(scope="module")
def hostile(worked_on):
    dataset = worked_on.clone("hostile_names")
    make_hostile(dataset)
    yield dataset
    fo.delete_dataset("hostile_names")


def markdown_of(part) -> list[str]:
    """All that the App renders as Markdown in a form or page, given as JSON."""
    found = []
    if isinstance(part, list):
        return [text for entry in part for text in markdown_of(entry)]
    if not isinstance(part, dict):
        return []
    view = part.get("view")
    if isinstance(view, dict):
        # Of a list to choose from the App renders what is above it, not the choices.
        found += [view[name] for name in RENDERED if view["name"] != "Button" and view.get(name)]
        if view["name"] == "MarkdownView" and part.get("default"):
            found.append(part["default"])
        if view["name"] == "RadioGroup":
            found += [c[name] for c in view["choices"] for name in RENDERED if c.get(name)]
    for entry in part.get("type", {}).get("properties", {}).values():
        found += markdown_of(entry)
    return found


def assert_harmless(part) -> None:
    """No image, link, tag or code of a stranger's; our own bold words stay."""
    texts = markdown_of(part)
    for text in texts:
        assert f"http://{PORT}" not in text, text
        assert not re.search(r"(?<!\\)[\[\]<>`]", text), text
        assert "www.e" not in text and "@b" not in text, text


FILLED = {
    "import_memory_bank": {"name": "hostile"},
    "merge_memory_banks": {"names": ["hostile", "second"], "new_name": "both"},
    "save_thresholds": {"bank": "hostile", "eval_key": "found_eval"},
    "segment_with_memory_bank": {"bank": "hostile", "label_field": "again"},
    "suggest_references": {"bank": "hostile"},
    "apply_thresholds": {"bank": "hostile", "label_field": "found", "tag": NAMES[0]},
    "update_memory_bank": {"name": "hostile"},
    "promote_references": {"bank": "hostile", "label_field": "found"},
    "add_negatives": {"bank": "hostile", "label_field": "found"},
    "sample_references": {"shots": 100, "tag": NAMES[0]},
    "add_references": {"tag": NAMES[2]},
    "compare_segmentations": {"label_field": "found", "other_field": "ground_truth"},
    "compare_recipes": {"bank": "hostile", "recipes": ["own"]},
    "change_recipe": {"name": "hostile", "preset": "own tile=64"},
}


@each
def test_no_form_renders_them(operator, plugin, hostile, tmp_path):
    name = operator.operator_name
    params = {"advanced": True, **FILLED.get(name, {})}
    if "path" in operator.parameters:
        params["path"] = str(export_hostile(hostile, tmp_path))
    said = 0
    for filled in ({}, params, *({**params, key: NAMES[0]} for key in operator.parameters)):
        form = plugin.form(hostile, name, params=dict(filled), prompt_id=None)
        for field in form.fields.values():
            assert_harmless(field.to_json())
            shown = markdown_of(field.to_json())
            said += any(escaped(word) in text for word in NAMES for text in shown)
    if name in FILLED and name not in ("compare_segmentations",):
        assert said, "no name is in this form, so that nothing was tested"


RUNS = {
    "get_memory_bank_info": {"name": "hostile"},
    "compare_segmentations": {"label_field": "found", "other_field": "ground_truth"},
    "save_thresholds": {"bank": "hostile", "eval_key": "found_eval", "overwrite": True},
    "apply_thresholds": {"bank": "hostile", "label_field": "found", "tag": NAMES[0]},
    "sample_references": {"label_field": "ground_truth", "shots": 100, "tag": NAMES[0]},
    "merge_memory_banks": {"names": ["hostile", "second"], "new_name": "both"},
    "check_references": {"name": "hostile"},
}


@pytest.mark.parametrize("name", RUNS)
def test_no_page_at_the_end_renders_them(name, plugin, hostile):
    stream = plugin.stream(hostile, name, RUNS[name])
    messages = [json.loads(json.dumps(m.body.to_json(), default=str)) for m in stream]
    assert "show_output" in calls(messages)
    *_, shown = (m["params"] for m in messages if m["operator_uri"] == "show_output")
    assert_harmless(shown["outputs"])


PLACES = [
    {"tab": "banks"},
    {"tab": "banks", "bank": "hostile"},
    {"tab": "banks", "bank": NAMES[0]},
    {"tab": "runs"},
    {"tab": "runs", "run": "found"},
    {"tab": "runs", "run": "found", "shown": "scores"},
    {"tab": "runs", "run": NAMES[0]},
]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: "-".join(place.values()))
def test_no_page_of_the_panel_renders_them(place, plugin, hostile):
    panel = PanelOnScreen(hostile)
    panel.event("go", to=place)
    assert_harmless(panel.shown)


def test_plotly_shows_class_names_as_they_are(plugin, hostile):
    panel = PanelOnScreen(hostile)
    panel.event("go", to={"tab": "banks", "bank": "hostile"})
    [axis] = [
        trace["x"]
        for part in panel.parts()
        if part["view"]["name"] == "PlotlyView"
        for trace in part["view"]["data"]
    ]
    assert axis and not any("<" in text for text in axis)
    panel.event("show_classes", x=axis[0], y=axis[1])
    assert len(panel.asked("set_view")) == 1


@pytest.mark.parametrize("name", NAMES)
def test_what_is_escaped_can_be_had_back(name):
    assert unescaped(escaped(name)) == " ".join(name.split())


def test_a_block_of_code_is_not_ended_by_what_is_in_it():
    block = code_block("a\n```\n![x](y)\n````\nb")
    assert block.startswith("`````\n") and block.endswith("\n`````")
