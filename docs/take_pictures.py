"""Takes the pictures of docs/images: the demo's dataset in the FiftyOne App.

Run ``make demo`` first, then, from the root of the project::

    .venv/bin/python docs/take_pictures.py

It opens the App in headless Chromium (Debian's ``chromium``, or any Chrome named with
``--chromium``), sets the scene as a person would by clicking, and writes these pictures:

- ``app_grid.png``: the target samples with the confident predictions;
- ``app_sample.png``: one of them opened, the one most ahead in right predictions less wrong ones;
- ``app_evaluation.png``: the evaluation's summary and its figures of each class;
- ``panel_bank.png``, ``panel_classes.png``, ``panel_run.png``, ``panel_cause.png``: the panel
  Memory banks at a bank, at its map of classes, at a run, and at a selected prediction;
- ``form_segment.png``: the form of Segment with memory bank.

The dataset is only read.

``suggestions.png``, ``compare.png``, ``panel_first_steps.png`` and the pictures of docs/review.md
are cut out of what ``make test TESTS=tests/e2e PYTEST_ARGS=--screenshots=FOLDER`` shows.
"""

from __future__ import annotations

import argparse
import colorsys
import io
import os
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Both are read when fiftyone is imported.
os.environ["FIFTYONE_DO_NOT_TRACK"] = "true"
os.environ.setdefault("FIFTYONE_LOGGING_LEVEL", "ERROR")

import fiftyone as fo
from fiftyone import ViewField
from PIL import Image

try:
    from playwright.sync_api import Locator, Page, sync_playwright
except ModuleNotFoundError:
    sys.exit("Playwright is missing: .venv/bin/pip install 'playwright>=1.50' (no browser needed).")

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.e2e.chromium import OPTIONS, find_chromium

FIELD = "ntt"
GROUND_TRUTH = "ground_truth"
EVALUATION = "ntt_eval"
SHOWN_FROM = 0.6
"""Predictions of at least this confidence are shown; the evaluation counts them all."""

WINDOW = (1400, 900)
EVALUATION_WINDOW = (1400, 1012)
PATIENCE = 300
"""Seconds to wait for anything: a busy machine may take minutes to open the App."""

# The colours' hues in degrees; a shade is a turn of the hue, a saturation and a brightness.
_HUES = {"red": 0, "yellow": 50, "green": 120, "cyan": 186, "blue": 224, "magenta": 306}
_SHADES = ((0, 1.0, 0.9), (-7, 0.7, 0.95), (9, 0.95, 0.7))
_PANEL = "memory_banks"
_EVALUATION_PANEL = "model_evaluation_panel_builtin"
# Otherwise a pop-over about another product covers the first clicks.
_INIT_SCRIPT = "localStorage.setItem('fiftyone-enterprise-tooltip-seen', 'true')"
_TILES_LOADED = """() => {
    const tiles = [...document.querySelectorAll('[data-cy=fo-grid] [data-cy=looker] canvas')];
    return tiles.length > 0 && tiles.every(tile => tile.getAttribute('canvas-loaded') === 'true');
}"""


def main() -> None:
    """Take the pictures of the demo's dataset in the FiftyOne App."""
    parser = argparse.ArgumentParser("docs/take_pictures.py", description=main.__doc__)
    parser.add_argument("--name", default="ntt-demo", help="the dataset's name in FiftyOne")
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(__file__).parent / "images",
        help="where the pictures go (default: docs/images)",
    )
    parser.add_argument("--chromium", help="path of Chromium or Chrome (default: the one in PATH)")
    options = parser.parse_args()
    chromium = options.chromium or installed_chromium()
    dataset = load_demo(options.name)
    options.folder.mkdir(parents=True, exist_ok=True)
    with only_this_plugin(), sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=OPTIONS, timeout=1000 * PATIENCE
        )
        page = browser.new_page(viewport={"width": WINDOW[0], "height": WINDOW[1]})
        page.set_default_timeout(1000 * PATIENCE)
        page.add_init_script(_INIT_SCRIPT)
        picture_samples(page, dataset, options.folder)
        picture_evaluation(page, dataset, options.folder)
        picture_panel(page, dataset, options.folder)
        picture_form(page, dataset, options.folder)
        browser.close()


def installed_chromium() -> str:
    """Path of an installed Chromium or Chrome; ends the program where there is none."""
    if path := find_chromium():
        return path
    sys.exit("No Chromium in PATH: apt-get install chromium, or name one with --chromium.")


