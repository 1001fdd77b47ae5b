"""Clicks, keys and seconds from "dataset open" to "labels written", in the App, the first time.

    python benchmarks/first_time.py

A person who has a few labelled images among others picks two of them in the grid, adds their
labels as references with the button above it, and goes on with the buttons of the pages at the
end: builds a memory bank, segments every image. The page itself counts: every click, every key
pressed, every field typed into. Seconds are wall time
with the preset ``tiny``, the server's loading of the plugin and of the networks among them, and
none of a person's thinking: a hand that moves at once.

Needs Chromium. Uses a MongoDB and a server of its own, which it ends, and writes
``benchmarks/results/first_time.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests import fiftyone_database  # noqa: F401  (before anything imports fiftyone)

RESULTS = Path(__file__).parent / "results" / "first_time.json"
_COUNT = """
window.counted = {clicks: 0, keys: 0, fields: new Set()};
addEventListener('click', event => { if (event.isTrusted) counted.clicks++; }, true);
addEventListener('keydown', event => { if (event.isTrusted) counted.keys++; }, true);
addEventListener('input', event => {
    if (event.target.matches('input[type=text], input[type=string], input:not([type])'))
        counted.fields.add(event.target);
}, true);
"""


def main() -> None:
    """Go the first-time path and write what it cost."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--labelled", type=int, default=4, help="images with labels")
    parser.add_argument("--others", type=int, default=20, help="images without labels")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NTT_CACHE_DIR"] = os.path.join(folder, "cache")
        result = measure(Path(folder), options.labelled, options.others)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def measure(folder: Path, labelled: int, others: int) -> dict[str, Any]:
    """Make the dataset, start the App, go the path.

    Args:
        folder: an empty folder.
        labelled: number of images with labels.
        others: number of images without.
    """
    from playwright.sync_api import sync_playwright

    from ntt_plugin.demo.dataset import make_dataset
    from tests.e2e.app_page import AppPage
    from tests.e2e.chromium import OPTIONS, find_chromium
    from tests.e2e.server import Server

    dataset = make_dataset(folder / "scenes", pool=labelled, targets=others, name="first_time")
    for sample in dataset.match_tags("target").iter_samples(autosave=True):
        sample["ground_truth"] = None
    server = Server(folder / "server")
    try:
        with sync_playwright() as playwright:
            path = find_chromium()
            browser = playwright.chromium.launch(executable_path=path, args=OPTIONS)
            tab = AppPage(browser.new_page(), server.url, folder)
            tab.page.add_init_script(_COUNT)
            tab.open(dataset.name)
            result = go(tab)
            browser.close()
    finally:
        server.stop()
    dataset.reload()
    return {
        "images": len(dataset),
        "images_labelled": len(dataset.exists("ntt")),
        "labels_written": dataset.count("ntt.detections"),
        **result,
        "preset": "tiny",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "processes_that_wanted_them": round(os.getloadavg()[0], 1),
    }


def go(tab: Any) -> dict[str, Any]:
    """The path, and what each of its steps cost."""
    steps: dict[str, Any] = {}
    began = time.monotonic()
    for step in (add_references, build, segment):
        before, since = counted(tab), time.monotonic()
        step(tab)
        now = counted(tab)
        spent = {name: now[name] - before[name] for name in now}
        steps[step.__name__] = {**spent, "seconds": round(time.monotonic() - since, 1)}
    return {**counted(tab), "seconds": round(time.monotonic() - began, 1), "steps": steps}


def add_references(tab: Any) -> None:
    """Pick two samples, and add their labels with the button above the grid."""
    tab.select_sample(0)
    tab.select_sample(1)
    form = tab.button("add_references", "Add references")
    form.wait_for("Will tag ")
    form.submit("Add")
    form.wait_for_end("labels tagged 'reference'")


def build(tab: Any) -> None:
    """Build the bank, with the button at the end; the preset is the one thing to choose."""
    form = tab.next_step("Build a memory bank", "Build memory bank")
    form.choose("Preset", "tiny")
    form.wait_for("Runs tiny")
    form.submit("Build")
    form.wait_for_end("is ready")


def segment(tab: Any) -> None:
    """Segment every image, with the button at the end, until the labels are written."""
    form = tab.next_step("Segment images with it", "Segment with memory bank")
    form.wait_for("Will write labels into 'ntt'")
    form.submit("Segment")
    form.wait_for_end("in the field 'ntt'")


def counted(tab: Any) -> dict[str, int]:
    """What the page has counted so far."""
    script = "() => ({clicks: counted.clicks, keys: counted.keys, fields: counted.fields.size})"
    found = tab.page.evaluate(script)
    return {"clicks": found["clicks"], "keys": found["keys"], "fields_typed": found["fields"]}


if __name__ == "__main__":
    main()
