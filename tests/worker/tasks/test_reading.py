import os
import threading
import time
from collections import deque

import numpy as np
import pytest
from PIL import Image

from ntt_plugin.worker.messages import Item
from ntt_plugin.worker.tasks import reading
from ntt_plugin.worker.tasks.reading import ReadingAhead, image_state

AHEAD = 4


@pytest.fixture
def files(tmp_path):
    """Twelve images of 10 x 20 in 12 colours, by id."""
    paths = {}
    for index in range(12):
        paths[str(index)] = str(tmp_path / f"{index}.png")
        Image.new("RGB", (20, 10), (index, 0, 0)).save(paths[str(index)])
    return paths


def read_all(ahead, files):
    """Each image in a ``with`` of its own, a few of the next ones submitted before."""
    waiting = deque()
    for item in (Item(key, path) for key, path in files.items()):
        ahead.submit(item)
        waiting.append(item)
        if len(waiting) > AHEAD:
            waiting.popleft()
            with ahead.next() as read:
                yield read
    for _ in waiting:
        with ahead.next() as read:
            yield read


def colour(image):
    return int(np.asarray(image)[0, 0, 0])


def test_images_come_in_the_order_of_their_items(files):
    with ReadingAhead() as ahead:
        for index, read in enumerate(read_all(ahead, files)):
            assert read.item == Item(str(index), files[str(index)])
            assert colour(read.image) == index
            assert read.file_state == image_state(files[str(index)])
    assert index == 11


def test_one_that_cannot_be_read_does_not_hold_up_the_others(files, tmp_path):
    (tmp_path / "3.png").write_bytes(b"damaged")
    os.unlink(files["5"])
    with ReadingAhead() as ahead:
        failed = [read.item.sample_id for read in read_all(ahead, files) if read.error]
    assert failed == ["3", "5"]


def test_images_are_decoded_while_another_is_worked_on(files, monkeypatch):
    decoded, read_image = [], reading.read_with_notes

    def counting(path):
        decoded.append(path)
        return read_image(path)

    monkeypatch.setattr(reading, "read_with_notes", counting)
    with ReadingAhead() as ahead:
        next(read_all(ahead, files))
        deadline = time.monotonic() + 20
        while len(decoded) < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(decoded) == 5


@pytest.mark.parametrize(("images", "most"), [(1, 1), (2.5, 2), (100, 5)])
def test_decoded_images_never_take_more_than_the_budget(files, monkeypatch, images, most):
    """Counted with the image that is worked on; one larger than the budget is alone."""
    alive, seen, lock = [0], [], threading.Lock()
    read_image = reading.read_with_notes

    def counting(path):
        with lock:
            alive[0] += 1
            seen.append(alive[0])
        return read_image(path)

    monkeypatch.setattr(reading, "read_with_notes", counting)
    size = 3 * 10 * 20
    with ReadingAhead(budget=int(size * images)) as ahead:
        for _ in read_all(ahead, files):
            time.sleep(0.02)
            with lock:
                alive[0] -= 1
    assert len(seen) == 12 and max(seen) <= most


def test_an_image_larger_than_the_whole_budget_is_read(files):
    with ReadingAhead(budget=1) as ahead:
        assert [colour(read.image) for read in read_all(ahead, files)] == list(range(12))


def test_an_image_is_let_go_of_when_the_next_is_asked_for(files):
    with ReadingAhead() as ahead:
        reads = read_all(ahead, files)
        first = next(reads)
        next(reads)
        assert first.image is None


def test_its_threads_end_with_it_also_when_it_is_left_early(files):
    with ReadingAhead(budget=1) as ahead:
        next(read_all(ahead, files))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ntt images")]