def load_demo(name: str) -> fo.Dataset:
    """The demo's dataset; ends the program where it is missing or was never evaluated."""
    if not fo.dataset_exists(name):
        sys.exit(f"There is no dataset {name!r} in FiftyOne yet. Run `make demo` first.")
    dataset = fo.load_dataset(name)
    if EVALUATION not in dataset.list_evaluations():
        sys.exit(f"The dataset {name!r} has no evaluation {EVALUATION!r}. Run `make demo` again.")
    return dataset


def picture_samples(page: Page, dataset: fo.Dataset, folder: Path) -> None:
    """The grid of samples with confident predictions, then one sample opened."""
    view = dataset.filter_labels(FIELD, ViewField("confidence") >= SHOWN_FROM)
    with served(view=view, color_scheme=class_colours(dataset)) as url:
        page.goto(url)
        page.wait_for_function(_TILES_LOADED)
        tidy_sidebar(page.locator("body"))
        page.wait_for_function(_TILES_LOADED)
        shoot(page, folder / "app_grid.png")

        page.goto(f"{url}/datasets/{dataset.name}?id={clearest_sample(view)}")
        modal = page.locator("[data-cy=modal]")
        modal.locator("canvas[canvas-loaded=true]").wait_for()
        tidy_sidebar(modal)
        modal.locator(f"[data-cy='shown-attribute-{FIELD}.detections.confidence']").click()
        shoot(page, folder / "app_sample.png")


def picture_evaluation(page: Page, dataset: fo.Dataset, folder: Path) -> None:
    """The Model Evaluation panel, twice side by side: it opens one section at a time."""
    samples = fo.Panel(type="Samples", pinned=True)
    summary, classes = (fo.Panel(type=_EVALUATION_PANEL) for _ in range(2))
    spaces = fo.Space(
        orientation="horizontal",
        children=[
            fo.Space(children=[samples, summary], active_child=samples.component_id),
            fo.Space(children=[classes], active_child=classes.component_id),
        ],
    )
    page.set_viewport_size({"width": EVALUATION_WINDOW[0], "height": EVALUATION_WINDOW[1]})
    with served(dataset=dataset, spaces=spaces) as url:
        page.goto(url)
        page.wait_for_function(_TILES_LOADED)
        # In half the window its neighbours lie over it: no pointer could reach it.
        page.locator("[data-cy=action-toggle-sidebar]").first.dispatch_event("click")
        page.locator(f"[data-cy=panel-tab-{_EVALUATION_PANEL.lower()}]").first.click()
        panels = page.locator(f"[data-cy=panel-content-{_EVALUATION_PANEL}]")
        for panel in (panels.nth(0), panels.nth(1)):
            panel.get_by_text(EVALUATION, exact=True).click()
            panel.get_by_text("True Positives", exact=True).wait_for()
        panel.get_by_text("Class Performance", exact=True).click()
        panel.get_by_role("combobox").filter(has_text="Precision").click()
        page.get_by_role("option", name="F1-Score").click()
        panel.get_by_text("F1-Score Per Class").wait_for()
        panel.locator(".js-plotly-plot .bars .point").first.wait_for(state="attached")
        shoot(page, folder / "app_evaluation.png")


def picture_panel(page: Page, dataset: fo.Dataset, folder: Path) -> None:
    """The panel Memory banks: a bank, its map of classes, a run, and a prediction's cause."""
    page.set_viewport_size({"width": WINDOW[0], "height": WINDOW[1]})
    with served(view=dataset.match_tags("target"), color_scheme=class_colours(dataset)) as url:
        panel = open_panel(page, url)
        panel.get_by_role("button", name="Open", exact=True).click()
        panel.locator("img[alt^='A reference of']").first.wait_for()
        shoot(page, folder / "panel_bank.png")
        chart = panel.locator(".js-plotly-plot").first
        chart.scroll_into_view_if_needed()
        shoot(page, folder / "panel_classes.png", panel)
        panel.get_by_role("button", name="Runs", exact=True).first.click()
        panel.get_by_role("button", name="Open", exact=True).click()
        panel.get_by_role("button", name="Scores by class").click()
        chart = panel.locator(".js-plotly-plot").first
        chart.wait_for()
        chart.scroll_into_view_if_needed()
        shoot(page, folder / "panel_run.png", panel)
    doubtful = dataset.filter_labels(FIELD, ViewField(EVALUATION) == "fp")
    patches = doubtful.to_patches(FIELD).sort_by(f"{FIELD}.confidence", reverse=True)
    with served(view=patches) as url:
        panel = open_panel(page, url)
        page.locator("[data-cy=fo-grid] [data-cy=looker]").first.click(position={"x": 14, "y": 14})
        panel.get_by_role("img", name="The reference").wait_for()
        shoot(page, folder / "panel_cause.png")


