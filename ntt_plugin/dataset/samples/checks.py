"""Checks of datasets, fields, classes, names and paths, and how names are shown in messages."""

from __future__ import annotations

import numbers
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import fiftyone as fo
from fiftyone import ViewField as F
from fiftyone.core.collections import SampleCollection

from ...errors import DatasetError
from ..database.fiftyone_internals import label_list, root_dataset

# A bank is exported under its name, and a file's name has 255 bytes at most on most machines.
_LONGEST_NAME = 200


def dataset_of(samples: Any) -> Any:
    """The dataset of a view, or the dataset itself.

    It is the view's own object, which knows each new field at once: in the App's server
    ``fo.load_dataset`` makes another one with each call.

    Raises:
        DatasetError: ``samples`` is no dataset or view, such as a dataset's name.
    """
    if isinstance(samples, SampleCollection):
        return root_dataset(samples)
    if isinstance(samples, str):
        raise DatasetError(
            f"{quoted(samples)} is a text, not a dataset; open the dataset of that name with "
            f"fo.load_dataset({quoted(samples)}) and give that, or a view of it."
        )
    what = "None" if samples is None else f"a {type(samples).__name__}"
    raise DatasetError(
        f"A dataset, or a view of one, is needed, not {what}; open a dataset with "
        "fo.load_dataset(name), and choose samples of it with dataset.select(ids)."
    )


def require_detections(samples: Any, field: str) -> None:
    """Make sure that a field of a collection holds ``fo.Detections``, as ``require_labels``."""
    require_labels(samples, field, (fo.Detections,))


def require_labels(
    samples: Any, field: str, kinds: tuple[type[fo.Label], ...] = (fo.Detections, fo.Polylines)
) -> str:
    """Make sure that a field holds lists of labels; their path, such as ``<field>.detections``.

    Raises:
        DatasetError: there is no such field, or it is of another type; names those that are.
    """
    name = dataset_of(samples).name
    schema = samples.get_field_schema(embedded_doc_type=kinds)
    if isinstance(field, str) and field in schema:
        return f"{field}.{label_list(schema[field].document_type)}"
    found = samples.get_field(field) if isinstance(field, str) and field else None
    wanted = " or ".join(kind.__name__ for kind in kinds)
    offers = f"its fields of {wanted} are {listed(schema)}" if schema else "it has none"
    problem = "has no field" if found is None else f"has no {wanted} in its field"
    raise DatasetError(f"{name!r} {problem} {quoted(field)}; {offers}.")


def require_editable(samples: Any, field: str) -> None:
    """Make sure that nobody has made a field, or its labels, read-only.

    FiftyOne keeps its own writes off such fields; those of this package go to the database.

    Raises:
        DatasetError: somebody has.
    """
    dataset = dataset_of(samples)
    found = dataset.get_field(field)
    kind = label_list(found.document_type) if hasattr(found, "document_type") else None
    for path in (field, *([f"{field}.{kind}"] if kind else [])):
        if getattr(dataset.get_field(path), "read_only", False):
            raise DatasetError(
                f"The field {path!r} of {dataset.name!r} is read-only; choose another field, or "
                "set its read_only to False and save() it."
            )


def require_classes(samples: Any, paths: Iterable[str], classes: Iterable[str] | None) -> list[str]:
    """The classes asked for, all that the labels have if None, in the order given or else sorted.

    Args:
        samples: a dataset or view, not grouped.
        paths: paths of labels, as ``require_labels`` gives them.
        classes: names of classes, or one name.

    Raises:
        DatasetError: no label is of a class, there is no label at all, or a class is no name.
    """
    paths = list(paths)
    where = f"{listed(path.rpartition('.')[0] for path in paths)} of {dataset_of(samples).name!r}"
    # A label without a name stands for no class, and a program may have stored anything as one.
    found = (label for path in paths for label in samples.distinct(f"{path}.label"))
    present = sorted({label for label in found if isinstance(label, str) and label.strip()})
    if not present:
        raise DatasetError(f"There is no label with a name in {where}.")
    if classes is None:
        return present
    wanted = as_names("classes", classes)
    if not wanted:
        raise DatasetError(f"No class was chosen; the classes in {where} are {listed(present)}.")
    unknown = [label for label in wanted if label not in present]
    if unknown:
        raise DatasetError(
            f"There is no label of class {listed(unknown)} in {where}; "
            f"its classes are {listed(present)}."
        )
    return wanted


