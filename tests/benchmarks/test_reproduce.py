"""The command: what it prints, writes, refuses, and how it goes on."""

import json
import os
import re
import subprocess

import fiftyone as fo
import pytest

import ntt_plugin as ntt
from benchmarks.published import cdfsod, reproduce
from benchmarks.published.cdfsod import TABLE
from benchmarks.published.reproduce import main, run_task
from ntt_plugin.errors import CheckpointError
from tests.benchmarks.imitations import BlockEngine, make_cdfsod
from tests.processes import ROOT


def command(folder, *more):
    return ["--table", "cdfsod", "--shots", "1", "--preset", "tiny", "--data", str(folder), *more]


@pytest.fixture
def blocks(monkeypatch):
    """The command with the engine that finds coloured blocks; its datasets go afterwards."""
    before = set(fo.list_datasets())

    def run(*arguments):
        return run_task(*arguments, segmenter=BlockEngine(), cache=False)

    monkeypatch.setattr(reproduce, "run_task", run)
    yield
    for name in set(fo.list_datasets()) - before:
        fo.delete_dataset(name)


def test_the_table_and_the_file_hold_the_same_figures(blocks, tmp_path, capsys):
    make_cdfsod(tmp_path)
    output = tmp_path / "out" / "table.json"
    assert main(command(tmp_path, "--output", str(output))) == 0
    said = capsys.readouterr()
    assert re.search(r"^\| DeepFish AP \| 60.0 \| not given here \|", said.out, re.MULTILINE)
    assert re.search(r"^\| UODD AP \| 66.7 \|", said.out, re.MULTILINE)
    written = json.loads(output.read_text())
    assert written["ours"] == {"DeepFish AP": pytest.approx(0.6), "UODD AP": pytest.approx(2 / 3)}
    assert written["parts"]["UODD"]["references"] == [1, 2, 3]
    assert (written["seed"], written["recipe"]["name"]) == (33, "tiny")


def test_a_dataset_that_is_not_there_is_left_out_and_said(blocks, tmp_path, capsys):
    make_cdfsod(tmp_path)
    output = tmp_path / "table.json"
    main(command(tmp_path, "--output", str(output)))
    assert f"Left out: There is no file {tmp_path}/ArTaxOr" in capsys.readouterr().err
    assert len(json.loads(output.read_text())["left_out"]) == 4


def test_a_wrong_folder_is_one_sentence_and_no_traceback(tmp_path, capsys):
    assert main(command(tmp_path, "--part", "UODD")) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"Stopped: There is no file {tmp_path}/UODD/annotations/test.json;")
    assert said.endswith("README.md says where the data come from, and --data names their folder.")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--table", "coco", "--shots", "4"], "published for 1, 2, 3, 5, 10, 30 shots"),
        (["--table", "voc", "--shots", "1", "--part", "split4"], "has no part 'split4'; it has"),
        (["--table", "voc", "--shots", "1", "--images-per-second", "0"], "must be above 0"),
    ],
)
def test_what_no_table_has_is_refused(arguments, said, capsys):
    with pytest.raises(SystemExit):
        main(arguments)
    assert said in capsys.readouterr().err


def test_networks_that_cannot_be_had_stop_it_before_any_data_are_fetched(
    tmp_path, capsys, monkeypatch
):
    def fail(recipe):
        raise CheckpointError("The hub cannot be reached.")

    fetched = []
    monkeypatch.setattr(ntt, "download_networks", fail)
    monkeypatch.setattr(reproduce, "bring_data", lambda *arguments: fetched.append(arguments))
    assert main(command(tmp_path)) == 1
    assert capsys.readouterr().err == "Stopped: The hub cannot be reached.\n"
    assert fetched == []


def test_a_preset_that_is_not_there_is_one_sentence(tmp_path, capsys):
    make_cdfsod(tmp_path)
    assert main(command(tmp_path, "--preset", "papre", "--dry-run")) == 1
    assert capsys.readouterr().err.startswith("Stopped: There is no preset 'papre'")


