"""A folder that an export wrote, replaced: its files go, those of others stay.

An export lists its files in one of its own. What is in the folder and not in that list came from
elsewhere, such as a trainer's runs or a person's notes.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from ...errors import DatasetError
from ..database.fiftyone_internals import samples_of
from ..samples.checks import quoted

LISTED = "exported_files.txt"
"""The file that lists what an export wrote: a JSON string a line, relative to the folder."""

# What versions without a list wrote.
_FORMER = ("labels", "images", "images.txt")


def listed_line(name: str) -> str:
    """A line of the list."""
    return f"{json.dumps(name)}\n"


def require_no_images(dataset: Any, folder: Path) -> None:
    """Make sure that no image of a dataset lies in a folder that is to be replaced.

    Raises:
        DatasetError: one does.
    """
    within = {"filepath": {"$regex": f"^{re.escape(str(folder) + os.sep)}"}}
    found = samples_of(dataset).find_one(within, {"filepath": 1})
    if found is not None:
        raise DatasetError(
            f"Images of {dataset.name!r} lie in {quoted(str(folder), 200)}, which is to be "
            f"replaced ({quoted(found['filepath'], 200)}); export to another folder."
        )


def replace_folder(part: Path, folder: Path) -> int:
    """Give a whole new folder the name of a former export; gives how many files of others stay.

    At each moment one of the two is whole under its name, but for the instant between them; the
    files of others are in both until the former one goes.

    Raises:
        DatasetError: a file of somebody else has the name of a new one.
    """
    former, kept = part.with_suffix(".former"), 0
    if folder.exists():
        for name in list(_others(folder)):
            if os.path.lexists(part / name):
                raise DatasetError(
                    f"{quoted(str(folder / name), 200)} was not written by an export, and a file "
                    "of this one has its name; move it, or export to another folder."
                )
            _put(folder / name, part / name)
            kept += 1
        os.replace(folder, former)
    os.replace(part, folder)
    shutil.rmtree(former, ignore_errors=True)
    return kept


def _others(folder: Path) -> Iterator[str]:
    """Names of the files that the export did not write."""
    ours = _read_list(folder)
    for name in _files(folder):
        first = Path(name).parts[0]
        mine = first in _FORMER if ours is None else name in ours
        if not mine and name not in ("data.yaml", LISTED):
            yield name


def _read_list(folder: Path) -> set[str] | None:
    """What the export wrote; None if it kept no list."""
    try:
        with open(folder / LISTED, encoding="utf-8") as file:
            return _names(file)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{quoted(str(folder / LISTED), 200)} is damaged, so nobody knows which files the "
            "export wrote; export to another folder."
        ) from error


def _names(lines: TextIO | Iterable[str]) -> set[str]:
    return {str(json.loads(line)) for line in lines}


def _files(folder: Path) -> Iterator[str]:
    """All files and links, relative to a folder; links are not followed."""
    for place, folders, files in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]
        for name in (*files, *links):
            yield Path(place, name).relative_to(folder).as_posix()


def _put(source: Path, target: Path) -> None:
    """A file in another place, too: as a link to the same bytes, or as a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)
