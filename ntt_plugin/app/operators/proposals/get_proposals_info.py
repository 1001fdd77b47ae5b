"""Operator: show the size of the cache of proposals."""

from __future__ import annotations

from typing import Any

import fiftyone.operators.types as types

from ...forms import fields
from ...runtime.operator import NttOperator
from ...runtime.progress import Report
from ...runtime.result_page import Outcome
from ...text import number_of


class GetProposalsInfo(NttOperator):
    """Form of ``get_proposals_info``."""

    uses = "get_proposals_info"
    operator_name = "get_proposals_info"
    title = "Get proposals info"
    about = (
        "Show where proposals are kept, how many, and how much room they take. Use it "
        "before you clear them, or to see what was computed ahead."
    )
    icon = "storage"
    risk = types.RiskLevel.LOW
    parameters = ()
    submit = "Show"
    doing = "Looking"

    def form(self, ctx: Any, inputs: types.Object) -> None:
        """Say what will be shown."""
        fields.notice(inputs, "will_do", "Will show what is kept on this machine, of all datasets.")

    def run(self, ctx: Any, progress: Report) -> Outcome:
        from .... import get_proposals_info

        info = get_proposals_info()
        facts = {
            "Folder": info.folder,
            "Size": megabytes(info.bytes),
            "At most": f"{megabytes(info.max_bytes)}; what was used longest ago goes first",
            "Oldest use": _time(info.oldest),
            "Latest use": _time(info.newest),
        }
        return Outcome(
            f"Kept: {sets_of_proposals(info.entries)}.",
            {name: value for name, value in facts.items() if value},
        )


def sets_of_proposals(number: int) -> str:
    """Number of cached proposals in words; an image can have several, by different networks."""
    return f"{number_of('set', number)} of proposals, one for each image and preset"


def megabytes(size: int) -> str:
    """Bytes as people say them."""
    return f"{size / 1e6:,.1f} MB"


def _time(when: Any) -> str:
    return "" if when is None else when.isoformat(sep=" ", timespec="minutes")
