"""Arguments of another kind, for every public function: a sentence of ours, and nothing is done."""

import inspect
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest

import ntt_plugin as ntt
from ntt_plugin.dataset.segmentation import segment as segmenting
from ntt_plugin.errors import DatasetError, NttError
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
    "protocol": "paper",
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


# Where None leaves the argument out it is no wrong kind.
OPTIONAL = {
    "mask_dir",
    "sample_tag",
    *((name, "bank") for name in ("add_negatives", "add_references", "apply_thresholds")),
    ("compare_segmentations", "gt_field"),
    ("compare_recipes", "gt_field"),
    ("import_memory_bank", "name"),
    ("save_thresholds", "eval_key"),
    ("segment", "tile"),
    ("try_bank", "seed"),
}
TEXTS = (
    "label_field",
    "field",
    "gt_field",
    "new_field",
    "other_field",
    "into",
    "bank",
    "name",
    "new_name",
    "eval_key",
    "kind",
    "protocol",
    "mask_dir",
    "sample_tag",
)
KINDS = {
    "None": None,
    "number": 5,
    "list": ["a"],
    "mapping": {"a": 1},
    "bytes": b"a",
    "empty": "",
}


def refused(function, parameter, value, dataset, path, segmenter=None):
    """Call a function with a wrong value; nothing of the dataset may change."""
    before = dataset.get_field_schema(), ntt.list_memory_banks(dataset), sorted(Path().iterdir())
    place = "samples" if "samples" in FUNCTIONS[function] else "dataset"
    with pytest.raises(NttError) as caught:
        given = {place: dataset, parameter: value}
        call(function, segmenter, path / "bank", of=dataset.name, **given)
    after = dataset.get_field_schema(), ntt.list_memory_banks(dataset), sorted(Path().iterdir())
    assert after == before
    return str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("function", "parameter"),
    [(function, parameter) for parameter in TEXTS for function in taking(parameter)],
)
def test_what_is_no_text_is_refused(function, parameter, kind, dataset, tmp_path):
    if kind == "None" and not OPTIONAL.isdisjoint({parameter, (function, parameter)}):
        return
    words = refused(function, parameter, KINDS[kind], dataset, tmp_path, scenes.ColourSegmenter())
    assert words.endswith(".")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("function", ["build_memory_bank", "change_recipe", "propose"])
def test_what_is_no_recipe_is_refused(function, kind, dataset, tmp_path):
    words = refused(function, "preset", KINDS[kind], dataset, tmp_path)
    assert "paper, balanced" in words


@pytest.mark.parametrize("value", ["some/folder", Path("folder"), None, 1, ["a"]])
@pytest.mark.parametrize("function", taking("cache"))
def test_a_cache_that_is_none_is_refused_with_how_to_name_a_folder(
    function, value, dataset, tmp_path
):
    words = refused(function, "cache", value, dataset, tmp_path, scenes.ColourSegmenter())
    assert "ntt.ProposalStore(folder)" in words


NO_NUMBERS = {
    "text": "5",
    "list": ["a"],
    "mapping": {"a": 1},
    "nan": float("nan"),
    "yes": True,
    "array": np.array([1, 2]),
}


@pytest.mark.parametrize("kind", NO_NUMBERS)
@pytest.mark.parametrize(
    ("function", "parameter"),
    [
        ("approve_above", "confidence"),
        ("export_coco", "clean"),
        ("sample_references", "shots"),
        ("sample_references", "seed"),
        ("save_thresholds", "thresholds"),
        ("score_histogram", "bins"),
        ("segment", "min_confidence"),
        ("segment", "tile"),
        ("segment", "workers"),
        ("suggest_references", "count"),
        ("teach_review", "most"),
        ("try_bank", "count"),
        ("try_bank", "seed"),
    ],
)
def test_what_is_no_number_is_refused(function, parameter, kind, dataset, tmp_path):
    segmenter = None if parameter in ("tile", "workers") else scenes.ColourSegmenter()
    refused(function, parameter, NO_NUMBERS[kind], dataset, tmp_path, segmenter)


def test_numbers_of_numpy_are_numbers(dataset, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(segmenting, "get_segmenter", lambda recipe, *_: fitting(made, recipe))
    given = {"proposals": ["grid", "other"], "cache": False}
    numpys = {"tile": np.int64(64), "min_confidence": np.float32(0.25)}
    ntt.segment(dataset, "blocks", "one", **numpys, **given)
    # It is a recipe with Python's numbers, so a run with those goes on.
    report = ntt.segment(dataset, "blocks", "one", tile=64, min_confidence=0.25, **given)
    assert (report.segmented, report.skipped) == (0, 3)
    assert {type(recipe.tile) for recipe in made} == {int}
    ntt.save_thresholds(dataset, "blocks", thresholds={"red": np.float32(0.5)})
    assert ntt.load_memory_bank(dataset, "blocks").thresholds == {"red": 0.5}
    assert ntt.try_bank(
        dataset, "blocks", 1, np.int64(3), segmenter=scenes.ColourSegmenter(), cache=False
    ).images
    assert type(ntt.Ray(workers=np.int64(2), gpus_each=np.float32(0.5)).workers) is int


def fitting(made, recipe):
    made.append(recipe)
    segmenter = scenes.ColourSegmenter()
    segmenter.recipe = recipe
    return segmenter


def test_another_banks_dataset_that_is_none_is_refused(dataset):
    for function in (ntt.segment, ntt.suggest_references):
        with pytest.raises(DatasetError, match="not a list;"):
            function(dataset, "blocks", bank_dataset=[dataset], segmenter=scenes.ColourSegmenter())
