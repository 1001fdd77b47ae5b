"""Arguments of another kind, for every public function: a sentence of ours, and nothing is done."""

import inspect

import fiftyone as fo
import numpy as np
import pytest

import ntt_plugin as ntt
from ntt_plugin.errors import DatasetError
from tests.dataset import scenes

FILLED = {
    "label_field": "ground_truth",
    "other_field": "other",
    "gt_field": "ground_truth",
    "new_field": "masks",
    "bank": "blocks",
    "name": "blocks",
    "names": ["blocks", "other"],
    "new_name": "other",
    "eval_key": "check",
    "references": ["one"],
    "into": "accepted",
    "kind": "references",
    "label": "red",
    "confidence": 0.5,
    "recipes": ["own"],
}
FUNCTIONS = {
    name: inspect.signature(getattr(ntt, name)).parameters
    for name in ntt.__all__
    if inspect.isfunction(getattr(ntt, name))
}


def taking(*parameters):
    return sorted(name for name, taken in FUNCTIONS.items() if {*parameters} & set(taken))


def call(function, segmenter, path, **given):
    """A public function with values that could be, but for those given."""
    taken = FUNCTIONS[function]
    filled = {name: value for name, value in FILLED.items() if name in taken}
    filled |= {"segmenter": segmenter} if "segmenter" in taken else {}
    filled |= {"path": path} if "path" in taken else {}
    if function in ("build_memory_bank", "import_memory_bank", "save_memory_bank"):
        filled["name"] = "new"
    if function == "save_memory_bank":
        filled["bank"] = ntt.load_memory_bank(fo.load_dataset(given["of"]), "blocks")
    if function in ("apply_thresholds", "save_thresholds"):
        filled["thresholds"] = {"red": 0.5}
        filled.pop("eval_key", None)
    if function in ("export_coco", "export_yolo_seg"):
        filled |= {"field": "ground_truth", "path": path.with_suffix(".json")}
    if function == "change_recipe":
        filled["preset"] = "tiny"
    if function == "compare_segmentations":
        filled.pop("gt_field")
    given.pop("of")
    return getattr(ntt, function)(**{**filled, **given})


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    made = scenes.make_dataset("wrong_arguments", tmp_path_factory.mktemp("images"), count=3)
    ntt.build_memory_bank(made, "ground_truth", "blocks", segmenter=scenes.ColourSegmenter())
    made.set_values("ground_truth.detections.confidence", [[0.5] * 3] * 3)
    made.clone_sample_field("ground_truth", "other")
    yield made
    made.delete()


WRONG = {
    "name": (lambda dataset: dataset.name, "fo.load_dataset('wrong_arguments')"),
    "unknown name": (lambda dataset: "no 'such'", "fo.load_dataset(\"no 'such'\")"),
    "list of samples": (lambda dataset: list(dataset), "not a list;"),
    "sample": (lambda dataset: dataset.first(), "not a Sample;"),
    "None": (lambda dataset: None, "not None;"),
}


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("function", taking("samples", "dataset"))
def test_what_is_no_dataset_is_refused_with_how_to_open_one(function, kind, dataset, tmp_path):
    value, words = WRONG[kind][0](dataset), WRONG[kind][1]
    place = "samples" if "samples" in FUNCTIONS[function] else "dataset"
    before = dataset.get_field_schema(), ntt.list_memory_banks(dataset)
    with pytest.raises(DatasetError, match=r"fo\.load_dataset") as caught:
        call(
            function, scenes.ColourSegmenter(), tmp_path / "bank", of=dataset.name, **{place: value}
        )
    assert words in str(caught.value)
    assert (dataset.get_field_schema(), ntt.list_memory_banks(dataset)) == before


NAMES = {
    "number": (5, "5 in {} is no text"),
    "nested list": ([["a"]], r"\['a'\] in {} is no text"),
    "list with a number": (["red", 5], "5 in {} is no text"),
    "bytes": (b"red", "b'red' in {} is no text"),
    "array": (np.array([1, 2]), "1.* in {} is no text"),
}


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize(
    ("function", "parameter"),
    [
        (function, parameter)
        for parameter in ("classes", "group_slices", "names", "references")
        for function in taking(parameter)
    ],
)
def test_names_that_are_no_texts_are_refused(function, parameter, kind, dataset, tmp_path):
    value, match = NAMES[kind]
    place = "samples" if "samples" in FUNCTIONS[function] else "dataset"
    given = {place: dataset, parameter: value}
    with pytest.raises(DatasetError, match=match.format(parameter)):
        call(function, scenes.ColourSegmenter(), tmp_path / "bank", of=dataset.name, **given)


def test_another_banks_dataset_that_is_none_is_refused(dataset):
    for function in (ntt.segment, ntt.suggest_references):
        with pytest.raises(DatasetError, match="not a list;"):
            function(dataset, "blocks", bank_dataset=[dataset], segmenter=scenes.ColourSegmenter())
