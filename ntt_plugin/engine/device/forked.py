"""Tell a process that was forked after torch computed in its parent that it cannot compute."""

from __future__ import annotations

import os

import torch

from ...errors import RecipeError
from .threads import usual_threads

_ran_in: int | None = None
"""The process that computed last; a forked child inherits its parent's."""


def require_own_process(device: torch.device) -> None:
    """Make sure that torch can compute in this process, and keep in mind that it did.

    The threads of torch's parallel operations are not copied by a fork, and the child waits for
    them for ever. With one thread, as in the workers of torch's ``DataLoader``, it computes.

    Args:
        device: where it computes.

    Raises:
        RecipeError: torch computed in this process's parent before it was forked.
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
