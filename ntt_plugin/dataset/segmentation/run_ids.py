"""A run's id where it depends on what each sample holds; and what a run is going to take away."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping

from ..labels.label_field import RunIds
from ..samples.by_sample import BytesBySample

EVERYTHING = "everything"
Overwrite = bool | str
"""False; True, which leaves what people made or judged; or ``everything``."""

_BYTES = 8


class RunIdBySample(Mapping[str, str]):
    """A run's id for each of many samples, in order of the samples' ids; 20 bytes each."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Keep pairs of a sample's id and a run's, 16 hex digits."""
        self._runs = BytesBySample(((key, bytes.fromhex(run)) for key, run in pairs), _BYTES)

    def __getitem__(self, sample_id: str) -> str:
        return self._runs[sample_id].hex()

    def __iter__(self) -> Iterator[str]:
        return iter(self._runs)

    def __len__(self) -> int:
        return len(self._runs)

    @property
    def packed(self) -> bytes:
        """All of it; equal where all ids are."""
        return self._runs.packed


def intent_of(run: RunIds, overwrite: Overwrite) -> str | None:
    """What a run is going to take away, for whoever goes on where it was killed."""
    if not overwrite:
        return None
    return f"{_work_id(run)} {EVERYTHING}" if overwrite == EVERYTHING else _work_id(run)


def _work_id(run: RunIds) -> str:
    """Id of what a run computes, independent of what its samples hold."""
    if isinstance(run, RunIdBySample):
        made_of = run.packed
    else:
        made_of = repr(run if isinstance(run, str) else sorted(run.items())).encode()
    return hashlib.sha256(made_of).hexdigest()[:16]
