"""Samples that FiftyOne cannot load, because a label in them is not made as labels are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...errors import DatasetError


def load_sample(view: Any, sample_id: str) -> Any:
    """A sample of a view.

    Raises:
        KeyError: the view does not hold it any more.
        DatasetError: FiftyOne cannot load it.
    """
    try:
        return view[sample_id]
    except ValueError as error:
        raise _refusal(sample_id, error) from error


def load_samples(view: Any) -> Iterator[Any]:
    """The samples of a view one by one.

    Raises:
        DatasetError: FiftyOne cannot load the next one.
    """
    samples, loaded = iter(view.iter_samples()), 0
    while True:
        try:
            sample = next(samples)
        except StopIteration:
            return
        except ValueError as error:
            raise _refusal(view.values("id")[loaded], error) from error
        loaded += 1
        yield sample


def _refusal(sample_id: str, error: ValueError) -> DatasetError:
    # FiftyOne's own sentence blames the view; what raised it names the value.
    return DatasetError(
        f"FiftyOne cannot load the sample {sample_id} ({error.__cause__ or error}). Correct that "
        "value in the database, or delete the sample or the field."
    )
