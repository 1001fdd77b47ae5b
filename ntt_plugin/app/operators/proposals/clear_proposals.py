"""Operator: clear the cached proposals."""

from __future__ import annotations

from typing import Any

import fiftyone.operators.types as types

from ...forms import fields
from ...runtime.operator import NttOperator
from ...runtime.progress import Report
from ...runtime.result_page import Outcome


class ClearProposals(NttOperator):
    """Form of ``clear_proposals``."""

    uses = "clear_proposals"
    operator_name = "clear_proposals"
    title = "Clear proposals"
    about = (
        "Remove all kept proposals from this machine. Use it to get the room back; labels and "
        "memory banks stay, and segmenting computes proposals again."
    )
    icon = "cleaning_services"
    risk = types.RiskLevel.HIGH
    parameters = ()
    submit = "Clear"
    doing = "Clearing"

    def form(self, ctx: Any, inputs: types.Object) -> None:
        """Say what will be removed."""
        from .... import get_proposals_info
        from .get_proposals_info import megabytes, sets_of_proposals

        info = get_proposals_info()
        fields.notice(
            inputs,
            "will_do",
            f"Will remove {sets_of_proposals(info.entries)} ({megabytes(info.bytes)} in all), of "
            f"all datasets, from {info.folder}.",
            types.Warning,
        )
        fields.confirm(ctx, inputs, "Remove them from this machine")

    def run(self, ctx: Any, progress: Report) -> Outcome:
        from .... import clear_proposals
        from .get_proposals_info import sets_of_proposals

        return Outcome(f"Removed: {sets_of_proposals(clear_proposals())}.")
