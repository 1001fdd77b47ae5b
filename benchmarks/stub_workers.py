"""Stand-ins for workers, which sleep where networks would compute; for ``scale.py``."""

from __future__ import annotations

import os
import time
from collections import deque
from functools import cached_property

import bson
import numpy as np

from ntt_plugin.worker.labels.label_bytes import NewLabel, Stamp, field_bytes
from ntt_plugin.worker.messages import Item, Result


class Echo:
    """Gives each item back after a while; the spec is the seconds."""

    def __init__(self, spec: bytes) -> None:
        self._seconds = float(spec)
        self._items: deque[bytes] = deque()

    def submit(self, item: bytes) -> None:
        """Take an item."""
        self._items.append(item)

    def next(self) -> bytes:
        """The oldest item."""
        time.sleep(self._seconds)
        return self._items.popleft()

    def close(self) -> None:
        """Nothing is open."""


class Eating(Echo):
    """As ``Echo``, but the item ``eat`` takes memory until somebody ends it; spec: GiB at most."""

    def next(self) -> bytes:
        """The oldest item."""
        gigabytes, self._seconds = self._seconds, 0.02
        if self._items[0] == b"eat":
            eaten = []
            for _ in range(int(gigabytes * 16)):
                eaten.append(b"x" * 2**26)  # written, so that it is really taken
                time.sleep(0.05)
            time.sleep(60)
        done = super().next()
        self._seconds = gigabytes
        return done


class Labelling:
    """Gives each sample the same labels after a while, as the real handler gives its own.

    Its bank's name says how long it takes and how many: ``stub_25_100`` is 25 ms, 100 labels.
    """

    def __init__(self, spec: bytes) -> None:
        values = bson.decode(spec)
        _, milliseconds, labels = str(values["bank_name"]).split("_")
        self._seconds, self._labels = float(milliseconds) / 1000, int(labels)
        self._stamp = Stamp(**values["stamp"])
        self._items: deque[Item] = deque()
        self._facts: dict[str, object] | None = {"name": f"{os.getpid()}", "device": "none"}
        self._facts["facts"] = {}

    @cached_property
    def _document(self) -> bytes:
        y, x = np.mgrid[:64, :64]
        mask = (x - 32) ** 2 + (y - 32) ** 2 < 900
        labels = [
            NewLabel(
                "a",
                [0.1, 0.1, 0.2, 0.2],
                mask,
                0.5,
                attributes={"margin": 0.1, "proposal_iou": 0.9, "reference": "b" * 24},
            )
            for _ in range(self._labels)
        ]
        document, _ = field_bytes(labels, self._stamp, None, None)
        assert document is not None
        return document

    def submit(self, item: bytes) -> None:
        """Take an item."""
        self._items.append(Item.from_bytes(item))

    def next(self) -> bytes:
        """The labels of the oldest item."""
        document = self._document
        time.sleep(self._seconds)
        item = self._items.popleft()
        worker, self._facts = self._facts, None
        result = Result(item.sample_id, item.filepath, document, count=self._labels, worker=worker)
        return result.to_bytes()

    def close(self) -> None:
        """Nothing is open."""
