"""Entry of the FiftyOne plugin `@ntt/no-time-to-train`.

FiftyOne runs this file at every registry request, under a module name of its own:
keep it light, and import relatively.
"""

from __future__ import annotations

from typing import Any


def register(plugin: Any) -> None:
    """Register the plugin's operators and its panel.

    Args:
        plugin: FiftyOne's plugin context.
    """
    # Here, not above: whoever imports this file for something else needs no FiftyOne.
    from .ntt_plugin.app.operators import OPERATORS
    from .ntt_plugin.app.operators.stop_run import StopRun
    from .ntt_plugin.app.panel.panel import MemoryBanks

    for operator in (*OPERATORS, StopRun):
        plugin.register(operator)
    plugin.register(MemoryBanks)