def test_a_second_run_goes_on_with_the_same_bank(tmp_path, run):
    make_cdfsod(tmp_path)
    task = cdfsod.load(tmp_path, "UODD", 1)
    first = run(TABLE, task, 1)
    engine = BlockEngine()
    engine.reference_feature = None  # nothing is learnt again
    second = run(TABLE, task, 1, engine)
    assert engine.proposed == 0
    assert second.figures == first.figures


def test_other_references_make_another_bank(tmp_path, run):
    make_cdfsod(tmp_path)
    task = cdfsod.load(tmp_path, "UODD", 1)
    run(TABLE, task, 1)
    task.train["annotations"].pop()
    outcome = run(TABLE, task, 1)
    assert outcome.references == [1, 2]
    [name] = [n for n in fo.list_datasets() if "ntt_tiny_UODD_1_33" in names_of_banks(n)]
    assert ntt.load_memory_bank(fo.load_dataset(name), "ntt_tiny_UODD_1_33").classes == [
        "seacucumber",
        "seaurchin",
    ]


def test_another_recipe_makes_another_bank(tmp_path, run):
    make_cdfsod(tmp_path)
    task = cdfsod.load(tmp_path, "UODD", 1)
    run(TABLE, task, 1)
    engine = BlockEngine(max_instances=1)
    assert run(TABLE, task, 1, engine).figures == {"UODD AP": pytest.approx(1 / 3)}
    [name] = [n for n in fo.list_datasets() if "ntt_tiny_UODD_1_33" in names_of_banks(n)]
    bank = ntt.load_memory_bank(fo.load_dataset(name), "ntt_tiny_UODD_1_33")
    assert bank.recipe.max_instances == 1


def names_of_banks(name):
    return ntt.list_memory_banks(fo.load_dataset(name))


def test_images_that_fail_are_noted_and_count_as_empty(tmp_path, run):
    make_cdfsod(tmp_path)
    (tmp_path / "FISH/test/b.jpg").write_bytes(b"no image")
    outcome = run(TABLE, cdfsod.load(tmp_path, "DeepFish", 1), 1)
    assert outcome.figures == {"DeepFish AP": 0}
    assert outcome.notes == ["1 images could not be segmented, and count as empty"]


def made(*more):
    """What ``make reproduce`` would start: ``echo`` in place of Python says it."""
    command = ["make", "reproduce", "TABLE=lvis", "SHOTS=10", "VENV_PYTHON=echo", "PYTHON=true"]
    # ``make test`` may run this: its flags and its depth are not to be seen.
    environment = {**os.environ, "MAKEFLAGS": "", "MAKELEVEL": "0"}
    done = subprocess.run([*command, *more], cwd=ROOT, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().splitlines()[-1]


def test_make_passes_table_shots_and_its_own_dry_run_on():
    started = "-m benchmarks.published.reproduce --table lvis --shots 10"
    assert made() == started
    assert made("ARGS=--part x") == f"{started} --part x"
    assert made("--dry-run") == f"{started} --dry-run"
    assert made("--no-print-directory") == started


def test_runs_of_other_seeds_and_presets_write_other_files():
    def output(*more):
        arguments = ["--table", "voc", "--shots", "5", *more]
        return reproduce.parse_options(arguments).output.name

    assert output() == "published_voc_5_paper_seed33.json"
    assert output("--seed", "42", "--preset", "fast") == "published_voc_5_fast_seed42.json"


@pytest.mark.parametrize("name", reproduce.TABLES)
def test_every_table_has_a_plan_and_nothing_is_done_for_it(name, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(reproduce, "bring_data", None)
    table = reproduce.TABLES[name]
    arguments = ["--table", name, "--shots", "1", "--data", str(tmp_path), "--dry-run"]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{table.title}, 1 references a class, seed 33\n")
    for what in ("images", "references", "data", "networks", "time"):
        assert f"\n  {what} " in said
    assert list(tmp_path.iterdir()) == []
