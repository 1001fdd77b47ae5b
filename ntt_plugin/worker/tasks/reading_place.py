"""Where images are read: in threads, or where all is cached, in the thread that asks for them."""

from __future__ import annotations

# So many cached images in a row, and the next one is probably cached, too.
_ENOUGH = 8
# Seconds that reading what is cached may take. Threads of Python that have little to wait for wait
# for each other: with 57 proposals an image, reading in threads made a whole pass a third slower.
_QUICK = 0.002
# Where it was not quick, images are read in threads for so many more.
_PAUSE = 1000


class ReadingPlace:
    """Watches how reading goes, and tells where the next image should be read.

    Attributes:
        here: whether in the thread that asks for it.
    """

    def __init__(self) -> None:
        """Begin in threads."""
        self.here = False
        self._in_a_row = 0
        self._average = 0.0

    def note_cached(self, seconds: float | None) -> None:
        """Proposals of an image were cached.

        Args:
            seconds: what reading them took; None if another thread did it.
        """
        self._in_a_row += 1
        if seconds is not None:
            # One that was held up by something else, however long, does not decide alone.
            self._average += (min(seconds, 2 * _QUICK) - self._average) / _ENOUGH
            if self._average > _QUICK:
                self._in_a_row, self._average = -_PAUSE, 0.0
        self.here = self._in_a_row >= _ENOUGH

    def note_read(self) -> None:
        """An image was read, or could not be read: the next ones may take long, too."""
        self._in_a_row = min(0, self._in_a_row)
        self.here = False
