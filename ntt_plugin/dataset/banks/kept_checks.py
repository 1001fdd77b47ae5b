"""What checking references found, kept with their dataset by reference id, as a custom run.

Not with a bank: ids stay as they are when a bank is renamed, changed, merged or duplicated.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from ..database import custom_runs
from ..database.locks import RunLock

METHOD = "ntt_reference_checks"
_KEY = "ntt_reference_checks"
# Some 80 bytes each; those of references that are long gone go first.
_MOST_KEPT = 20_000
# Keeping takes a moment; hours of cutting that led to it would be lost.
_PATIENCE = 10.0


@dataclass(frozen=True)
class KeptCheck:
    """What was found of one reference.

    Attributes:
        pixels: of its mask.
        recut_iou: intersection over union of its mask and what the segmenter cuts out of its box.
    """

    pixels: int
    recut_iou: float


def read_checks(dataset: Any) -> dict[str, KeptCheck]:
    """What is kept with a dataset, by reference id, whichever process found it; none if damaged."""
    try:
        results = custom_runs.read(dataset, _KEY) or {}
        return {
            identity: KeptCheck(int(pixels), float(iou))
            for identity, (pixels, iou) in results.get("checks", {}).items()
        }
    except (AttributeError, TypeError, ValueError):
        # To be found again by another check.
        return {}


def checks_state(dataset: Any) -> Hashable:
    """An id that changes whenever checks are kept, by whichever process; reads none of them."""
    document = custom_runs.document_of(dataset, _KEY)
    return None if document is None or not document.results else document.results.grid_id


def keep_checks(dataset: Any, found: Mapping[str, KeptCheck]) -> None:
    """Keep what was found of some references, beside what is kept of others.

    Raises:
        DatasetError: another process keeps such results for too long, or deleted the dataset.
    """
    with _ChecksLock(dataset, _KEY, _PATIENCE):
        kept = {
            identity: c for identity, c in read_checks(dataset).items() if identity not in found
        }
        newest = list((kept | dict(found)).items())[-_MOST_KEPT:]
        custom_runs.catch_up(dataset)
        if not dataset.has_run(_KEY):
            config = dataset.init_run()
            config.method = METHOD
            dataset.register_run(_KEY, config)
        custom_runs.replace(
            dataset, _KEY, checks={name: [check.pixels, check.recut_iou] for name, check in newest}
        )


class _ChecksLock(RunLock):
    def _refusal(self, holder: dict[str, Any] | None) -> str:
        return (
            "Another process is keeping what it found of references at this moment; check the "
            "references again when it has ended."
        )
