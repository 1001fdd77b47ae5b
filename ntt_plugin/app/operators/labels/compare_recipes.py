"""Operator: find the settings that are best on a user's own images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ....engine.recipe import OWN, PRESETS
from ...forms.fields import Form
from ...runtime.operator import NttOperator
from ...runtime.progress import Report
from ...runtime.result_page import NextStep, Outcome, notes_in_words
from ...text import Table, listed_briefly, number_of

if TYPE_CHECKING:
    from ....dataset.suggestions.compare_recipes import RecipeComparison, RecipeResult

_MOST_CONFUSIONS = 5
# What was ahead on generated scenes (docs/accuracy.md).
_BY_QUALITY = "iou_exponent=1 stability_exponent=2"
_SQUARES = "encoding=squares"


class CompareRecipes(NttOperator):
    """Form of ``compare_recipes``."""

    operator_name = "compare_recipes"
    title = "Find the best settings"
    about = (
        "Measure on your images which preset is best for a memory bank, and whether tiles or "
        "other settings pay. Use it before a long run; nothing is written."
    )
    icon = "query_stats"
    parameters = ("bank", "recipes", "gt_field", "device", "group_slices", "cache")
    seldom = ("device", "cache")
    submit = "Measure"
    doing = "Measuring"

    def build_form(self, form: Form) -> None:
        from ....dataset.banks.banks import get_memory_bank_info
        from ....dataset.inspect.inventory import label_fields
        from ...forms import bank_choice, run_options, target

        images = target.target(form, "Measure on")
        name = bank_choice.bank_of_dataset(form, name="bank")
        truths = label_fields(form.dataset)
        what_for = (
            "True labels of these images. Without, the references of the bank are looked for in "
            "their own images, each without itself."
        )
        truth = None
        if truths:
            suggested = "ground_truth" if "ground_truth" in truths else None
            truth = form.choice(
                "gt_field", truths, "Ground truth", what_for, required=False, suggested=suggested
            )
        if name is None:
            return
        info = get_memory_bank_info(form.dataset, name)
        form.describe("bank", bank_choice.in_words(info))
        side = target.asked_once(form, images, _tile_side, info.recipe)
        oblong = target.asked_once(form, images, _are_oblong)
        choices = _choices(info.recipe.name, side)
        what_for = f"Two or more; {OWN!r} is what the bank has now."
        first = [one for one in _at_first(side, oblong) if one in choices]
        form.several("recipes", choices, "Settings", what_for, required=True, default=first)
        if form.advanced(self.seldom):
            run_options.device(form)
            run_options.cache(form)
        wanted = form.at_first("recipes", first) or []
        if unknown := [one for one in wanted if one not in choices]:
            form.mark("recipes", f"There is no {listed_briefly(unknown)} here; choose others.")
            return
        on = number_of("image", len(images)) if truth else "the images of the bank's references"
        form.notice(
            "will_do",
            f"Will try {number_of('recipe', len(wanted))} on {on}. Those that need the same of the "
            "networks share it; nothing is changed.",
        )

    def run(self, ctx: Any, progress: Report) -> Outcome:
        from .... import compare_recipes
        from ...forms import target

        arguments = self.arguments(ctx)
        found = compare_recipes(target.target_of(ctx), **arguments, progress=progress)
        best = found.best
        facts = {
            "Measured on": f"{number_of('image', found.images)}, {_what(found)}",
            "Taken for another class": _confusions(best),
        }
        step = NextStep(
            f"Use {best.name}", "change_recipe", {"name": found.bank, "preset": best.name}
        )
        return Outcome(
            _message(found),
            {name: value for name, value in facts.items() if value},
            [*notes_in_words(_Notes(found)), *_untried(found)],
            table=_table(found),
            next_step=None if best.name == OWN else step,
        )


class _Notes:
    """What failed, as ``notes_in_words`` takes it."""

    def __init__(self, found: RecipeComparison) -> None:
        from ....dataset.samples.sample_notes import SampleNote

        self.failed = found.failed
        self.notes = [SampleNote("", "", note) for note in found.notes]


def _choices(own: str, side: int | None) -> dict[str, str]:
    """Recipes that can be tried without a download, by their texts, with words for each."""
    from ....dataset.networks import missing_networks

    presets = [name for name in PRESETS if name != own and not missing_networks(PRESETS[name])]
    bases = {OWN: f"the bank's own ({own})"} | {name: name for name in presets}
    tiles = {"": ""} | ({} if side is None else {f" tile={side}": f", tiles of {side} pixels"})
    others = {
        "": "",
        f" {_SQUARES}": ", oblong images as squares",
        f" {_BY_QUALITY}": ", scores by the masks' quality",
        f" {_SQUARES} {_BY_QUALITY}": ", oblong images as squares, scores by the masks' quality",
        " rescoring=diffusion": ", rescored by diffusion",
    }
    return {
        base + tile + other: words + tile_words + other_words
        for base, words in bases.items()
        for tile, tile_words in tiles.items()
        for other, other_words in others.items()
    }


def _at_first(side: int | None, oblong: bool) -> list[str]:
    presets = [name for name in PRESETS if name != "tiny"]
    squares = [f"{OWN} {_SQUARES}"] if oblong else []
    tiles = [] if side is None else [f"{OWN} tile={side}"]
    return [OWN, *tiles, f"{OWN} {_BY_QUALITY}", *squares, *presets]


def _are_oblong(images: Any) -> bool:
    from ....dataset.inspect.tiling import are_oblong

    return are_oblong(images)


def _tile_side(images: Any, recipe: Any) -> int | None:
    """The side of tiles to try, the segmenter's input; None where no image is larger."""
    from ....dataset.inspect.tiling import segmenter_side, tile_cost

    side = segmenter_side(recipe)
    return side if tile_cost(images, recipe, side).looks > 1 else None


def _message(found: RecipeComparison) -> str:
    best = found.best
    assert best.figures is not None
    text = f"{best.name} is best: AP {best.figures.ap:.3f}, {best.seconds:.2f} seconds an image."
    own = next((one for one in found.results if one.name == OWN and one.figures), None)
    if own is None or own.figures is None or best is own:
        return text
    gain = best.figures.ap - own.figures.ap
    return f"{text} That is {gain:+.3f} against what the bank has now."


def _what(found: RecipeComparison) -> str:
    if found.gt_field:
        return f"AP by pycocotools against {found.gt_field!r}"
    return "how well the bank finds its own references without them; good for comparing only"


def _table(found: RecipeComparison) -> Table:
    columns = ["Settings", "AP", "Found again", "Mean IoU", "Seconds an image"]
    rows = [
        [one.name, one.figures.ap, one.figures.recall, one.figures.mean_iou, one.seconds]
        for one in found.results
        if one.figures is not None
    ]
    return Table(columns, rows)


def _confusions(best: RecipeResult) -> str:
    assert best.figures is not None
    most = list(best.figures.confusions.items())[:_MOST_CONFUSIONS]
    return listed_briefly(f"{one} → {other} ({count:,})" for (one, other), count in most)


def _untried(found: RecipeComparison) -> list[str]:
    return [f"{one.name} was not tried: {one.problem}" for one in found.results if one.problem]
