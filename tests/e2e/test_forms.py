"""Every operator's form, opened from the operator browser: its fields, no fault, on one screen."""

import re
from typing import NamedTuple

import fiftyone as fo
import pytest
from playwright.sync_api import expect

import ntt_plugin as ntt
from ntt_plugin.app.operators import OPERATORS
from tests.e2e.datasets import add_boxes
from tests.e2e.server import PATIENCE


class Shown(NamedTuple):
    """What a form shows that nobody has touched.

    Attributes:
        fields: labels of its fields, in their order.
        wants: what it asks for before it can be run; empty where it can be run as it is.
    """

    fields: tuple[str, ...]
    wants: str = ""


REQUIRED = "Required property"
TICK = "Tick to go on"
ADVANCED = "Advanced settings"
BANK = "Memory bank"
FORMS = {
    "sample_references": Shown(("Labels", "References a class", "Classes", "Tag", ADVANCED)),
    "add_references": Shown(("Labels", BANK, "Tag", ADVANCED)),
    "masks_from_boxes": Shown(("Boxes", "Write to", "Classes", "Preset", ADVANCED)),
    "build_memory_bank": Shown(("Labels", "Name", "Preset", ADVANCED)),
    "update_memory_bank": Shown((BANK, "Labels", "Classes", ADVANCED)),
    "undo_memory_bank": Shown((BANK,), "No former state"),
    "segment_with_memory_bank": Shown((BANK, "Write to", ADVANCED)),
    "evaluate_segmentation": Shown(
        ("Predictions", "Ground truth", "Evaluation's name", "Score masks", ADVANCED)
    ),
    "estimate_thresholds": Shown((BANK, ADVANCED)),
    "save_thresholds": Shown(("Evaluation", BANK)),
    "apply_thresholds": Shown(("Predictions", BANK, "What to do", "Label tag")),
    "compare_segmentations": Shown(("First", "Second", "Ground truth", ADVANCED)),
    "compare_recipes": Shown((BANK, "Ground truth", "Settings", ADVANCED)),
    "change_recipe": Shown((BANK, "Settings", ADVANCED), REQUIRED),
    "teach_review": Shown(("Reviewed labels", BANK, "What to teach", ADVANCED), "is rejected here"),
    "accept_labels": Shown(("Labels", "Write to", ADVANCED)),
    "export_labels": Shown(("Labels", "Format", "Path", ADVANCED)),
    "suggest_references": Shown((BANK, "Suggestions", "Write to", ADVANCED)),
    "promote_references": Shown(("Labels", BANK, "Tag", ADVANCED)),
    "add_negatives": Shown(("Labels", BANK, "Tag", ADVANCED)),
    "remove_references": Shown((BANK, "References", "Classes"), "Choose references or classes."),
    "load_references_view": Shown((BANK,)),
    "check_references": Shown((BANK, ADVANCED)),
    "get_memory_bank_info": Shown((BANK,)),
    "rename_memory_bank": Shown((BANK, "New name"), REQUIRED),
    "duplicate_memory_bank": Shown((BANK, "New name"), REQUIRED),
    "merge_memory_banks": Shown(("Memory banks", "New name"), REQUIRED),
    "delete_memory_bank": Shown((BANK, "Delete it for good"), TICK),
    "export_memory_bank": Shown((BANK, "File or folder"), REQUIRED),
    "import_memory_bank": Shown(("File",), REQUIRED),
    "compute_proposals": Shown(("Preset", ADVANCED)),
    "get_proposals_info": Shown(()),
    "clear_proposals": Shown(("Remove them from this machine",), TICK),
    "download_networks": Shown(("Preset",)),
}


@pytest.fixture(scope="module")
def dataset(clone) -> fo.Dataset:
    """Two banks with thresholds, predictions, a score of another name, boxes."""
    dataset = clone()
    pool, targets = dataset.match_tags("pool"), dataset.match_tags("target")
    ntt.build_memory_bank(pool, "ground_truth", "shapes", preset="tiny")
    ntt.segment(targets, "shapes", "ntt")
    ntt.evaluate(targets, "ntt", "ground_truth", "scored")
    ntt.save_thresholds(dataset, "shapes", "scored")
    ntt.duplicate_memory_bank(dataset, "shapes", "more")
    add_boxes(dataset)
    return dataset


def test_no_operator_is_forgotten():
    assert list(FORMS) == [operator.operator_name for operator in OPERATORS]


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.operator_name)
def test_a_form_opens_without_a_fault_and_on_one_screen(operator, tab):
    shown = FORMS[operator.operator_name]
    form = tab.operator(operator.title)
    button = form.window.get_by_role("button", name=re.compile(f"^({operator.submit}|Schedule)$"))
    if shown.wants:
        form.wait_for(shown.wants)
        expect(button).to_be_disabled(timeout=1000 * PATIENCE)
    else:
        expect(button).to_be_enabled(timeout=1000 * PATIENCE)
        assert not form.window.get_by_text(REQUIRED).count()
    tab.shoot(f"form_{operator.operator_name}")
    assert [label for label in form.labels() if label in shown.fields] == list(shown.fields)
    assert not form.errors()
    assert form.fits()
    form.cancel()
