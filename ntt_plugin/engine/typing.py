"""Types that many modules share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]
"""An array of any shape and dtype; docstrings tell which."""

Progress: TypeAlias = Callable[[int, int], None]
"""Is called with the number of parts that are done, and of all."""