def picture_form(page: Page, dataset: fo.Dataset, folder: Path) -> None:
    """The form of Segment with memory bank, before anything was segmented."""
    with served(view=dataset.match_tags("pool")) as url:
        page.goto(url)
        page.wait_for_function(_TILES_LOADED)
        page.keyboard.press("Backquote")
        page.get_by_placeholder("Search operations by name...").fill("Segment with memory bank")
        page.get_by_text("Segment with memory bank", exact=True).first.wait_for()
        page.keyboard.press("Enter")
        form = page.locator("[data-cy=operators-prompt-modal]")
        form.get_by_text("Will write labels").wait_for()
        shoot(page, folder / "form_segment.png", form)


def open_panel(page: Page, url: str) -> Locator:
    """Open the panel beside the grid, as a person does."""
    page.goto(url)
    page.wait_for_function(_TILES_LOADED)
    page.locator("[data-cy=new-panel-btn]").first.click()
    page.locator(f"[data-cy=new-panel-option-{_PANEL}]").click()
    panel = page.locator(f"[data-cy=panel-content-{_PANEL}]").first
    panel.get_by_role("button", name="Banks", exact=True).wait_for()
    return panel


@contextmanager
def only_this_plugin() -> Iterator[None]:
    """The App's servers find this checkout as a plugin and no other, whatever is installed."""
    with tempfile.TemporaryDirectory(prefix="ntt_plugins_") as folder:
        Path(folder, "ntt").symlink_to(Path(__file__).resolve().parent.parent)
        os.environ["FIFTYONE_PLUGINS_DIR"] = folder
        yield


@contextmanager
def served(**scene: Any) -> Iterator[str]:
    """The App on a free port of this machine only; its view and layout live in the server.

    Args:
        scene: what ``fiftyone.launch_app`` is to show.

    Yields:
        The App's address.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    fo.launch_app(address="127.0.0.1", port=port, remote=True, **scene)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        fo.close_app()


def class_colours(dataset: fo.Dataset) -> fo.ColorScheme:
    """For each class a shade of the colour its name begins with, so that mistakes stand out."""
    labels = sorted(dataset.distinct(f"{GROUND_TRUTH}.detections.label"))
    families = [label.split()[0] for label in labels]
    colours = []
    for index, (label, family) in enumerate(zip(labels, families, strict=True)):
        shade = _SHADES[families[:index].count(family) % len(_SHADES)]
        rgb = colorsys.hsv_to_rgb((_HUES[family] + shade[0]) % 360 / 360, *shade[1:])
        colours.append({"value": label, "color": "#" + "".join(f"{int(255 * c):02x}" for c in rgb)})
    field = {"path": FIELD, "colorByAttribute": "label", "valueColors": colours}
    return fo.ColorScheme(color_by="value", opacity=0.7, fields=[field])


def clearest_sample(view: fo.DatasetView) -> str:
    """The id of the sample with the most right predictions in the view, less the wrong ones."""
    ids, verdicts = view.values(["id", f"{FIELD}.detections.{EVALUATION}"])
    ranked = sorted(zip(ids, verdicts, strict=True), key=lambda s: len(s[1]) - 2 * s[1].count("tp"))
    return str(ranked[0][0])


def tidy_sidebar(place: Any) -> None:
    """Hide the ground truth, fold what says nothing here, and list the predictions' classes."""
    ground_truth = place.locator(f"[data-cy=checkbox-{GROUND_TRUTH}]")
    if ground_truth.locator("input").is_checked():
        ground_truth.click()
    for group in ("TAGS", "METADATA"):
        place.locator(f"[data-cy=sidebar-group-{group}]").click()
    place.locator(f"[data-cy=sidebar-field-arrow-enabled-{FIELD}]").click()


def shoot(page: Page, path: Path, part: Locator | None = None) -> None:
    """Save the window, or a part of it, once nothing has moved in it for three seconds.

    Raises:
        TimeoutError: it never came to rest.
    """
    page.mouse.move(1, 1)  # away from whatever reacts to it
    deadline = time.monotonic() + PATIENCE
    before, still = b"", 0
    while still < 3:
        if time.monotonic() > deadline:
            raise TimeoutError(f"The App did not come to rest in {PATIENCE} s: {path.name}")
        page.wait_for_timeout(1000)
        now = page.screenshot() if part is None else part.screenshot()
        still = still + 1 if now == before else 0
        before = now
    with Image.open(io.BytesIO(before)) as picture:
        few = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    few.save(path, optimize=True)
    print(path, flush=True)


if __name__ == "__main__":
    main()
