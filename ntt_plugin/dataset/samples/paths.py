"""Paths that people type."""

from __future__ import annotations

from pathlib import Path

from ...errors import DatasetError
from .checks import quoted


def as_path(text: str | Path, what: str) -> Path:
    """A path that a person gave, ``~`` replaced by the home folder; nothing need be there.

    Args:
        text: the path.
        what: what is or will be there, for the message.

    Raises:
        DatasetError: this machine's file system cannot have such a path, or hides what is there;
            says why.
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
