"""``torch.compile`` with a fallback to the plain function."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Generic, ParamSpec, TypeVar

import torch

from .batching import is_out_of_memory

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Compiled(Generic[Arguments, Result]):
    """A function compiled on its first call.

    If compilation fails, the plain function is used from then on and one warning gives the reason.
    """

    def __init__(self, function: Callable[Arguments, Result]) -> None:
        """Wrap a function of tensors."""
        self._plain = function
        self._fast: Callable[Arguments, Result] | None = torch.compile(function)

    def __call__(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        """Call the function."""
        if self._fast is not None:
            try:
                return self._fast(*args, **kwargs)
            # Each part of a compiler has errors of its own, down to those of a C++ compiler. If
            # it is the function's own, it comes again below.
            except Exception as error:
                if is_out_of_memory(error):
                    raise
                reason = next(iter(str(error).splitlines()), type(error).__name__)
            self._fast = None
            warnings.warn(
                f"torch.compile does not work here ({reason}); going on without it.", stacklevel=2
            )
        return self._plain(*args, **kwargs)
