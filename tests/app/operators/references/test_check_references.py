"""The operator Check references: what it says before and after."""

import fiftyone as fo
import torch
from bson import json_util

import ntt_plugin as ntt
from tests.app.driver import page


def test_the_form_says_how_much_will_be_looked_at(plugin, dataset):
    form = plugin.form(dataset, "check_references", params={"name": "shapes"})
    references = sum(ntt.get_memory_bank_info(dataset, "shapes").shots.values())
    assert f"{references} references" in form.said("will_do")
    assert form.errors == {}


def planted(dataset):
    """A bank ``planted`` of three good references, and one label again under a wrong class."""
    bank = ntt.load_memory_bank(dataset, "shapes")
    first, second = bank.classes[:2]
    (origin,) = bank.references(first)
    bank.add(second, origin.feature, origin.provenance)
    bank.add_negatives(first, torch.ones(bank.fingerprint.channels))
    ntt.save_memory_bank(dataset, "planted", bank)
    return origin.provenance, first, second


def test_what_is_to_be_looked_at_is_named_and_shown(plugin, dataset):
    source, first, second = planted(dataset)
    messages = plugin.run(dataset, "check_references", {"name": "planted"})
    results = page(messages)
    assert "2 to look at" in results["message"]
    assert [problem.split(": ", 1)[0] for problem in results["problems"]] == [
        f"a reference of {label!r} (label {source.label})" for label in (first, second)
    ]
    stages = json_util.loads(results["ntt_view"]["stages"])
    shown = fo.DatasetView._build(dataset, stages)
    assert shown.values("id") == [source.sample]
    assert shown.values("ground_truth.detections.id", unwind=True) == [source.label]


def test_nothing_to_look_at_is_said(plugin, dataset):
    results = page(plugin.run(dataset, "check_references", {"name": "shapes"}))
    assert "none stands out" in results["message"]
    assert "problems" not in results and "ntt_view" not in results
