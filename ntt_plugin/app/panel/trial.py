"""A bank tried on a few images: the run in the background, and the page that shows it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import fiftyone.operators.types as types
from fiftyone.operators.constants import ViewTarget

from ...dataset.banks.banks import get_memory_bank_info
from ...dataset.samples.views import images_of
from ...errors import NttError
from ..runtime.progress import RunStopped, Watch
from ..runtime.result_page import notes_of
from ..text import bullets, escaped, listed_briefly, number_of
from . import widgets
from .events import Clicks
from .state import Place

if TYPE_CHECKING:
    from ...dataset.review.try_bank import Trial

IMAGES = 6
SIDE = 232
_MOST_NOTES = 6
_CONFIDENCE = 0.3
_GONE = (
    "**The pictures of the last trial are gone**: the App's server was started anew meanwhile. Try "
    "it again; what the networks found is kept, so it takes a moment only."
)
_TILE = {"item": {"sx": {"width": f"{SIDE + 16}px"}}}


@dataclass
class _Job:
    """A trial that runs, or has ended."""

    watch: Watch = field(default_factory=Watch)
    running: bool = True
    trial: Trial | None = None
    error: str | None = None
    tried: tuple[str, ...] = ()
    note: str = ""


# Of this server's process: a trial is looked at once, and costs seconds to repeat.
_jobs: dict[tuple[str, str], _Job] = {}


def start(dataset: Any, samples: Any, bank: str, others: bool) -> None:
    """Try a bank on some images in the background; ``others``: none that were tried before."""
    key = (str(dataset.name), bank)
    former = _jobs.get(key)
    if former is not None and former.running:
        return
    job = _Job()
    if others and former is not None:
        # What was found stays in sight where nothing new comes.
        job.tried, job.trial = former.tried, former.trial
    _jobs[key] = job
    work = copy_context()
    threading.Thread(target=work.run, args=(_try, job, samples, bank), daemon=True).start()


def stop(dataset: Any, bank: str) -> None:
    """Stop the trial of a bank, if one runs."""
    job = _jobs.get((str(dataset.name), bank))
    if job is not None:
        job.watch.stop()


def state_of(dataset: Any, bank: str | None) -> str:
    """A text that changes as a trial goes on."""
    job = _jobs.get((str(dataset.name), str(bank)))
    return "" if job is None else f"{job.running} {job.watch.now('')[0]}"


def is_running(dataset: Any, bank: str | None) -> bool:
    """Whether a bank is being tried."""
    job = _jobs.get((str(dataset.name), str(bank)))
    return job is not None and job.running


def chosen(ctx: Any) -> Any:
    """The images to try a bank on: those selected, else those of the view."""
    view = ctx.view
    selected = view.select(ctx.selected) if ctx.selected else view
    return images_of(selected)


def slider(place: Place) -> str:
    """The name that the slider of a visit has in the panel's state."""
    return f"confidence_{place.visit}"


def draw(
    page: types.Object, dataset: Any, place: Place, clicks: Clicks, state: Mapping[str, Any]
) -> None:
    """The trial of a bank: progress, or pictures with a slider, or how to begin.

    ``state`` is the panel's: the slider, and which bank was tried in it last.
    """
    bank = str(place.bank)
    job = _jobs.get((str(dataset.name), bank))
    widgets.text(page, "title", f"**{escaped(bank)} on a few images**; nothing is written.")
    if job is None:
        if state.get("tried") == bank:
            widgets.text(page, "gone", _GONE)
        _begin(page, bank, clicks)
        return
    if job.running:
        words, share = job.watch.now("Trying")
        widgets.progress(page, "progress", words, share)
        row = widgets.row(page, "stop")
        widgets.button(row, "stop", "Stop", clicks.stop_trial(bank), "stop")
        return
    if job.error is not None:
        page.view("problem", types.Error(label=job.error))
    if job.note:
        widgets.text(page, "note", job.note)
    if job.trial is not None:
        _pictures(page, dataset, job.trial, place, clicks, state.get(slider(place)))
    row = widgets.row(page, "next")
    widgets.button(row, "others", f"{IMAGES} others", clicks.try_bank(bank, True), "casino")
    # Not the selected ones: those were chosen to try it on.
    everything = {"bank": bank, "view_target": ViewTarget.CURRENT_VIEW}
    widgets.operator_button(
        row, "segment_with_memory_bank", clicks, "Segment all", strong=True, **everything
    )


def _begin(page: types.Object, bank: str, clicks: Clicks) -> None:
    words = "Random ones of the view, or those that you select. A later run takes their proposals."
    widgets.text(page, "words", words)
    row = widgets.row(page, "next")
    click = clicks.try_bank(bank, False)
    widgets.button(row, "try", f"Try on {IMAGES} images", click, "science", strong=True)


def _pictures(
    page: types.Object,
    dataset: Any,
    trial: Trial,
    place: Place,
    clicks: Clicks,
    confidence: Any,
) -> None:
    # Imported here: reading images is not needed to list the panel.
    from ...dataset.inspect.trial_pictures import found_above, trial_picture

    info = get_memory_bank_info(dataset, str(place.bank))
    least = widgets.as_share(confidence, _at_first(info.thresholds))
    widgets.slider(page, slider(place), "Confidence", least, clicks.events.move_confidence)
    wall = widgets.row(page, "wall", align_y="top")
    total = 0
    for number, tried in enumerate(trial.images):
        counts = found_above(tried, least)
        total += sum(counts.values())
        words = listed_briefly(f"{escaped(name)} {count}" for name, count in counts.items())
        tile = widgets.column(wall, f"image_{number}", gap=0.5, componentsProps=_TILE)
        path = trial_picture(tried, list(info.shots), least, SIDE)
        widgets.wide_picture(tile, "picture", path, SIDE, words or "nothing")
        widgets.text(tile, "words", words or "*nothing*")
    widgets.text(
        page, "count", f"{number_of('object', total)} of a confidence of {least:.2f} or more."
    )
    notes = [*notes_of(trial.failed), *notes_of(trial.notes)]
    if notes:
        widgets.text(page, "notes", bullets(notes, _MOST_NOTES))


def _at_first(thresholds: dict[str, float]) -> float:
    values = sorted(thresholds.values())
    return round(values[len(values) // 2], 2) if values else _CONFIDENCE


def _try(job: _Job, samples: Any, bank: str) -> None:
    try:
        from ... import try_bank

        there = set(samples.values("id"))
        if there and there <= set(job.tried):
            job.tried, job.note = (), "*All of them were tried already; these are tried again.*"
        found = try_bank(samples, bank, IMAGES, exclude=job.tried, progress=job.watch.report)
        job.trial = found
        # Those that failed would fail again.
        job.tried += tuple(tried.sample for tried in found.images)
        job.tried += tuple(note.sample for note in found.failed if note.sample)
    except RunStopped:
        job.error = "Stopped."
    except NttError as error:
        job.error = str(error)
    except Exception as error:  # A thread's error would be lost.
        job.error = f"An unexpected error. {type(error).__name__}: {error}"
    finally:
        job.running = False