def as_names(what: str, given: str | Iterable[str]) -> list[str]:
    """One name or several as a list, each once; ``what`` they are is for the message.

    Raises:
        DatasetError: a name is no text.
    """
    if isinstance(given, str):
        return [given]
    names = list(given) if isinstance(given, Iterable) and not isinstance(given, bytes) else [given]
    wrong = [name for name in names if not isinstance(name, str)]
    if wrong:
        raise DatasetError(
            f"{quoted(wrong[0])} in {what} is no text; give a name, or a list of names, such as "
            f'{what}=["one", "two"].'
        )
    return list(dict.fromkeys(names))


def require_name(name: str, what: str) -> None:
    """Make sure that a name can be part of a FiftyOne run key, and of a file's name.

    Raises:
        DatasetError: it cannot; says which names can.
    """
    if not isinstance(name, str) or not name.isidentifier() or name.startswith("_"):
        raise DatasetError(
            f"{quoted(name)} cannot be the name of {_a(what)}; use letters, digits and "
            "underscores, beginning with a letter."
        )
    if len(name) > _LONGEST_NAME:
        raise DatasetError(
            f"{quoted(name)} is too long for the name of {_a(what)}; use {_LONGEST_NAME} "
            "characters at most."
        )


def _a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def require_tag(tag: Any) -> None:
    """Make sure that labels can be marked with a tag and found again by it.

    Raises:
        DatasetError: they cannot.
    """
    if not isinstance(tag, str) or not tag.strip():
        raise DatasetError(
            f"The tag is {tag!r}, which is empty or no text; give a word to mark labels with."
        )
    if tag.startswith("$"):
        raise DatasetError(
            f"The tag is {quoted(tag)}; FiftyOne does not find tags again that begin with a dollar "
            "sign, so choose another."
        )


def whole_number(name: str, value: Any) -> int:
    """A whole number, Python's or numpy's, as an ``int``; its name is for the message.

    Raises:
        DatasetError: it is no whole number, or True or False.
    """
    if not is_whole(value):
        raise DatasetError(f"{name} is {quoted(value)}; it must be a whole number.")
    return int(value)


def is_number(value: object) -> bool:
    """Whether a value is a real number, Python's or numpy's; True and False are not."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def is_whole(value: object) -> bool:
    """Whether a value is a whole number, Python's or numpy's; True and False are not."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def literals(names: Iterable[str]) -> list[Any]:
    """Names for a view's expression: MongoDB would read one that begins with $ as a field."""
    return [F.literal(name) for name in names]


def listed(names: Iterable[str], most: int = 10) -> str:
    """Names in quotes with commas, cut short after ``most``; long names are cut short too."""
    names = list(names)
    text = ", ".join(quoted(name) for name in names[:most])
    return text if len(names) <= most else f"{text} and {len(names) - most} more"


def quoted(name: object, most: int = 60) -> str:
    """A name in quotes, cut short after ``most`` characters; anything else as Python shows it."""
    if not isinstance(name, str) or len(name) <= most:
        return repr(name)[: 2 * most]
    return f"{name[:most]!r}... ({len(name):,} characters)"


def as_path(text: str | Path, what: str) -> Path:
    """A path that a person gave, ``~`` replaced by the home folder; it need not exist.

    ``what`` is or will be there, for the message.

    Raises:
        DatasetError: the file system cannot have such a path, or does not let it be read.
    """
    try:
        path = Path(text).expanduser()
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return path
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DatasetError(
            f"{quoted(str(text))} cannot be the path of {what} ({reason}); give another path."
        ) from error
    return path
