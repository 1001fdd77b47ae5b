"""The items of a run: samples that can be worked on, and at once the results of all others."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from typing import Any

import fiftyone as fo
import numpy as np

from ...engine.images.load import shown_size
from ...engine.typing import Array
from ...errors import DatasetError
from ...worker.labels.kept_labels import KEPT
from ...worker.labels.label_bytes import encode_mask
from ...worker.messages import Item, Result, SampleError
from ..labels.overlap import outline
from ..labels.review_marks import REJECTED, REVIEW
from ..runtime.work import Work
from ..samples.checks import quoted
from ..samples.fetching import each_fetched, fetch_documents, fetch_samples, in_batches
from .writer import FieldWriter, FilledError

Content = Callable[[Sequence[str]], Mapping[str, Any]]
"""What a task needs of some samples beside their images, by id: a pair of what the item carries
and notes on the sample, or an exception that fails it."""


def each_result(
    work: Work, writer: FieldWriter, sample_ids: Sequence[str], content: Content | None
) -> Generator[Result, None, None]:
    """A result for each sample; those that are gone or filled meanwhile are not worked on."""
    known: deque[Result] = deque()

    def items(some: Sequence[str]) -> list[Item]:
        found, results = _items(writer, some, content)
        known.extend(results)
        return found

    with closing(work.results(in_batches(items, sample_ids))) as results:
        for result in results:
            while known:
                yield known.popleft()
            yield result
    yield from known


def _items(
    writer: FieldWriter, sample_ids: Sequence[str], content: Content | None
) -> tuple[list[Item], list[Result]]:
    writer.lock.require()
    field = writer.field
    wanted = {"filepath": 1, **{f"{field}.{name}": 1 for name in ("writer", KEPT, "_cls")}}
    found = fetch_documents(writer.dataset, wanted, sample_ids)
    contents = content(list(found)) if content is not None else {}
    peoples = [key for key, entry in found.items() if (entry.get(field) or {}).get(KEPT)]
    kept = _kept_labels(writer.dataset, field, peoples) if peoples else {}
    items, known = [], []
    for sample_id in sample_ids:
        carried = contents.get(sample_id, (None, ()))
        item = _item(writer, sample_id, found.get(sample_id), carried, kept.get(sample_id))
        if isinstance(item, Item):
            items.append(item)
        else:
            filepath = found.get(sample_id, {}).get("filepath")
            known.append(Result(sample_id, str(filepath or ""), error=item))
    return items, known


def _item(
    writer: FieldWriter,
    sample_id: str,
    document: Mapping[str, Any] | None,
    carried: Any,
    kept: list[dict[str, Any]] | Exception | None,
) -> Item | Exception:
    """A sample's item, or why it cannot be worked on."""
    if document is None:
        return LookupError("The sample was deleted.")
    filepath = document.get("filepath")
    if not isinstance(filepath, str):
        return SampleError(f"Its filepath is {quoted(filepath)}, which is no path.")
    if not writer.is_replaceable(document.get(writer.field)):
        return FilledError()
    if isinstance(carried, Exception):
        return carried
    if isinstance(kept, Exception):
        return kept
    run = None if isinstance(writer.run, str) else writer.run.get(sample_id)
    content, notes = carried
    return Item(sample_id, filepath, run, content, notes, kept)


def _kept_labels(
    dataset: Any, field: str, sample_ids: Sequence[str]
) -> dict[str, list[dict[str, Any]] | Exception]:
    """The labels that stay in some samples, by id; an error for a sample that cannot be read."""

    def kept(_: str, sample: Any) -> list[dict[str, Any]]:
        size = shown_size(sample.filepath)
        labels = sample[field].detections if sample[field] else []
        return [_described(label, size) for label in labels]

    return each_fetched(fetch_samples(dataset, [field], sample_ids), kept)


def _described(label: fo.Detection, size: tuple[int, int]) -> dict[str, Any]:
    try:
        shape = outline(label, size)
        mask, box = shape.mask, [int(edge) for edge in shape.window]
    except DatasetError:
        mask, box = _instead_of_mask(label, size)
    return {
        "label": label.label,
        "box": box,
        "mask": encode_mask(np.ascontiguousarray(mask)),
        "rejected": getattr(label, REVIEW, None) == REJECTED,
    }


def _instead_of_mask(label: fo.Detection, size: tuple[int, int]) -> tuple[Array, list[int]]:
    """A label's whole box where its mask cannot be read; else it covers nothing, but it stays."""
    try:
        if label.has_mask:
            boxed = fo.Detection(label=label.label or "-", bounding_box=label.bounding_box)
            shape = outline(boxed, size)
            return shape.mask, [int(edge) for edge in shape.window]
    except DatasetError:
        pass
    return np.zeros((1, 1), dtype=bool), [0, 0, 1, 1]
