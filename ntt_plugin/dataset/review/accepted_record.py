"""How labels and their copies were when they were accepted, kept with the dataset.

Another digest tells later that a label was corrected, or that a person changed its copy. Neither
the labels nor their copies hold anything of this.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from typing import Any, NamedTuple

from bson import ObjectId

from ..database.shared_results import change_results, shared_results

METHOD = "ntt_accepted"
_PREFIX = "ntt_accepted_"

# Bytes: a label's id, the digest of the label, the digest of its copy.
_ID, _DIGEST = 12, 6
_ENTRY = _ID + 2 * _DIGEST

_AT_ONCE = 5000


class Digests(NamedTuple):
    """Digests of an accepted label and of its copy, as ``label_digest`` gives them."""

    label: bytes
    copy: bytes


class AcceptedRecord:
    """The labels of one field that were accepted into another."""

    def __init__(self, dataset: Any, label_field: str, into: str) -> None:
        """Read what is kept.

        Raises:
            DatasetError: it is damaged.
        """
        self._dataset, self._field, self._key = dataset, label_field, f"{_PREFIX}{into}"
        self._config, self._born = {"into": into}, _born(dataset, into)
        self._kept: dict[str, str] = self._of_this_field(shared_results(dataset, self._key))
        self._new: dict[str, dict[str, Digests]] = {}
        self._count = 0

    def of_sample(self, sample_id: str) -> dict[str, Digests]:
        """What is known of a sample's labels, by their ids."""
        return _read(self._kept.get(sample_id, "")) | self._new.get(sample_id, {})

    def add(self, sample_id: str, label_id: str, digests: Digests) -> None:
        """Remember a label that was accepted; now and then what is new is saved."""
        self._new.setdefault(sample_id, {})[label_id] = digests
        self._count += 1
        if self._count >= _AT_ONCE:
            self.save()

    def save(self) -> None:
        """Keep what is new with the dataset.

        Raises:
            DatasetError: what is kept is damaged, or others are changing it again and again.
        """
        if not self._new:
            return

        def edit(results: dict[str, Any]) -> None:
            kept = self._of_this_field(results)
            for sample_id, labels in self._new.items():
                kept[sample_id] = _packed(_read(kept.get(sample_id, "")) | labels)
            self._kept = kept

        change_results(self._dataset, self._key, METHOD, self._config, edit)
        self._new, self._count = {}, 0

    def _of_this_field(self, results: dict[str, Any]) -> dict[str, str]:
        """What is kept of the reviewed field; nothing that was of a deleted field of that name."""
        if results.get("born") != self._born:
            results.clear()
            results.update(born=self._born, labels={})
        kept: dict[str, str] = results["labels"].setdefault(self._field, {})
        return kept


def _born(dataset: Any, field: str) -> str:
    """When a field was made; it tells fields of one name apart."""
    made = dataset.get_field(field).created_at
    return made.isoformat(timespec="milliseconds") if made else ""


def _packed(labels: dict[str, Digests]) -> str:
    entries = (ObjectId(key).binary + one.label + one.copy for key, one in labels.items())
    return b64encode(b"".join(entries)).decode("ascii")


def _read(text: str) -> dict[str, Digests]:
    try:
        packed = b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error):
        return {}
    entries = (packed[at : at + _ENTRY] for at in range(0, len(packed) - _ENTRY + 1, _ENTRY))
    return {
        str(ObjectId(one[:_ID])): Digests(one[_ID : _ID + _DIGEST], one[_ID + _DIGEST :])
        for one in entries
    }
