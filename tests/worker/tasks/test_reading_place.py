"""Where images are read: beside the work on others, or at once where their proposals are cached."""

import math
import threading
import time

import pytest
from PIL import Image

from ntt_plugin.worker.messages import Item
from ntt_plugin.worker.tasks import reading_place
from ntt_plugin.worker.tasks.reading import ReadingAhead

from .test_reading import read_all

ENOUGH = 8
AHEAD = 4


class Recall:
    """Looks an image's proposals up; notes which thread it was called in."""

    def __init__(self, cached=lambda key: True, seconds=0.0, header=True):
        self.cached, self.seconds, self.header = cached, seconds, header
        self.threads = {}

    def __call__(self, read):
        key = int(read.item.sample_id)
        self.threads[key] = threading.current_thread()
        time.sleep(self.seconds)
        if self.cached(key):
            read.proposals, read.size = f"of {key}", (10, 20)
            read.header_notes = [f"note {key}"] if self.header else None

    @property
    def here(self):
        """Keys of the images that were looked up in this thread."""
        mine = threading.current_thread()
        return sorted(key for key, thread in self.threads.items() if thread is mine)


@pytest.fixture
def files(tmp_path):
    """One image under forty ids."""
    path = tmp_path / "one.png"
    Image.new("RGB", (20, 10)).save(path)
    return {str(index): str(path) for index in range(40)}


@pytest.fixture(autouse=True)
def every_look_is_quick(monkeypatch):
    monkeypatch.setattr(reading_place, "_QUICK", math.inf)


def seen(recall, files):
    with ReadingAhead(recall) as ahead:
        return [
            (int(read.item.sample_id), read.proposals, read.image is not None, read.notes)
            for read in read_all(ahead, files)
        ]


def expected(cached=lambda key: True):
    return [
        (key, f"of {key}", False, [f"note {key}"]) if cached(key) else (key, None, True, [])
        for key in range(40)
    ]


def test_what_is_cached_is_read_where_it_is_worked_on(files):
    recall = Recall()
    assert seen(recall, files) == expected()
    # Those ahead were begun before that was known.
    assert recall.here == list(range(ENOUGH + AHEAD, 40))


def test_from_an_image_on_that_is_not_cached_the_next_are_read_ahead(files):
    def cached(key):
        return key != 20

    recall = Recall(cached)
    assert seen(recall, files) == expected(cached)
    # Number 20 told that; the four behind it were begun at once, and eight told otherwise.
    again = 20 + 1 + ENOUGH + AHEAD
    assert recall.here == [*range(ENOUGH + AHEAD, 21), *range(again, 40)]


def test_without_cached_proposals_all_are_read_ahead(files):
    recall = Recall(cached=lambda key: False)
    assert seen(recall, files) == expected(cached=lambda key: False)
    assert recall.here == []


def test_where_looks_take_long_they_are_taken_ahead(files, monkeypatch):
    monkeypatch.setattr(reading_place, "_QUICK", 0.0001)
    recall = Recall(seconds=0.001)
    assert seen(recall, files) == expected()
    # After six of twice as long as is quick their average, which begins at 0, is above it.
    assert recall.here == list(range(ENOUGH + AHEAD, ENOUGH + AHEAD + 6))


def test_a_single_long_look_changes_nothing(monkeypatch):
    monkeypatch.setattr(reading_place, "_QUICK", 0.002)
    place = reading_place.ReadingPlace()
    for _ in range(ENOUGH):
        place.note_cached(None)
    place.note_cached(60.0)
    assert place.here


def test_where_the_header_tells_no_notes_the_image_is_read_for_them(files):
    recall = Recall(header=False)
    assert seen(recall, files) == [(key, f"of {key}", False, []) for key in range(40)]
    assert recall.here


def test_an_interrupted_look_leaves_nobody_waiting(files, monkeypatch):
    recall = Recall()
    with ReadingAhead(recall) as ahead:
        for key, path in list(files.items())[:ENOUGH]:
            ahead.submit(Item(key, path))
            with ahead.next():
                pass
        for key in ("20", "21"):
            ahead.submit(Item(key, files[key]))
        monkeypatch.setattr(ahead, "_look", interrupted)
        with pytest.raises(KeyboardInterrupt), ahead.next():
            pass
        monkeypatch.undo()
        with pytest.raises(RuntimeError, match="has ended"), ahead.next():
            pass


def interrupted(read, filepath):
    raise KeyboardInterrupt


def test_one_that_cannot_be_read_is_told_wherever_it_is_read(files, tmp_path):
    recall = Recall(cached=lambda key: key != 30)
    files["30"] = str(tmp_path / "missing.png")
    with ReadingAhead(recall) as ahead:
        failed = [read.item.sample_id for read in read_all(ahead, files) if read.error]
    assert failed == ["30"] and 30 in recall.here


def test_items_may_come_from_another_thread(files):
    def cached(key):
        return key % 19 != 0

    recall, found = Recall(cached), []
    with ReadingAhead(recall) as ahead:
        submitted, room = threading.Semaphore(0), threading.Semaphore(AHEAD)

        def submit():
            for key, path in files.items():
                room.acquire(timeout=60)
                ahead.submit(Item(key, path))
                submitted.release()

        thread = threading.Thread(target=submit, daemon=True)
        thread.start()
        for _ in files:
            assert submitted.acquire(timeout=60)
            with ahead.next() as read:
                key = int(read.item.sample_id)
                found.append((key, read.proposals, read.image is not None, read.notes))
            room.release()
        thread.join(60)
    assert found == expected(cached)
    assert recall.here
