"""Samples whose image files changed since their labels were written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from bson import ObjectId

from ...engine.proposals.cache import image_digest
from ...errors import ImageError
from ...worker.labels.label_bytes import IMAGE
from ...worker.tasks.reading import NO_DATE, image_state
from ..database.fiftyone_internals import samples_of
from ..samples.sample_notes import SampleNote

_LOOKED_UP_AT_ONCE = 1000
_MOST_NAMED = 100
# A dataset that was copied has new dates everywhere; its files are not all read for that.
_MOST_READ = 1000


def changed_images(dataset: Any, field: str, sample_ids: Sequence[str]) -> list[SampleNote]:
    """Samples whose image file changed since their labels were written.

    Looks at sizes and dates; a file with another date and the same size is read where the digest
    of its content is known. Labels that were made of copies (``ntt.Ray(paths=...)``) tell sizes
    and digests only, labels of older versions nothing.

    Returns:
        A note for each, the first hundred by name, and one on the files that were not compared:
        past a thousand that would have to be read.
    """
    notes, count, read = [], 0, 0
    not_read = {True: 0, False: 0}  # by whether labels were made of a copy
    for sample_id, filepath, kept in _kept_states(dataset, field, sample_ids):
        now = image_state(filepath)
        state, _, digest = kept.partition("/")
        if now is None or now == state:
            continue
        if digest and now.split()[0] == state.split()[0]:
            read += 1
            if read > _MOST_READ:
                not_read[state.endswith(NO_DATE)] += 1
                continue
            if _digest(filepath) in (digest, None):
                continue
        count += 1
        if count <= _MOST_NAMED:
            notes.append(
                SampleNote(
                    sample_id,
                    filepath,
                    "its image file has changed since its labels were written; if the picture is "
                    "another one, segment this sample again with overwrite=True",
                )
            )
    if count > _MOST_NAMED:
        notes.append(SampleNote("", "", f"the image files of {count} samples have changed so"))
    for copied, which in ((False, " with new dates"), (True, "")):
        if not_read[copied]:
            those = "copies (paths=) of them" if copied else "those"
            reason = (
                f"{not_read[copied]} image files{which} were not compared with {those} that their "
                "labels were made of; if their pictures are other ones, segment them again with "
                "overwrite=True"
            )
            notes.append(SampleNote("", "", reason))
    return notes


def _digest(filepath: str) -> str | None:
    try:
        return image_digest(filepath)
    except ImageError:
        return None


def _kept_states(
    dataset: Any, field: str, sample_ids: Sequence[str]
) -> Iterator[tuple[str, str, str]]:
    path = f"{field}.{IMAGE}"
    for start in range(0, len(sample_ids), _LOOKED_UP_AT_ONCE):
        some = [ObjectId(sample_id) for sample_id in sample_ids[start : start + _LOOKED_UP_AT_ONCE]]
        for found in samples_of(dataset).find(
            {"_id": {"$in": some}, path: {"$type": "string"}}, {"filepath": 1, path: 1}
        ):
            yield str(found["_id"]), str(found.get("filepath")), found[field][IMAGE]
