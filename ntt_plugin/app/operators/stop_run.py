"""Operator behind the button Stop in the window of a live run."""

from __future__ import annotations

from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ..runtime.progress import STOP_OPERATOR, stop_run


class StopRun(foo.Operator):  # type: ignore[misc]
    """Stops a live run of this server; what it has written stays."""

    operator_name = STOP_OPERATOR

    @property
    def config(self) -> foo.OperatorConfig:
        """FiftyOne's description of the operator."""
        return foo.OperatorConfig(
            name=self.operator_name,
            label="Stop run",
            description="Stop a live run; what it has written stays. The button Stop calls it.",
            unlisted=True,
            risk_level=types.RiskLevel.LOW,
        )

    def execute(self, ctx: Any) -> dict[str, bool]:
        """Stop the run that the parameter ``run`` names.

        Returns:
            Whether there is such a run.
        """
        run = ctx.params.get("run")
        return {"stopped": isinstance(run, str) and stop_run(run)}
