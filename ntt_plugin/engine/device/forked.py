"""Detection of processes forked after torch computed in their parent, where torch hangs."""

from __future__ import annotations

import os

import torch

from ...errors import RecipeError
from .threads import usual_threads

_ran_in: int | None = None
"""The process that computed last; a forked child inherits its parent's."""


def require_own_process(device: torch.device) -> None:
    """Raise if torch would hang in this process; else record that it computed here.

    A fork does not copy torch's thread pool, and the child waits for it forever. With a single
    thread, as in workers of a ``DataLoader``, there is no pool to wait for.

    Args:
        device: device to compute on.

    Raises:
        RecipeError: this process was forked after torch computed in its parent.
    """
    global _ran_in
    here = os.getpid()
    forked = _ran_in is not None and _ran_in != here
    if forked and (device.type != "cpu" or usual_threads() > 1):
        raise RecipeError(
            f"This process ({here}) was forked from one in which networks ran ({_ran_in}), and "
            "torch would wait for its threads for ever. Start processes by 'spawn' instead: "
            'multiprocessing.get_context("spawn"); or compute with one thread in them: '
            "torch.set_num_threads(1)."
        )
    _ran_in = here
