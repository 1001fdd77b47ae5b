"""Archives from the internet: room on the disk, the file's digest, unpacking."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import eta.core.web as etaw

from ntt_plugin.errors import DatasetError

from .protocol import Download


@dataclass(frozen=True)
class Archive:
    """A tar file by its address and the MD5 digest of its bytes."""

    url: str
    md5: str

    @property
    def name(self) -> str:
        """The file's name."""
        return self.url.rpartition("/")[2]


def require_room(folder: Path, downloads: Sequence[Download]) -> None:
    """Make sure that downloads and what is unpacked of them fit on the disk of a folder.

    Raises:
        DatasetError: they do not; says how much is missing.
    """
    needed = sum(part.gigabytes + part.unpacked for part in downloads)
    free = free_gigabytes(folder)
    if needed > free:
        raise DatasetError(
            f"The data need {needed:.1f} GB and the disk of {folder} has {free:.1f} GB left; "
            "make room, or name another folder with --data."
        )


def free_gigabytes(folder: Path) -> float:
    """GB left on the disk where a folder is or will be."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(there).free / 1e9


def fetch_archives(archives: Sequence[Archive], folder: Path) -> None:
    """Fetch and unpack tar files into a folder, and delete them.

    Raises:
        DatasetError: a file cannot be fetched, or is not the published one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for archive in archives:
        path = folder / archive.name
        if not path.is_file() or _md5(path) != archive.md5:
            try:
                etaw.download_file(archive.url, path=str(path))
            except Exception as error:
                raise DatasetError(
                    f"{archive.url} cannot be fetched ({error!s:.200}); fetch it yourself and put "
                    f"it into {folder}."
                ) from error
        unpack(path, archive.md5, folder)
        path.unlink()


def unpack(path: Path, md5: str, folder: Path) -> None:
    """Unpack a tar file after its bytes were checked; nothing is written outside the folder.

    Raises:
        DatasetError: its bytes are others than the published ones.
    """
    if _md5(path) != md5:
        raise DatasetError(f"{path} is not the published file, or is incomplete; delete it.")
    with tarfile.open(path) as content:
        content.extractall(folder, filter="data")


def _md5(path: Path) -> str:
    with path.open("rb") as content:
        digest = hashlib.md5(usedforsecurity=False)
        while block := content.read(2**20):
            digest.update(block)
    return digest.hexdigest()
