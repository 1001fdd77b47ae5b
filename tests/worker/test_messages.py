"""What goes to a worker and comes back arrives whole."""

import pytest

from ntt_plugin.errors import ImageError, NoFileHandlesError, StoreError
from ntt_plugin.worker.messages import Item, Result, SampleError


def test_items_and_results_travel_whole():
    item = Item("id", "/a.png", "run", [{"box": [0.5, 1.0]}], ["a note"])
    assert Item.from_bytes(item.to_bytes()) == item
    made = {"document": b"\x00bytes", "pngs": [b"png"], "count": 3, "notes": ["a note"]}
    result = Result("id", "/a.png", **made, from_cache=True, left_out=2, worker={"n": 1})
    assert Result.from_bytes(result.to_bytes()) == result


@pytest.mark.parametrize(
    ("sent", "arrives"),
    [
        (ImageError("odd"), SampleError("odd")),
        (KeyError(), SampleError("KeyError")),
        (MemoryError("full"), MemoryError("full")),
        (NoFileHandlesError("none left"), NoFileHandlesError("none left")),
        (StoreError("no room"), StoreError("no room")),
    ],
)
def test_an_error_arrives_as_its_kind_and_its_words(sent, arrives):
    error = Result.from_bytes(Result("id", error=sent).to_bytes()).error
    assert type(error) is type(arrives) and str(error) == str(arrives)


def test_what_is_unfinished_is_made_once_and_travels():
    made = []

    def make():
        made.append(1)
        return b"document", [b"png"]

    result = Result("id", unfinished=make, mask_bytes=100)
    assert result.size == 100
    result.finish()
    arrived = Result.from_bytes(result.to_bytes())
    assert (arrived.document, arrived.pngs, len(made)) == (b"document", [b"png"], 1)
    assert result.size == len(b"documentpng")


def test_what_cannot_be_finished_fails_its_sample():
    def make():
        raise MemoryError("no room")

    arrived = Result.from_bytes(Result("id", unfinished=make).to_bytes())
    assert arrived.document is None and isinstance(arrived.error, MemoryError)
