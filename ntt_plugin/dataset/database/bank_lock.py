"""One change at a time of the banks of a name, whichever thread, process or host makes it."""

from __future__ import annotations

from typing import Any

from .locks import RunLock


class BankLock(RunLock):
    """The lock of a bank's name in a dataset, held from ``with`` to its end."""

    def __init__(self, dataset: Any, name: str, patience: float = 0.0) -> None:
        """Create the lock; ``with`` acquires it.

        Args:
            dataset: the dataset.
            name: the bank's name.
            patience: seconds to wait for another process.
        """
        # No field has a slash in its name.
        super().__init__(dataset, f"bank/{name}", patience)
        self._where = f"the memory bank {name!r} of {dataset.name!r}"

    def _refusal(self, holder: dict[str, Any] | None) -> str:
        by = ""
        if holder is not None:
            by = f" (process {holder['pid']} of {holder['user']} on {holder['host']})"
        return (
            f"Another process{by} is changing {self._where} at this moment; try again when it "
            "has ended. If it is dead, that is in two minutes."
        )
