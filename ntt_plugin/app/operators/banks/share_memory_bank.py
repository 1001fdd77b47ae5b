"""Operators: export a memory bank to a file, import one from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ....errors import DatasetError, NttError
from ...forms.fields import Form
from ...runtime.operator import NttOperator
from ...runtime.progress import Report
from ...runtime.result_page import Outcome
from ...text import number_of


class ExportMemoryBank(NttOperator):
    """Form of ``export_memory_bank``."""

    operator_name = "export_memory_bank"
    title = "Export memory bank"
    about = (
        "Write a memory bank to a file. Use it to keep a bank, to hand it on, or to use it on "
        "another machine; it holds features and names, no images."
    )
    icon = "file_upload"
    parameters = ("name", "path", "overwrite")
    submit = "Export"
    doing = "Exporting"

    def build_form(self, form: Form) -> None:
        from ....dataset.banks.files import SUFFIX, export_path
        from ...forms import bank_choice

        name = bank_choice.bank_of_dataset(form)
        form.text(
            "path",
            "File or folder",
            f"On the machine that FiftyOne runs on: a name that ends in {SUFFIX}, or a folder to "
            "write the bank into under its own name.",
            required=True,
        )
        path = form.value("path")
        if name is None or path is None:
            return
        try:
            file = export_path(name, path)
        except DatasetError as error:
            form.mark("path", str(error))
            return
        if file.exists():
            form.overwrite(f"There is a file {file} already.")
        else:
            form.notice("will_do", f"Will write {file}.")

    def run(self, ctx: Any, progress: Report) -> Outcome:
        from .... import export_memory_bank

        arguments = self.arguments(ctx)
        file = export_memory_bank(ctx.dataset, **arguments)
        return Outcome(
            f"The memory bank {arguments['name']!r} is in {file}.",
            {"File": str(file), "Bytes": file.stat().st_size},
        )


class ImportMemoryBank(NttOperator):
    """Form of ``import_memory_bank``."""

    operator_name = "import_memory_bank"
    title = "Import memory bank"
    about = (
        "Take a memory bank from a file into this dataset. Use it to segment with classes that "
        "were learned elsewhere. Nothing that the file names is loaded by this."
    )
    icon = "file_download"
    parameters = ("path", "name", "overwrite")
    submit = "Import"
    doing = "Importing"

    def build_form(self, form: Form) -> None:
        from ....dataset.banks.banks import list_memory_banks
        from ....dataset.networks import networks_of
        from ...forms import bank_choice, run_options

        where = "A .safetensors file of a memory bank, on the machine that FiftyOne runs on."
        form.text("path", "File", where, required=True)
        path = form.value("path")
        if path is None:
            return
        try:
            info = bank_choice.file_info(path)
        except NttError as error:
            form.mark("path", str(error))
            return
        stem = Path(path).stem
        name = form.name(
            "name",
            "Name",
            "What to call it here.",
            "memory bank",
            default=stem if stem.isidentifier() else None,
            required=not stem.isidentifier(),
        )
        form.notice("found", bank_choice.in_words(info))
        run_options.warn_of_downloads(form.inputs, networks_of(info.recipe))
        if name in list_memory_banks(form.dataset):
            form.overwrite(f"There is a memory bank {name!r} already.")

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
