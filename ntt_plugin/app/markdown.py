"""Words of people on pages that are Markdown."""

from __future__ import annotations

import re

# What Markdown takes for something else than a letter, within a line.
_MARKS = re.compile(r"([\\`*_{}\[\]<>#|~$&])")


def escaped(words: object) -> str:
    """Words in one line of Markdown: a name with a star or an underscore stays as it is."""
    return _MARKS.sub(r"\\\1", " ".join(str(words).split()))
