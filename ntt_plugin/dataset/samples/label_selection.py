"""Single labels of a collection, each named by its sample, its field and its id.

An id alone is not unique: ``clone_sample_field`` copies ids into another field, and clones and
merges of datasets copy them into other samples.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from bson import ObjectId
from fiftyone import ViewExpression
from fiftyone import ViewField as F

from ..database.fiftyone_internals import label_list


class LabelKey(NamedTuple):
    """What names a label: its sample's id, the field that holds it, and its own id."""

    sample: str
    field: str
    label: str

    @classmethod
    def of(cls, named: Any) -> LabelKey:
        """The key of anything with a ``sample``, ``field`` and ``label``, as a ``Provenance``."""
        return cls(str(named.sample), str(named.field), str(named.label))

    def to_dict(self) -> dict[str, str]:
        """The label as FiftyOne's stages and selections name it."""
        return {"sample_id": self.sample, "field": self.field, "label_id": self.label}


def labels_in(samples: Any, field: str, of: str = "id") -> list[LabelKey]:
    """The labels that a field of a collection holds, in order.

    Args:
        samples: a dataset or view; in patches of labels a field holds one label, in those of an
            evaluation a list.
        field: a field of labels.
        of: what holds the id of a label's sample; ``sample_id`` in a patches view.
    """
    columns = samples.values([of, _ids_in(samples, field)])
    return [
        LabelKey(sample, field, label)
        for sample, held in zip(*columns, strict=True)
        for label in (held if isinstance(held, list) else [held])
        if label is not None
    ]


def select_labels(samples: Any, labels: Iterable[LabelKey]) -> Any:
    """A view of these labels alone, in their samples; empty without labels.

    ``samples`` is a dataset or view that is not grouped.
    """
    keys = list(dict.fromkeys(labels))
    if not keys:
        return samples.select([])
    chosen = samples.select_labels(labels=[key.to_dict() for key in keys])
    for field, of_field in _by_field(keys).items():
        # ``select_labels`` looks for each id in all of the samples.
        if _are_ambiguous(chosen, field, of_field):
            chosen = chosen.filter_labels(field, _is_one_of(of_field), only_matches=False)
    return chosen


def exclude_labels(samples: Any, labels: Iterable[LabelKey]) -> Any:
    """All samples, without these labels."""
    for field, of_field in _by_field(labels).items():
        if _are_ambiguous(samples, field, of_field):
            condition = ~_is_one_of(of_field)
        else:
            condition = ~F("_id").is_in([ObjectId(key.label) for key in of_field])
        samples = samples.filter_labels(field, condition, only_matches=False)
    return samples


def _by_field(labels: Iterable[LabelKey]) -> Mapping[str, list[LabelKey]]:
    found: dict[str, list[LabelKey]] = defaultdict(list)
    for key in labels:
        found[key.field].append(key)
    return found


def _are_ambiguous(samples: Any, field: str, keys: Iterable[LabelKey]) -> bool:
    """Whether labels in other samples have the ids of some of these labels too."""
    wanted = {key.label for key in keys}
    found = samples.values(_ids_in(samples, field), unwind=True)
    held = Counter(label for label in found if label in wanted)
    return max(held.values(), default=0) > 1


def _ids_in(samples: Any, field: str) -> str:
    many = label_list(samples.get_field(field).document_type)
    return f"{field}.{many}.id" if many else f"{field}.id"


def _is_one_of(keys: Iterable[LabelKey]) -> ViewExpression:
    pairs = [[ObjectId(key.sample), ObjectId(key.label)] for key in keys]
    return ViewExpression({"$in": [[F("$_id"), F("_id")], pairs]})
