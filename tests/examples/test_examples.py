"""Each example runs as it stands, and what it prints is true."""

import re
from pathlib import Path

import fiftyone as fo
import pytest

import ntt_plugin as ntt
from tests.examples.conftest import ROOT, Example


def test_the_quickstart_prints_the_ap_that_is_kept_with_the_evaluation(example: Example) -> None:
    printed = example("quickstart.py", "--pool", 5, "--images", 2, "--shots", 1)
    figures = ntt.coco_figures(fo.load_dataset("ntt-quickstart"), "ntt_eval")
    assert f"segm AP {figures.segm['AP']:.3f}, AP50 {figures.segm['AP50']:.3f}" in printed
    assert figures.segm["AP"] > 0.3


def test_a_bank_labels_another_dataset_by_name_and_by_file_alike(
    example: Example, tmp_path: Path
) -> None:
    printed = example("label_with_another_datasets_bank.py", "--pool", 5, "--images", 2)
    new = fo.load_dataset("ntt-new")
    assert not new.has_field("ground_truth")
    assert new.distinct("ntt.detections.reference_dataset") == ["ntt-labelled"]
    path = "detections.confidence"
    assert new.values(f"ntt.{path}") == new.values(f"ntt_from_file.{path}")
    counts = new.count_values("ntt.detections.label")
    lines = re.findall(r"^ +(\d+)  (.+)$", printed, re.MULTILINE)
    assert {label: int(count) for count, label in lines} == counts
    bank = ntt.load_memory_bank(fo.load_dataset("ntt-labelled"), "shapes")
    assert (tmp_path / "shapes.safetensors").is_file()
    assert set(counts) <= set(bank.classes)


def test_corrections_are_learnt_and_both_scores_are_printed(example: Example) -> None:
    printed = example("correct_with_negatives.py", "--pool", 5, "--images", 4)
    dataset = fo.load_dataset("ntt-negatives")
    before, after = (ntt.coco_figures(dataset, name).segm["AP"] for name in ("before", "after"))
    assert f"{before:.4f} before, {after:.4f} after" in printed
    info = ntt.get_memory_bank_info(dataset, "shapes")
    tags = dataset.count_values("ntt_references.detections.tags")
    assert sum(info.negatives.values()) == tags["negative"] > 0
    report = ntt.load_segment_report(dataset, "ntt")
    assert (report.from_cache, report.bank_version) == (4, info.version)


def test_candidates_are_named_by_the_bank(example: Example) -> None:
    printed = example("proposals_from_labels.py", "--pool", 5, "--images", 2)
    dataset = fo.load_dataset("ntt-candidates")
    for name in ("grid", "candidates", "both"):
        ap = ntt.coco_figures(dataset, name).segm["AP"]
        assert (
            f"{name}: {dataset.count(f'by_{name}.detections')} labels, segm AP {ap:.4f}" in printed
        )
    ids = set(dataset.values("candidates.detections.id", unwind=True))
    assert set(dataset.distinct("by_candidates.detections.candidate")) <= ids


def test_coco_few_shot_prints_the_ap_that_evaluate_finds(example: Example, tmp_path: Path) -> None:
    printed = example("coco_few_shot.py", "--scenes", 12, 2, "--shots", 2)
    dataset = fo.load_dataset("ntt-coco-scenes")
    dataset.merge_dir(
        dataset_type=fo.types.COCODetectionDataset,
        data_path=str(tmp_path / "val"),
        labels_path=str(tmp_path / "val.json"),
        label_types="segmentations",
        label_field="truth",
    )
    ntt.evaluate(dataset, "ntt_tiny_2_33", "truth", eval_key="check", progress=False)
    figures = ntt.coco_figures(dataset, "check")
    for kind in ("bbox", "segm"):
        said = re.search(rf"^{kind} AP (\S+), 2 shots, seed 33$", printed, re.MULTILINE)
        assert said is not None
        assert float(said[1]) == pytest.approx(getattr(figures, kind)["AP"], abs=6e-5)


def test_every_example_is_run_here_and_named_in_the_examples_readme() -> None:
    examples = {path.name for path in (ROOT / "examples").glob("*.py")}
    tests = Path(__file__).read_text()
    readme = (ROOT / "examples" / "README.md").read_text()
    for name in examples:
        assert f'"{name}"' in tests
        assert f"]({name})" in readme
