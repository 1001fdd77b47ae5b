"""Operator: export a memory bank to a file."""

from __future__ import annotations

from typing import Any

import fiftyone.operators.types as types

from ....errors import DatasetError
from ...forms import fields
from ...runtime.operator import NttOperator
from ...runtime.progress import Report
from ...runtime.result_page import Outcome


class ExportMemoryBank(NttOperator):
    """Form of ``export_memory_bank``."""

    uses = "export_memory_bank"
    operator_name = "export_memory_bank"
    title = "Export memory bank"
    about = (
        "Write a memory bank to a file. Use it to keep a bank, to hand it on, or to use it on "
        "another machine; it holds features and names, no images."
    )
    icon = "file_upload"
    risk = types.RiskLevel.MEDIUM
    parameters = ("name", "path", "overwrite")
    submit = "Export"
    doing = "Exporting"

    def form(self, ctx: Any, inputs: types.Object) -> None:
        from ....dataset.banks.files import SUFFIX, export_path
        from ...forms import bank_choice

        name = bank_choice.bank_of_dataset(ctx, inputs)
        field = inputs.str(
            "path",
            required=True,
            label="File or folder",
            description=f"On the machine that FiftyOne runs on: a name that ends in {SUFFIX}, or "
            "a folder to write the bank into under its own name.",
        )
        path = fields.value_of(ctx, "path")
        if name is None or path is None:
            return
        try:
            file = export_path(name, path)
        except DatasetError as error:
            fields.mark(field, str(error))
            return
        if file.exists():
            fields.overwrite(ctx, inputs, f"There is a file {file} already.")
        else:
            fields.notice(inputs, "will_do", f"Will write {file}.")

    def run(self, ctx: Any, progress: Report) -> Outcome:
        from .... import export_memory_bank

        arguments = self.arguments(ctx)
        file = export_memory_bank(ctx.dataset, **arguments)
        return Outcome(
            f"The memory bank {arguments['name']!r} is in {file}.",
            {"File": str(file), "Bytes": file.stat().st_size},
        )
