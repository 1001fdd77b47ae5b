"""Operators: show and clear the cached proposals."""

from __future__ import annotations

from typing import Any

import fiftyone.operators.types as types

from ...forms.fields import Form
from ...runtime.operator import NttOperator
from ...runtime.progress import Report
from ...runtime.result_page import Outcome
from ...text import number_of


class GetProposalsInfo(NttOperator):
    """Form of ``get_proposals_info``."""

    operator_name = "get_proposals_info"
    title = "Get proposals info"
    about = (
        "Show where proposals are kept, how many, and how much room they take. Use it "
        "before you clear them, or to see what was computed ahead."
    )
    icon = "storage"
    risk = types.RiskLevel.LOW
    submit = "Show"
    doing = "Looking"

    def build_form(self, form: Form) -> None:
        """Say what will be shown."""
        form.notice("will_do", "Will show what is kept on this machine, of all datasets.")

    def run(self, ctx: Any, progress: Report) -> Outcome:
        from .... import get_proposals_info

        info = get_proposals_info()
        facts = {
            "Folder": info.folder,
            "Size": _megabytes(info.bytes),
            "At most": f"{_megabytes(info.max_bytes)}; what was used longest ago goes first",
            "Oldest use": _time(info.oldest),
            "Latest use": _time(info.newest),
        }
        return Outcome(
            f"Kept: {_sets_of_proposals(info.entries)}.",
            {name: value for name, value in facts.items() if value},
        )


def _sets_of_proposals(number: int) -> str:
    """Number of cached proposals in words; an image can have several, by different networks."""
    return f"{number_of('set', number)} of proposals, one for each image and preset"


def _megabytes(size: int) -> str:
    """Bytes as people say them."""
    return f"{size / 1e6:,.1f} MB"


def _time(when: Any) -> str:
    return "" if when is None else when.isoformat(sep=" ", timespec="minutes")


class ClearProposals(NttOperator):
    """Form of ``clear_proposals``."""

    operator_name = "clear_proposals"
    title = "Clear proposals"
    about = (
        "Remove all kept proposals from this machine. Use it to get the room back; labels and "
        "memory banks stay, and segmenting computes proposals again."
    )
    icon = "cleaning_services"
    risk = types.RiskLevel.HIGH
    submit = "Clear"
    doing = "Clearing"

    def build_form(self, form: Form) -> None:
        """Say what will be removed."""
        from .... import get_proposals_info

        info = get_proposals_info()
        form.notice(
            "will_do",
            f"Will remove {_sets_of_proposals(info.entries)} ({_megabytes(info.bytes)} in all), of "
            f"all datasets, from {info.folder}.",
            types.Warning,
        )
        form.confirm("Remove them from this machine")

    def run(self, ctx: Any, progress: Report) -> Outcome:
        from .... import clear_proposals

        return Outcome(f"Removed: {_sets_of_proposals(clear_proposals())}.")
