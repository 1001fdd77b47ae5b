"""What a form says about a run: preset, device, networks, time, and the field it writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import fiftyone.operators.types as types

from ...dataset.inspect.estimates import NOTHING_KEPT, Estimate, estimate_segmentation, kept_share
from ...dataset.labels.label_field import FieldState, RunIds, field_state
from ...dataset.labels.peoples_labels import count_touched
from ...dataset.networks import Network, available_devices, networks_of
from ...dataset.samples.checks import as_path, dataset_of
from ...engine.recipe import PRESETS, Recipe
from ...errors import DatasetError
from ...worker.local_processes import cores_here, gpus_here
from ..text import number_of, part_of_these
from . import first_choice, target
from .fields import Form

_WORDS = {
    "paper": "the published recipe, to the letter",
    "balanced": "newer segmenter, half precision on a GPU",
    "fast": "smaller networks, a quarter of the points",
    "best": "large networks, scores weighed by the masks' quality; ahead on generated scenes",
    "tiny": "bundled networks for tests and the demo; rough on real photos",
}


Needed = Callable[[Recipe], list[Network]]
"""Which of a recipe's networks a run loads."""


def segmenter_alone(recipe: Recipe) -> list[Network]:
    """The network that box prompts need: no encoder."""
    return networks_of(recipe)[:1]


def preset(form: Form, description: str, needed: Needed = networks_of) -> Recipe | None:
    """The recipe of a chosen preset, or None; what was last used, or is here, comes first."""
    first = first_choice.preset(form)
    chosen = form.choice("preset", _presets(needed), "Preset", description, first, required=False)
    return PRESETS[chosen] if chosen else None


def _presets(needed: Needed) -> dict[str, str]:
    return {
        name: f"{name}: {_WORDS[name]}; {_downloads(needed(PRESETS[name]))}" for name in PRESETS
    }


def recipe_for(form: Form, made_with: Recipe | None) -> Recipe | None:
    """Add preset, device and batch size; returns the recipe to run the bank with.

    ``made_with`` is the bank's own recipe, None while no bank is chosen.
    """
    description = "In place of the one that the bank was made with."
    choices = _presets(networks_of)
    other = form.choice("preset", choices, "Preset", description, None, required=False)
    device(form)
    batch_size(form)
    return PRESETS[other] if other else made_with


def device(form: Form) -> str | None:
    """The choice of a device, the best one if none is chosen."""
    found = available_devices()
    return form.choice(
        "device",
        {name: name for name in found},
        "Device",
        f"Where the networks run; {found[0]} if none is chosen.",
        required=False,
    )


def batch_size(form: Form) -> None:
    """Add the number of points decoded at once."""
    form.whole_number(
        "batch_size",
        "Points at once",
        "Fewer need less memory; the results stay the same. Empty: the preset's.",
        least=1,
        most=65_536,
    )


def workers(form: Form) -> None:
    """Add the number of processes that share the work."""
    gpus, cores = len(gpus_here()), cores_here()
    found = f"{number_of('GPU', gpus)} found" if gpus else f"no GPU, {number_of('core', cores)}"
    form.whole_number(
        "workers",
        "Workers",
        f"Processes of this machine that share the images, a GPU each ({found}); the labels are "
        "the same. Empty: one process does all.",
        least=1,
        most=256,
    )


def mask_dir(form: Form) -> None:
    """Where to write masks as files."""
    what_for = "Masks become PNG files below it. Empty: they are kept in the database."
    form.text("mask_dir", "Folder for masks", what_for)
    folder = form.value("mask_dir")
    if folder is None:
        return
    try:
        as_path(folder, "a folder for masks")
    except DatasetError as error:
        form.mark("mask_dir", str(error))


def cache(form: Form) -> None:
    """Whether proposals are kept between runs."""
    what_for = "On this machine's disk, so that a later run with another bank only matches."
    form.tick("cache", "Keep proposals", what_for, default=True)


def announce(
    form: Form,
    what: str,
    recipe: Recipe,
    estimate: Estimate | None = None,
    needed: Needed = networks_of,
) -> None:
    """Say what the run will write, what it loads or downloads first, and how long it takes."""
    networks = needed(recipe)
    names = " and ".join(dict.fromkeys(network.name for network in networks))
    takes = f" Takes {estimate}." if estimate else ""
    warn_of_downloads(form.inputs, networks)
    form.notice("will_do", f"{what} Runs {names}.{takes}")


def estimate_images(form: Form, images: Any, recipe: Recipe, number: int) -> Estimate | None:
    """Estimated time for ``number`` images, if measured; cached proposals take almost none."""
    device = form.value("device")
    kept = NOTHING_KEPT
    if form.ctx.params.get("cache", True):
        kept = target.asked_once(form, images, kept_share, recipe, device)
    return estimate_segmentation(form.dataset, recipe, device, number, kept)


def warn_of_downloads(page: types.Object, networks: list[Network]) -> None:
    """Name the networks that are not on this machine, and how large they are."""
    absent = [str(network) for network in networks if not network.here]
    if absent:
        text = f"Not on this machine yet: {', '.join(absent)}."
        page.view("downloads", types.Warning(label=text))


def _downloads(networks: list[Network]) -> str:
    absent = [network for network in networks if not network.here]
    if not absent:
        return "nothing to download"
    total = sum(network.megabytes or 0 for network in absent)
    return f"downloads {total:,} MB"


class Held(NamedTuple):
    """What a field holds in some samples, seen from one run: a ``FieldState``, counted."""

    foreign: bool
    to_do: int
    done: int
    others: int

    @property
    def total(self) -> int:
        """All of the samples."""
        return self.to_do + self.done + self.others


def held(images: Any, field: str, run: RunIds) -> Held:
    """Count what a field holds in some samples; one pass over them."""
    return counts(field_state(images, field, run))


def counts(state: FieldState) -> Held:
    """The numbers of what a field holds, without the ids."""
    return Held(state.foreign, len(state.to_do), len(state.done), len(state.others))


def ask_to_replace(
    form: Form, images: Any, name: str, field: str, found: Held, made_by: str
) -> int | None:
    """Ask before labels are replaced; gives how many samples to do, None if none can be.

    ``images`` are those that would be done. ``name`` is the form's field in which the output field
    is named; ``made_by`` names, for the messages, what else can have written labels to it.
    """
    if found.foreign:
        form.mark(
            name,
            f"{field!r} was not made by a segmentation, so it is not touched; choose another name.",
        )
        return None
    if found.others:
        form.overwrite(
            f"{part_of_these('image', found.others, found.total, 'holds', 'hold')} labels in "
            f"{field!r} that {made_by} made. They will be replaced, and all labels made anew."
            f"{_what_stays(form, images, field)}"
        )
        return found.total
    if found.done:
        done = part_of_these("image", found.done, found.total, "is", "are")
        words = f"{done} done already, and will not be done again otherwise."
        form.tick("overwrite", "Start anew", words)
        if form.ctx.params.get("overwrite"):
            return found.total
        if not found.to_do:
            form.notice(
                "will_do",
                f"{done} done: there is nothing left to do. Tick Start anew to begin again.",
            )
            return None
    return found.to_do


def _what_stays(form: Form, images: Any, field: str) -> str:
    """The labels of people, which no run replaces, as a sentence; empty where there are none."""
    touched = target.asked_once(form, images, _touched, field)
    if not touched:
        return ""
    return (
        f" {number_of('label', touched)} that people tagged, edited, judged or drew "
        f"{'stays' if touched == 1 else 'stay'}."
    )


def _touched(images: Any, field: str) -> int:
    return count_touched(dataset_of(images), field, images.values("id"))
