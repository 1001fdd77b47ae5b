"""Operator: import a memory bank from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fiftyone.operators.types as types

from ....errors import NttError
from ...forms import fields
from ...runtime.operator import NttOperator
from ...runtime.progress import Report
from ...runtime.result_page import Outcome
from ...text import number_of


class ImportMemoryBank(NttOperator):
    """Form of ``import_memory_bank``."""

    uses = "import_memory_bank"
    operator_name = "import_memory_bank"
    title = "Import memory bank"
    about = (
        "Take a memory bank from a file into this dataset. Use it to segment with classes that "
        "were learned elsewhere. Nothing that the file names is loaded by this."
    )
    icon = "file_download"
    risk = types.RiskLevel.MEDIUM
    parameters = ("path", "name", "overwrite")
    submit = "Import"
    doing = "Importing"

    def form(self, ctx: Any, inputs: types.Object) -> None:
        from ....dataset.banks.banks import list_memory_banks
        from ....dataset.networks import networks_of
        from ...forms import bank_choice, run_options

        field = inputs.str(
            "path",
            required=True,
            label="File",
            description="A .safetensors file of a memory bank, on the machine that FiftyOne runs "
            "on.",
        )
        path = fields.value_of(ctx, "path")
        if path is None:
            return
        try:
            info = bank_choice.file_info(path)
        except NttError as error:
            fields.mark(field, str(error))
            return
        stem = Path(path).stem
        name = fields.name_field(
            ctx,
            inputs,
            "name",
            "Name",
            "What to call it here.",
            "memory bank",
            default=stem if stem.isidentifier() else None,
            required=not stem.isidentifier(),
        )
        fields.notice(inputs, "found", bank_choice.in_words(info))
        run_options.warn_of_downloads(inputs, networks_of(info.recipe))
        if name in list_memory_banks(ctx.dataset):
            fields.overwrite(ctx, inputs, f"There is a memory bank {name!r} already.")

    def run(self, ctx: Any, progress: Report) -> Outcome:
        from .... import import_memory_bank

        arguments = self.arguments(ctx)
        bank = import_memory_bank(ctx.dataset, **arguments)
        name = arguments.get("name", Path(arguments["path"]).stem)
        return Outcome(
            f"The memory bank {name!r} is in this dataset: {number_of('reference', len(bank))} of "
            f"{number_of('class', len(bank.classes))}.",
            {"Classes": ", ".join(f"{label} ({bank.shots(label)})" for label in bank.classes)},
        )
