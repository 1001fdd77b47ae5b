import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import ntt_plugin as ntt
from ntt_plugin import engine


@pytest.mark.parametrize("name", ntt.__all__)
def test_every_public_name_is_there(name):
    assert getattr(ntt, name).__name__ == name


@pytest.mark.parametrize("name", engine.__all__)
def test_every_name_of_the_engine_is_there(name):
    assert getattr(engine, name) is not None and name in dir(engine)


def test_the_names_typed_for_editors_are_the_engines_public_names():
    tree = ast.parse(Path(engine.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    at_once = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.level]
    typed = {alias.name for node in (*block.body, *at_once) for alias in node.names}
    assert typed == set(engine.__all__)


def test_every_name_of_the_stub_is_exported_to_editors():
    tree = ast.parse(Path(ntt.__file__).with_suffix(".pyi").read_text())
    typed = [
        alias for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    ]
    assert [alias.name for alias in typed if alias.asname != alias.name] == []
    assert sorted(alias.name for alias in typed) == ntt.__all__


@pytest.mark.parametrize("package", [ntt, engine])
def test_an_unknown_name_is_an_attribute_error(package):
    with pytest.raises(AttributeError, match="attribute nope"):
        _ = package.nope


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, ntt_plugin; "
        "assert not {'torch', 'fiftyone', 'transformers', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(ntt.__file__).parents[1])


@pytest.mark.parametrize(
    ("name", "fixed"),
    [
        (
            "sample_references",
            "samples, label_field, shots=10, classes=None, seed=51, tag='reference'",
        ),
        (
            "build_memory_bank",
            "samples, label_field, name, tag=None, classes=None, preset='paper', device=None, "
            "progress=None",
        ),
        (
            "segment",
            "samples, bank, label_field='ntt', device=None, batch_size=None, overwrite=False, "
            "progress=None",
        ),
        ("evaluate", "samples, label_field, gt_field, eval_key, masks=True"),
        (
            "masks_from_boxes",
            "samples, label_field, new_field, preset='paper', device=None, batch_size=None, "
            "overwrite=False, progress=None",
        ),
        ("propose", "samples, preset='paper', device=None, batch_size=None, progress=None"),
        ("add_references", "samples, label_field, bank=None, tag='reference'"),
        ("add_negatives", "samples, label_field, bank, tag='negative'"),
        (
            "update_memory_bank",
            "samples, label_field, name, tag=None, classes=None, device=None, progress=None",
        ),
        ("remove_references", "dataset, name, references=(), classes=()"),
        ("duplicate_memory_bank", "dataset, name, new_name"),
        ("merge_memory_banks", "dataset, names, new_name"),
        ("get_proposals_info", ""),
        ("clear_proposals", ""),
        ("export_memory_bank", "dataset, name, path"),
        ("import_memory_bank", "dataset, path, name=None"),
        ("rename_memory_bank", "dataset, name, new_name"),
        ("delete_memory_bank", "dataset, name"),
        ("list_memory_banks", "dataset"),
        ("load_memory_bank", "dataset, name"),
        ("get_memory_bank_info", "dataset, name"),
        ("load_references_view", "dataset, name"),
        ("load_segment_report", "dataset, label_field"),
        ("best_thresholds", "dataset, eval_key"),
        ("save_thresholds", "dataset, bank, eval_key=None, thresholds=None"),
        (
            "apply_thresholds",
            "samples, label_field, bank=None, thresholds=None, action='tag', tag='below_threshold'",
        ),
        ("compare_segmentations", "samples, label_field, other_field, gt_field=None"),
        ("list_runs", "dataset"),
        ("score_histogram", "dataset, label_field, bins=20"),
    ],
)
def test_the_signatures_are_those_that_were_agreed(name, fixed):
    """What is there beyond them is keyword-only."""
    signature = inspect.signature(getattr(ntt, name))
    written = [
        parameter.name + ("" if parameter.default is parameter.empty else f"={parameter.default!r}")
        for parameter in signature.parameters.values()
        if parameter.kind is not parameter.KEYWORD_ONLY
    ]
    assert ", ".join(written) == fixed


@pytest.mark.parametrize(
    ("name", "keywords"),
    [
        ("sample_references", {"protocol", "group_slices"}),
        ("build_memory_bank", {"sample_tag", "group_slices", "overwrite", "segmenter"}),
        ("segment", {"bank_dataset", "preset", "group_slices", "mask_dir", "segmenter", "cache"}),
        ("masks_from_boxes", {"tag", "classes", "group_slices", "mask_dir", "segmenter"}),
        ("evaluate", {"classes", "group_slices", "progress"}),
        ("propose", {"group_slices", "segmenter", "cache"}),
        ("export_memory_bank", {"overwrite"}),
        ("import_memory_bank", {"overwrite"}),
        ("add_references", {"classes", "group_slices", "device", "progress", "segmenter"}),
        ("add_negatives", {"classes", "group_slices", "device", "progress", "segmenter"}),
        ("update_memory_bank", {"negatives", "sample_tag", "group_slices", "segmenter"}),
        ("merge_memory_banks", {"overwrite"}),
    ],
)
def test_the_keywords_that_were_agreed_are_there(name, keywords):
    parameters = inspect.signature(getattr(ntt, name)).parameters.values()
    assert {p.name for p in parameters if p.kind is p.KEYWORD_ONLY} >= keywords
