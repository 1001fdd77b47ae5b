"""Entry of the FiftyOne plugin `@ntt/no-time-to-train`.

FiftyOne runs this file at every registry request, under a module name of its own:
keep it light, and import relatively.
"""

from __future__ import annotations


def register(plugin: object) -> None:
    """Register the plugin's operators and panels; there are none yet, the SDK is `ntt_plugin`.

    Args:
        plugin: FiftyOne's plugin context.
    """
