"""The choice of a memory bank in a form."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import fiftyone as fo
import fiftyone.operators.types as types

from ...dataset.banks.banks import get_memory_bank_info, list_memory_banks, name_of_digest
from ...dataset.banks.files import is_bank_file, read_bank_file
from ...dataset.banks.info import BankInfo, bank_info
from ...dataset.database.run_record import read_facts
from ...dataset.inspect.inventory import banks_of, datasets_with_banks
from ...dataset.samples.checks import as_path
from ...errors import DatasetError, NttError
from ..text import listed_briefly, number_of
from . import first_choice
from .fields import Form

_HOW_TO_GET_ONE = (
    "Make one with the operator Build memory bank, or bring one with Import memory bank."
)


class Maker(NamedTuple):
    """The bank that made labels as they name it, and its name now; None if there is none."""

    named: str | None
    now: str | None

    @property
    def gone(self) -> bool:
        """Whether the bank that made them was deleted, or changed after a rename."""
        return self.named is not None and self.now is None

    def offered(self, form: Form, names: list[str]) -> str | None:
        """Default of a form: the maker, another for labels without one, none if it is gone."""
        return None if self.gone else self.now or first_choice.bank(form, names)


_NOBODY = Maker(None, None)


def bank_of_dataset(
    form: Form,
    description: str = "",
    name: str = "name",
    maker: Maker = _NOBODY,
    required: bool = True,
) -> str | None:
    """Choose one of the dataset's banks, ``maker`` by default, with a notice if it is gone.

    Raises:
        DatasetError: the dataset has no bank; says how to get one.
    """
    names = list_memory_banks(form.dataset)
    if not names:
        raise no_bank(form.dataset.name)
    offered = maker.offered(form, names)
    chosen = form.choice(name, names, "Memory bank", description, offered, required)
    if chosen is None:
        tell_if_gone(form, maker)
    return chosen


def maker_of_field(dataset: Any, field: str) -> Maker:
    """The bank that a field was segmented with, followed through renames."""
    named = read_facts(dataset, field).get("bank")
    return _NOBODY if named is None else maker_of_labels(dataset, field, [named])


def maker_of_labels(dataset: Any, field: str, named: Sequence[str]) -> Maker:
    """The bank that made a field's labels, followed through renames.

    ``named`` holds the banks that the labels name as their source; it is empty for labels drawn
    by a person.
    """
    names = list_memory_banks(dataset)
    for name in named:
        if name in names:
            return Maker(name, name)
    facts = read_facts(dataset, field)
    if facts.get("bank") in named and facts.get("bank_digest"):
        return Maker(facts["bank"], name_of_digest(dataset, facts["bank_digest"]))
    return Maker(named[0], None) if named else _NOBODY


def tell_if_gone(form: Form, maker: Maker) -> None:
    """Say that the bank that made the labels is not there, if so."""
    if maker.gone:
        form.notice(
            "gone",
            f"The memory bank {maker.named!r} made these labels and is not here any more, or was "
            "renamed and changed. Choose the bank that you mean.",
            types.Warning,
        )


def thresholds_of(dataset: Any, bank: str) -> dict[str, float]:
    """Thresholds of a bank of the dataset by class; empty if the bank is gone."""
    if bank not in list_memory_banks(dataset):
        return {}
    return get_memory_bank_info(dataset, bank).thresholds


def new_name(form: Form) -> None:
    """Add the field ``new_name``: a name that no bank of the dataset has."""
    name = form.name("new_name", "New name", "Letters, digits and underscores.", "memory bank")
    if name in list_memory_banks(form.dataset):
        form.mark(
            "new_name",
            f"There is a memory bank {name!r} already; choose another name, or delete it first.",
        )


def no_bank(dataset: str) -> DatasetError:
    """The error for a dataset without banks; says how to get one."""
    return DatasetError(f"{dataset!r} has no memory bank yet. {_HOW_TO_GET_ONE}")


def in_words(info: BankInfo) -> str:
    """A bank in a sentence."""
    shots = [f"{label} ({count})" for label, count in info.shots.items()]
    return (
        f"{info.name}: {number_of('reference', sum(info.shots.values()))} of "
        f"{number_of('class', len(info.shots))}, "
        f"{listed_briefly(shots)}; made with the preset {info.recipe.name}."
    )


def any_bank(form: Form) -> BankInfo | None:
    """Choose a bank of this dataset, of another one, or a file; None while none is chosen."""
    here = form.dataset.name
    homes = [name for name in datasets_with_banks() if name != here]
    home = form.value("bank_dataset", here)
    names = banks_of(home)
    first = first_choice.bank(form, names) if home == here else next(iter(names), None)
    view = types.AutocompleteView(allow_user_input=True)
    for name in names:
        view.add_choice(name, label=name)
    field = form.inputs.str(
        "bank",
        required=form.must_be_given("bank", True, first),
        label="Memory bank",
        description="A bank's name, or the path of a bank file (.safetensors).",
        view=view,
    )
    if homes or home != here:
        words = {here: f"{here} (this dataset)"} | {name: name for name in homes}
        kept_by = "The dataset that keeps the bank."
        form.choice("bank_dataset", words, "Bank's dataset", kept_by, here, required=False)
    if home not in (here, *homes):
        return None
    if names:
        field.default = first
    elif not form.value("bank"):
        where = " Or choose another dataset that keeps banks." if homes else ""
        form.notice(
            "no_bank",
            f"{home!r} has no memory bank yet. {_HOW_TO_GET_ONE}{where} Or give a file's path.",
            types.Warning,
        )
    chosen = form.at_first("bank", first)
    if home != here and is_bank_file(chosen):
        form.mark(
            "bank_dataset",
            f"{chosen!r} is a file, which no dataset keeps; choose {here!r}, or give a name.",
        )
        return None
    return _read(form, home, chosen)


def _read(form: Form, home: str, chosen: str | None) -> BankInfo | None:
    if chosen is None:
        return None
    try:
        if is_bank_file(chosen):
            info = file_info(chosen)
        else:
            info = get_memory_bank_info(fo.load_dataset(home), chosen)
    except NttError as error:
        form.mark("bank", str(error))
        return None
    if not info.shots:
        form.mark("bank", f"{chosen!r} is empty; choose another, or build it anew.")
        return None
    form.describe("bank", in_words(info))
    return info


def file_info(path: str | Path) -> BankInfo:
    """Summary of a bank file, cached until the file changes.

    Raises:
        DatasetError: there can be no such path.
        BankError: the file is missing, damaged or not a memory bank's.
    """
    file = as_path(path, "a memory bank")
    changed = file.stat().st_mtime_ns if file.is_file() else 0
    return _file_info(file, changed)


@lru_cache(maxsize=8)
def _file_info(file: Path, changed: int) -> BankInfo:
    bank = read_bank_file(file)
    return bank_info(file.stem, bank, file.stat().st_size)
