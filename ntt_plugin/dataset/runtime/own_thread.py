"""A thread for something short that computes, in a process whose threads live on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def in_own_thread(call: Callable[[], T]) -> T:
    """Call something in a thread that ends with it.

    Torch starts threads for each thread that computes on a processor, and they stay as long as
    that one does. Once they are more than the processors, every operation waits asleep for its
    own: after one product in a thread that lived on, as those of the App's server do, an image by
    the preset ``tiny`` took 1.7 times as long (two cores).

    Args:
        call: something short, for nothing can stop it.

    Returns:
        What it returns.

    Raises:
        Exception: what it raises.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="ntt short") as thread:
        return thread.submit(call).result()
