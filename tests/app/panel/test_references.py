import urllib.parse
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
import torch

import ntt_plugin as ntt
from ntt_plugin.app.panel import charts
from ntt_plugin.app.panel.references import A_PAGE
from ntt_plugin.dataset.banks.quality import KeptCheck, keep_checks
from ntt_plugin.engine.references import Provenance
from tests.app.driver import loaded
from tests.app.panel_driver import PanelOnScreen


@pytest.fixture
def panel(plugin, dataset):
    panel = PanelOnScreen(dataset)
    panel.click("Open")
    return panel


def pictures(panel):
    """Paths of the pictures on the screen, as FiftyOne's server is asked for them."""
    urls = [part["default"] for part in panel.parts() if part["view"]["name"] == "ImageView"]
    asked = [urllib.parse.parse_qs(urllib.parse.urlsplit(url).query) for url in urls]
    return [Path(query["filepath"][0]) for query in asked]


def add_many(dataset, count, negative=False):
    bank = ntt.load_memory_bank(dataset, "shapes")
    label = bank.classes[0]
    add = bank.add_negatives if negative else bank.add
    features = bank.features(label)[:1] + 0.01 * torch.rand(count, bank.fingerprint.channels)
    sources = [entry.provenance for entry in bank.references(label)[:1]] * count
    add(label, features, sources)
    ntt.save_memory_bank(dataset, "shapes", bank, overwrite=True)
    return bank


def test_every_reference_has_its_picture(panel, dataset):
    bank = ntt.load_memory_bank(dataset, "shapes")
    shown = pictures(panel)
    assert len(shown) == min(len(bank), A_PAGE)
    assert all(path.is_file() for path in shown)


def test_every_reference_has_its_quality(panel, dataset):
    [first, *_] = ntt.reference_quality(dataset, "shapes")
    assert f"next {first.nearest:.2f} ({first.nearest_class})" in panel.text()


def test_a_class_has_the_threshold_that_the_bank_keeps(panel, dataset):
    label = ntt.load_memory_bank(dataset, "shapes").classes[0]
    assert "· threshold" not in panel.text()
    ntt.save_thresholds(dataset, "shapes", thresholds={label: 0.25})
    panel.click("Refresh")
    assert f"**{label}** · threshold 0.25" in panel.text()


def test_a_long_wall_has_pages(panel, dataset):
    bank = add_many(dataset, 30)
    panel.click("Refresh")
    assert len(pictures(panel)) == A_PAGE
    assert f"1 to {A_PAGE} of {len(bank)}" in panel.text()
    panel.click("Next")
    assert len(pictures(panel)) == min(A_PAGE, len(bank) - A_PAGE)
    assert panel.state["place"]["page"] == 1
    panel.click("Previous")
    assert panel.state["place"]["page"] == 0


def test_one_class_can_be_chosen(panel, dataset):
    label = ntt.load_memory_bank(dataset, "shapes").classes[-1]
    panel.event("choose_class", value=label)
    assert len(pictures(panel)) == ntt.load_memory_bank(dataset, "shapes").shots(label)
    panel.event("choose_class", value=" ")
    assert panel.state["place"]["label"] == ""
    panel.event("choose_class", value=" ")
    assert panel.messages == []


def test_a_reference_can_be_removed(panel, dataset):
    [first, *_] = ntt.reference_quality(dataset, "shapes")
    panel.click("Remove")
    [asked] = panel.asked("prompt_user_for_operation")
    assert asked["operator_uri"].endswith("/remove_references")
    assert asked["params"] == {"name": "shapes", "references": [first.id]}


def test_flagged_references_say_why(panel, dataset):
    add_many(dataset, 2)
    panel.click("Refresh")
    flagged = [check for check in ntt.reference_quality(dataset, "shapes") if check.flags]
    assert flagged
    panel.click(f"Flagged ({len(flagged)})")
    assert len(pictures(panel)) == min(len(flagged), A_PAGE)
    assert all(check.flags[0] in panel.text() for check in flagged[:A_PAGE])


