"""What the tests of bad input share: rows of the table, refusals, and what must not be lost."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest

from ntt_plugin.dataset.banks.banks import list_memory_banks, load_memory_bank
from ntt_plugin.errors import NttError

_Test = TypeVar("_Test", bound=Callable[..., None])


def row(name: str) -> Callable[[_Test], _Test]:
    """Say which row of the table in docs/bad_input.md a test holds true."""

    def carries(test: _Test) -> _Test:
        return test

    return carries


@contextmanager
def refused(*words: str) -> Iterator[None]:
    """What happens inside is refused by an error of ours that holds all these words."""
    with pytest.raises(NttError) as caught:
        yield
    missing = [word for word in words if word not in str(caught.value)]
    assert not missing, f"{missing} not in: {caught.value}"


def everything_in(dataset: Any) -> dict[str, Any]:
    """The fields, the labels of each sample, and the bytes of each bank."""
    labels = {}
    for sample in dataset:
        for field in ("ground_truth", "before"):
            found = sample[field].detections if sample[field] else None
            labels[sample.id, field] = found and [
                (label.id, label.label, label.bounding_box, label.mask.tobytes())
                for label in found
                if label.mask is not None
            ]
    banks = {
        name: load_memory_bank(dataset, name).to_bytes() for name in list_memory_banks(dataset)
    }
    return {"fields": set(dataset.get_field_schema()), "labels": labels, "banks": banks}
