"""A form takes the dataset that FiftyOne loaded for it; loading one costs more than all the rest."""

import fiftyone.core.dataset as fod
import pytest

FORMS = {
    "segment_with_memory_bank": {"bank": "shapes", "label_field": "again"},
    "suggest_references": {"bank": "shapes"},
    "masks_from_boxes": {"label_field": "boxes", "new_field": "cut", "preset": "tiny"},
    "build_memory_bank": {"label_field": "ground_truth", "name": "second", "preset": "tiny"},
}


@pytest.mark.parametrize("operator", FORMS)
def test_a_form_loads_its_dataset_once(operator, plugin, worked_on, monkeypatch):
    loads = []
    load = fod._load_dataset

    def counted(dataset, name, *arguments, **options):
        loads.append(name)
        return load(dataset, name, *arguments, **options)

    monkeypatch.setattr(fod, "_load_dataset", counted)
    # A prompt of its own: nothing was asked for it before.
    form = plugin.form(worked_on, operator, params=FORMS[operator], prompt_id=f"once {operator}")
    assert not form.errors
    assert loads == [worked_on.name]


def test_a_bank_of_another_dataset_is_read_there(plugin, dataset, bare):
    params = {"bank_dataset": dataset.name, "bank": "shapes"}
    form = plugin.form(bare, "segment_with_memory_bank", params=params, prompt_id="elsewhere")
    assert "shapes: " in form.fields["bank"].view.description
