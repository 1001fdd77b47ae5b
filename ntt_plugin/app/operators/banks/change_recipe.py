"""Operator: use a memory bank with other settings."""

from __future__ import annotations

from typing import Any

from ....engine.recipe import OWN, recipe_of_text, text_of_recipe
from ....errors import RecipeError
from ...forms.fields import Form
from ...runtime.operator import NttOperator
from ...runtime.progress import Report
from ...runtime.result_page import Outcome
from ...text import number_of


class ChangeRecipe(NttOperator):
    """Form of ``change_recipe``."""

    operator_name = "change_recipe"
    title = "Change settings of memory bank"
    about = (
        "Use a memory bank with another preset, with tiles, or another rescoring from now on. Use "
        "it with what Find the best settings found."
    )
    icon = "settings_suggest"
    parameters = ("name", "preset", "device")
    seldom = ("device",)
    submit = "Change"
    doing = "Changing the memory bank"

    def build_form(self, form: Form) -> None:
        from ....dataset.banks.banks import get_memory_bank_info
        from ...forms import bank_choice, run_options

        name = bank_choice.bank_of_dataset(form)
        form.text(
            "preset",
            "Settings",
            f"A preset's name, or {OWN!r} for the bank's own, then what is to be other: "
            f'"{OWN} tile=1024", "fast rescoring=diffusion".',
            required=True,
        )
        if form.advanced(self.seldom):
            run_options.device(form)
        text = form.value("preset")
        if name is None or text is None:
            return
        info = get_memory_bank_info(form.dataset, name)
        form.describe("name", bank_choice.in_words(info))
        try:
            recipe = recipe_of_text(text, info.recipe)
        except RecipeError as error:
            form.mark("preset", str(error))
            return
        run_options.announce(
            form,
            f"Will use {name!r} with {text_of_recipe(recipe)}, in place of "
            f"{text_of_recipe(info.recipe)}. With another encoder it learns its "
            f"{number_of('reference', sum(info.shots.values()))} again.",
            recipe,
        )

    def run(self, ctx: Any, progress: Report) -> Outcome:
        from .... import change_recipe

        change = change_recipe(ctx.dataset, **self.arguments(ctx), progress=progress)
        facts = {"Learnt again": change.learnt_again, "Version": change.version}
        return Outcome(
            f"The memory bank {change.name!r} is used with {text_of_recipe(change.recipe)} from "
            "now on.",
            {name: value for name, value in facts.items() if value},
            [*change.left_out, *change.notes],
        )
