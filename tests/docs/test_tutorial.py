"""The tutorial does what it says: its scripts run, in its order, and give its figures."""

import re
from pathlib import Path

import fiftyone as fo
import pytest

import ntt_plugin as ntt
from tests.docs.pages import FENCED, ROOT
from tests.processes import run_script

TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text()


def test_its_commands_and_scripts_give_what_it_tells(tmp_path: Path) -> None:
    [command] = re.findall(r"^    python (.+)$", TUTORIAL, re.MULTILINE)
    run_script(tmp_path, *command.split())
    blocks = [code for language, code in FENCED.findall(TUTORIAL) if language == "python"]
    script = tmp_path / "tutorial.py"
    script.write_text("\n".join(blocks))
    try:
        run_script(tmp_path, str(script))
        dataset = fo.load_dataset("tutorial")
        told = re.search(r"Segm AP (\S+), AP50 (\S+):", TUTORIAL)
        again = re.search(r"segm AP goes from \S+ to (\S+)\. ", TUTORIAL)
        masks = re.search(r"All (\d+) masks are learnt", TUTORIAL)
        assert told and again and masks
        first = ntt.coco_figures(dataset, "ntt_eval").segm
        assert first["AP"] == pytest.approx(float(told[1]), abs=0.01)
        assert first["AP50"] == pytest.approx(float(told[2]), abs=0.01)
        after = ntt.coco_figures(dataset, "others_eval").segm
        assert after["AP"] == pytest.approx(float(again[1]), abs=0.01)
        assert dataset.count("boxes_masks.detections") == int(masks[1])
    finally:
        if fo.dataset_exists("tutorial"):
            fo.delete_dataset("tutorial")
