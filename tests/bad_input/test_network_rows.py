"""No network, no weights, networks from a stranger, and no memory for one."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ntt_plugin.dataset.banks import banks
from ntt_plugin.dataset.segmentation.segment import segment
from ntt_plugin.engine.networks import checkpoints, weights
from ntt_plugin.engine.proposals.cache import ProposalCache, image_digest
from ntt_plugin.engine.proposals.store import ProposalStore
from ntt_plugin.engine.recipe import Recipe
from tests.bad_input.expectations import refused, row
from tests.dataset import scenes

# The hub's client reads its settings when it is imported: hence a process of its own.
LOAD = """
from huggingface_hub import constants
from ntt_plugin.engine import Segmenter
from ntt_plugin.errors import CheckpointError
for constants.HF_HUB_OFFLINE in (False, True):
    try:
        Segmenter.from_preset("paper", device="cpu")
    except CheckpointError as error:
        print(error)
"""


@row("no-weights")
def test_weights_that_cannot_be_fetched_are_named_with_every_way_to_get_them(tmp_path):
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(tmp_path),
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "TORCH_HOME": str(tmp_path),
        "FIFTYONE_MODEL_ZOO_DIR": str(tmp_path),
    }
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", LOAD]
    done = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    without_network, offline = done.stdout.splitlines()
    for message in (without_network, offline):
        for word in ("facebook/dinov2-large", "not on this machine", "hf download", "'tiny'"):
            assert word in message
    assert "HF_HUB_OFFLINE" in offline


@row("no-weights")
def test_a_run_without_weights_changes_nothing(unchanged, tmp_path):
    missing = str(tmp_path / "gone.pt")
    with refused(missing, "There is no file or folder"):
        banks.build_memory_bank(unchanged, "ground_truth", "new", preset=recipe_of(missing))
    with refused(missing):
        segment(unchanged, "blocks", "before", overwrite=True, preset=recipe_of(missing))


def millions_of_layers(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 10_000_000}))


def deep_json(folder):
    (folder / "config.json").write_text("[" * 100_000)


def sparse_weights(folder):
    os.truncate(folder / "model.safetensors", 2**40)


def pipe(folder):
    (folder / "model.safetensors").unlink()
    os.mkfifo(folder / "model.safetensors")


@row("hostile-network")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (millions_of_layers, "num_hidden_layers is 10000000"),
        (deep_json, "nested too deeply"),
        (sparse_weights, "has 1,100 GB"),
        (pipe, "has no model.safetensors"),
    ],
)
def test_a_network_made_to_do_harm_is_refused_and_changes_nothing(
    unchanged, tmp_path, change, said
):
    folder = tmp_path / "network"
    shutil.copytree(checkpoints.BUNDLED / "encoder", folder)
    change(folder)
    recipe = Recipe.from_preset("tiny", encoder=str(folder))
    with refused(str(folder), said):
        banks.build_memory_bank(unchanged, "ground_truth", "new", preset=recipe)
    with refused(str(folder), said):
        segment(unchanged, "blocks", "before", overwrite=True, preset=recipe)


@row("no-memory")
def test_a_network_without_memory_for_it_is_refused_and_changes_nothing(unchanged, monkeypatch):
    def no_memory(path):
        raise MemoryError

    monkeypatch.setattr(weights, "load_file", no_memory)
    with refused("not enough memory", "smaller network"):
        banks.build_memory_bank(unchanged, "ground_truth", "new", preset=recipe_of(copied()))


@row("pipe-as-proposals")
@pytest.mark.parametrize("kind", ["pipe", "device", "64 GiB"])
def test_a_pipe_or_a_device_in_place_of_kept_proposals_is_replaced(
    dataset, segmenter, tmp_path, kind
):
    segmenter.upstream = "colours"
    store = ProposalStore(tmp_path / "kept", max_bytes=10**8)
    segment(dataset, "blocks", "first", segmenter=segmenter, cache=store)
    kept = sorted((tmp_path / "kept").glob("*/*.proposals"))
    assert len(kept) == len(dataset)
    if kind == "64 GiB":
        os.truncate(kept[0], 64 * 2**30)
    else:
        kept[0].unlink()
        os.mkfifo(kept[0]) if kind == "pipe" else kept[0].symlink_to("/dev/zero")

    report = segment(dataset, "blocks", "second", segmenter=segmenter, cache=store)
    assert (report.segmented, report.from_cache, report.failed) == (6, 5, [])
    assert any("1 kept proposals could not be used" in str(note) for note in report.notes)
    assert kept[0].is_file() and not kept[0].is_symlink()
    for sample in dataset.reload() or dataset:
        assert len(sample.second.detections) == len(sample.first.detections) > 0


@row("forged-proposals")
def test_forged_proposals_with_a_valid_checksum_are_computed_again(dataset, segmenter, tmp_path):
    segmenter.upstream = "colours"
    store = ProposalStore(tmp_path / "kept", max_bytes=10**8)
    segment(dataset, "blocks", "first", segmenter=segmenter, cache=store)
    cache = ProposalCache(store, segmenter.upstream, segmenter.fingerprint)
    for sample, size in zip(dataset, [(8, 8), scenes.SIZE], strict=False):
        digest = image_digest(sample.filepath)
        proposals = cache.load(digest)
        masks = [replace(mask, box=(0, 0, 8, 8), area=1) for mask in proposals.masks]
        assert cache.save(digest, replace(proposals, masks=masks, image_size=size))

    report = segment(dataset, "blocks", "second", segmenter=segmenter, cache=store)
    assert (report.segmented, report.from_cache, report.failed) == (6, 4, [])
    assert any("2 kept proposals could not be used" in str(note) for note in report.notes)
    for sample in dataset.reload() or dataset:
        assert len(sample.second.detections) == len(sample.first.detections) > 0


def copied():
    """A path to the bundled networks that no other test has loaded."""
    return str(checkpoints.BUNDLED / "encoder" / ".." / "encoder")


def recipe_of(path):
    return Recipe.from_preset("tiny", encoder=path, segmenter=path)
