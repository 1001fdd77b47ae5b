"""Masks as PNG files: their folders, and the files of a sample."""

from __future__ import annotations

import contextlib
import tempfile
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import fiftyone as fo

from ...engine.files import write_whole
from ...errors import DatasetError
from ..database.fiftyone_internals import dataset_id, datasets
from ..database.locks import RunLock
from ..database.run_record import usable_results
from ..samples.checks import quoted


class MaskFolderError(DatasetError):
    """Masks cannot be written to their folder: it is read-only, or the disk is full."""


def require_mask_dir(mask_dir: str | Path | None) -> None:
    """Make sure that an argument ``mask_dir`` names a folder, or is left out.

    An empty text is refused: to Python it is the working directory.

    Raises:
        MaskFolderError: it names none.
    """
    is_path = isinstance(mask_dir, (str, Path)) and bool(str(mask_dir).strip())
    if mask_dir is not None and not is_path:
        raise MaskFolderError(
            f"mask_dir is {quoted(mask_dir)}; give the path of a folder, or leave it out to keep "
            "the masks in the database."
        )


class MaskFiles:
    """The files of one run's masks, in a folder for each sample.

    A sample's files have the same names each time, so those of a killed run are replaced.
    """

    def __init__(self, dataset: Any, folder: str, mask_dir: str | Path | None = None) -> None:
        """Choose the folder; it is created with the first file.

        Args:
            dataset: the dataset.
            folder: the run's own folder, as ``folder_of_run`` names it.
            mask_dir: the folder to write below; one below FiftyOne's default dataset folder if
                None.

        Raises:
            MaskFolderError: ``mask_dir`` is in the home of an unknown user.
        """
        if mask_dir is None:
            mask_dir = Path(fo.config.default_dataset_dir) / "ntt_masks"
        try:
            below = Path(mask_dir).expanduser().absolute()
        except RuntimeError as error:  # the home of an unknown user
            raise _folder_error(mask_dir, error) from error
        self.root = below / str(dataset_id(dataset)) / folder

    def require_writable(self) -> None:
        """Make sure that files can be written.

        Raises:
            MaskFolderError: the folder is read-only, or the disk is full.
        """
        parent = self.root.parent
        try:
            parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=parent) as file:
                file.write(b"masks")
        # A path with a null character is a wrong value to Python.
        except (OSError, ValueError) as error:
            raise _folder_error(parent, error) from error

    def store(self, sample_id: str, pngs: Sequence[bytes]) -> list[str]:
        """Write the masks of a sample's labels, PNG files each; gives their paths.

        Raises:
            MaskFolderError: the disk is full, or the folder cannot be written.
        """
        folder, paths = self.root / sample_id, self.paths(sample_id, len(pngs))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for path, png in zip(paths, pngs, strict=True):
                _write(Path(path), png)
        except OSError as error:
            raise _folder_error(folder, error) from error
        return paths

    def paths(self, sample_id: str, count: int) -> list[str]:
        """The files of a sample's masks."""
        return [str(self.root / sample_id / f"{index}.png") for index in range(count)]

    def store_one(self, sample_id: str, name: str, png: bytes) -> str:
        """Write one mask of a sample, a PNG file, under a name of its own; gives its path.

        Raises:
            MaskFolderError: the disk is full, or the folder cannot be written.
        """
        folder = self.root / sample_id
        path = folder / f"{name}.png"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _write(path, png)
        except OSError as error:
            raise _folder_error(folder, error) from error
        return str(path)

    def drop_one(self, path: str | None) -> None:
        """Remove a file that no label uses any more; one that this run did not write stays."""
        if path is not None and self.root in Path(path).parents:
            # A file that cannot be removed does no harm.
            with contextlib.suppress(OSError):
                Path(path).unlink()

    def drop_leftovers(self, sample_id: str, used: Iterable[str | None]) -> None:
        """Remove files of a sample that none of its labels in the database uses.

        ``used`` has the file of each label; None for a label without one.
        """
        folder = self.root / sample_id
        named = set(used)
        # A file that cannot be removed does no harm: the labels are saved.
        with contextlib.suppress(OSError):
            for path in folder.iterdir():
                ours = path.name.removesuffix(".part").removesuffix(".png").isdigit()
                if ours and str(path) not in named:
                    path.unlink()
            if not named - {None}:
                folder.rmdir()


def _write(path: Path, png: bytes) -> None:
    write_whole(path, png, path.with_name(f"{path.name}.part"))


def _folder_error(folder: str | Path, error: Exception) -> MaskFolderError:
    reason = getattr(error, "strerror", None) or str(error)
    return MaskFolderError(
        f"Masks cannot be written to {quoted(str(folder), 300)} ({reason}); free some "
        "space or give it write permission, or name another folder with mask_dir."
    )


_KEY = "mask_files"
_TRIES = 20


def folder_of_run(dataset: Any, field: str, overwrite: bool, lock: RunLock) -> str:
    """Folder name for a run into a field: that of the unfinished run before it, or a new one."""
    if not overwrite and not _is_finished(dataset, field):
        kept = _kept(dataset, field) or {}
        # A renamed or cloned field names the folder of another field, whose run may go on too.
        mine = kept.get("owner") == _owner(dataset, field)
        if mine and kept.get("writer") not in lock.overtaken():
            return str(kept["folder"])
    return uuid.uuid4().hex


def keep_folder(dataset: Any, field: str, folder: str, lock: RunLock) -> None:
    """Store the name of a field's folder with the field, so that it goes when the field does.

    Raises:
        LockLostError: another run took over.
        DatasetError: the field was deleted.
    """
    kept = {"folder": folder, "owner": _owner(dataset, field), "writer": lock.token}
    for _ in range(_TRIES):
        former = _kept(dataset, field)
        lock.require()
        # Only if it is unchanged: a run that took over meanwhile keeps its own.
        unchanged = {"name": field, f"info.{_KEY}": former}
        found = {"_id": dataset_id(dataset), "sample_fields": {"$elemMatch": unchanged}}
        kept_there = {"$set": {f"sample_fields.$.info.{_KEY}": kept}}
        if datasets().update_one(found, kept_there).matched_count:
            return
    raise DatasetError(f"The field {field!r} of {dataset.name!r} was deleted during the run.")


def _is_finished(dataset: Any, field: str) -> bool:
    report = usable_results(dataset, field).get("report") or {}
    return report.get("state") == "finished"


def _kept(dataset: Any, field: str) -> dict[str, Any] | None:
    # From the database: this process may have loaded the dataset before the last run.
    stored = datasets().find_one(
        {"_id": dataset_id(dataset)}, {"sample_fields": {"$elemMatch": {"name": field}}}
    )
    fields = (stored or {}).get("sample_fields") or [{}]
    kept = (fields[0].get("info") or {}).get(_KEY)
    return kept if isinstance(kept, dict) else None


def _owner(dataset: Any, field: str) -> str:
    return f"{dataset_id(dataset)}/{field}"
