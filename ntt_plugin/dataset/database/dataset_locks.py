"""The locks of a bank's name, of a dataset's fields and of an evaluation's key."""

from __future__ import annotations

from typing import Any

from .locks import RunLock

_SCHEMA_PATIENCE = 60.0


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


class SchemaLock(RunLock):
    """Lock of a dataset's list of fields and runs, held briefly.

    FiftyOne writes the whole list of fields for each field that is added, so that of two
    processes that add different ones at the same moment one loses its own. Threads of a process
    share what it knows of a dataset, which is read anew under the lock.
    """

    def __init__(self, dataset: Any) -> None:
        """Name the lock; it is taken by ``with``."""
        # No field has a slash in its name.
        super().__init__(dataset, "schema/fields", _SCHEMA_PATIENCE)
        self._where = f"the fields of {dataset.name!r}"

    def _refusal(self, holder: dict[str, Any] | None) -> str:
        by = ""
        if holder is not None:
            by = f" (process {holder['pid']} of {holder['user']} on {holder['host']})"
        return (
            f"Another process{by} has been changing {self._where} for a minute; start again when "
            "it has ended. If it is dead, that is in two minutes."
        )


class EvaluationLock(RunLock):
    """The lock of an evaluation's name, held while it is computed and written.

    FiftyOne takes away the former evaluation's fields and record first. Two at the same moment
    under one name took them away from each other, and left a dataset that could not be loaded.
    """

    def __init__(self, dataset: Any, eval_key: str) -> None:
        """Name the lock; it is taken by ``with``."""
        # No field has a slash in its name.
        super().__init__(dataset, f"evaluation/{eval_key}")
        self._where = f"the evaluation {eval_key!r} of {dataset.name!r}"

    def _refusal(self, holder: dict[str, Any] | None) -> str:
        if holder is None:
            return f"Another run has just ended on {self._where}; start this one again."
        return (
            f"Another {self._where.removeprefix('the ')} is running (process {holder['pid']} of "
            f"{holder['user']} on {holder['host']}). Wait for its end and evaluate again, or "
            "choose another name. If it is dead, start again in two minutes."
        )
