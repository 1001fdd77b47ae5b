"""No network and no weights."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ntt_plugin.dataset import banks
from ntt_plugin.dataset.segmentation import segment
from ntt_plugin.engine.config import Recipe
from tests.bad_input.expectations import refused, row

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


def recipe_of(path):
    return Recipe.from_preset("tiny", encoder=path, segmenter=path)