def test_a_reference_far_from_its_box_is_flagged_once_it_was_checked(panel, dataset):
    [first, *_] = ntt.reference_quality(dataset, "shapes")
    assert "far from the box" not in panel.text()
    keep_checks(dataset, {first.id: KeptCheck(5000, 0.9, 0.31)})
    panel.click("Refresh")
    [name] = [words for words in panel.buttons() if words.startswith("Flagged (")]
    panel.click(name)
    assert "⚠ far from the box that it was made of (IoU 0.31)" in panel.text()


def test_negatives_are_shown_apart(panel, dataset):
    references = len(ntt.load_memory_bank(dataset, "shapes"))
    add_many(dataset, 1, negative=True)
    panel.click("Refresh")
    assert f"References ({references})" in panel.buttons()
    panel.click("Negatives (1)")
    assert len(pictures(panel)) == 1
    assert "**Negatives of " in panel.text()


def test_a_reference_that_is_gone_says_so(panel, dataset):
    bank = ntt.load_memory_bank(dataset, "shapes")
    gone = Provenance("no_dataset", "0" * 24, "0" * 24)
    bank.add("lost", torch.rand(bank.fingerprint.channels), gone)
    ntt.save_memory_bank(dataset, "shapes", bank, overwrite=True)
    panel.event("choose_class", value="lost")
    assert pictures(panel) == []
    assert "A reference of lost: its image or label is gone" in panel.text()


def heat_map(panel):
    [plot] = [part for part in panel.parts() if part["view"]["name"] == "PlotlyView"]
    return plot["view"]


def test_the_heat_map_holds_the_similarities_of_classes(panel, dataset):
    classes, matrix = ntt.class_similarity(dataset, "shapes")
    [data] = heat_map(panel)["data"]
    assert data["x"] == data["y"] == classes
    assert np.allclose(data["z"], matrix, atol=1e-3)


def test_columns_of_the_map_have_the_numbers_of_the_rows(panel, dataset):
    classes, _ = ntt.class_similarity(dataset, "shapes")
    layout = heat_map(panel)["layout"]
    numbers = [str(number) for number in range(1, len(classes) + 1)]
    assert layout["xaxis"]["tickvals"] == layout["yaxis"]["tickvals"] == classes
    assert layout["xaxis"]["ticktext"] == numbers
    named = list(zip(classes, numbers, strict=True))
    assert layout["yaxis"]["ticktext"] == [f"{name} {number}" for name, number in named]


def test_of_many_columns_only_some_are_numbered():
    texts = charts._columns(40)
    assert [text for text in texts if text] == [str(number) for number in range(3, 41, 3)]
    assert len(texts) == 40 and texts[2] == "3"


def test_a_long_name_leaves_the_map_room():
    [row] = charts._rows(["<i>" + "x" * 100])
    assert row == f"&lt;i&gt;{'x' * 20}… 1"


def test_a_cell_shows_the_references_of_its_two_classes(panel, dataset):
    bank = ntt.load_memory_bank(dataset, "shapes")
    one, other = bank.classes[:2]
    panel.event(heat_map(panel)["on_click"].partition("#")[2], x=one, y=other, z=0.5)
    [asked] = panel.asked("set_view")
    view = fo.DatasetView._build(dataset, asked["view"])
    shown = [label for labels in view.values("ground_truth.detections.id") for label in labels]
    wanted = [entry.provenance.label for label in (one, other) for entry in bank.references(label)]
    assert sorted(shown) == sorted(wanted)


def test_a_run_of_many_images_on_a_cpu_is_announced_with_its_time(
    plugin, panel, dataset, monkeypatch
):
    assert "Segmenting all" not in panel.text()
    monkeypatch.setattr(loaded(plugin, "app.panel.banks"), "_LONG", 0.0)
    panel.click("Refresh")
    assert f"Segmenting all {len(dataset)} images takes" in panel.text()


def test_that_time_follows_what_is_kept_at_the_moment(plugin, panel, dataset, monkeypatch):
    page = loaded(plugin, "app.panel.banks")
    monkeypatch.setattr(page, "_LONG", 0.0)
    kept = loaded(plugin, "dataset.inspect.estimates")
    for share in (0.0, 1.0, 0.0):
        monkeypatch.setattr(page, "kept_share", lambda *_, s=share: kept.KeptShare(s, False))
        panel.click("Refresh")
        assert ("all of them are kept" in panel.text()) == bool(share)
