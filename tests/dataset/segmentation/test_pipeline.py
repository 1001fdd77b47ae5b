import threading
import time
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
from mongoengine.errors import InvalidDocumentError
from PIL import Image
from pymongo.errors import AutoReconnect

from ntt_plugin.dataset.segmentation import pipeline
from ntt_plugin.dataset.segmentation.pipeline import ReadingAhead


@pytest.fixture
def files(tmp_path):
    """Twelve images of 10 x 20 in 12 colours, by id."""
    paths = {}
    for index in range(12):
        paths[str(index)] = str(tmp_path / f"{index}.png")
        Image.new("RGB", (20, 10), (index, 0, 0)).save(paths[str(index)])
    return paths


def fetcher(files, gone=()):
    def fetch(ids):
        return {i: SimpleNamespace(filepath=files[i]) for i in ids if i not in gone}

    return fetch


def colour(image):
    return int(np.asarray(image)[0, 0, 0])


def test_images_come_in_order_with_their_samples(files):
    with ReadingAhead(fetcher(files), list(files)) as ahead:
        for index, read in enumerate(ahead):
            assert read.sample_id == str(index)
            assert read.sample.filepath == files[str(index)]
            assert colour(read.image) == index
    assert index == 11


def test_one_that_cannot_be_read_does_not_hold_up_the_others(files, tmp_path):
    (tmp_path / "3.png").write_bytes(b"damaged")
    with ReadingAhead(fetcher(files, gone={"5"}), list(files)) as ahead:
        found = {read.sample_id: (read.sample is None, read.error is None) for read in ahead}
    assert found.pop("3") == (False, False)
    assert found.pop("5") == (True, True)
    assert set(found.values()) == {(False, True)}


def test_a_sample_that_cannot_be_loaded_does_not_take_its_batch_with_it(files):
    def fetch(ids):
        if "4" in ids:
            raise ValueError("a document of another form")
        return fetcher(files)(ids)

    with ReadingAhead(fetch, list(files)) as ahead:
        failed = [read.sample_id for read in ahead if read.error]
    assert failed == ["4"]


@pytest.mark.parametrize("bad", ["0", "4"])
@pytest.mark.parametrize("error", [InvalidDocumentError("odd"), zlib.error("not deflated")])
def test_whatever_is_wrong_with_a_document_concerns_that_sample_only(files, error, bad):
    def fetch(ids):
        if bad in ids:
            raise error
        return fetcher(files)(ids)

    with ReadingAhead(fetch, list(files)) as ahead:
        errors = {read.sample_id: read.error for read in ahead}
    assert errors == {i: error if i == bad else None for i in files}


@pytest.mark.parametrize("error", [ConnectionError, AutoReconnect])
def test_a_database_that_is_gone_is_not_taken_for_a_bad_sample(files, error):
    def fetch(ids):
        raise error

    with pytest.raises(error), ReadingAhead(fetch, list(files)) as ahead:
        list(ahead)


def test_images_are_decoded_while_another_is_worked_on(files, monkeypatch):
    decoded, read_image = [], pipeline.read_with_notes

    def counting(path):
        decoded.append(path)
        return read_image(path)

    monkeypatch.setattr(pipeline, "read_with_notes", counting)
    with ReadingAhead(fetcher(files), list(files)) as ahead:
        next(iter(ahead))
        deadline = time.monotonic() + 20
        while len(decoded) < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.1)
        assert len(decoded) == 5, "four ahead, no more"


@pytest.mark.parametrize(("images", "most"), [(1, 1), (2.5, 2), (100, 5)])
def test_decoded_images_never_take_more_than_the_budget(files, monkeypatch, images, most):
    """Counted with the image that is worked on; one larger than the budget is alone."""
    alive, seen, lock = [0], [], threading.Lock()
    read_image = pipeline.read_with_notes

    def counting(path):
        with lock:
            alive[0] += 1
            seen.append(alive[0])
        return read_image(path)

    monkeypatch.setattr(pipeline, "read_with_notes", counting)
    size = 3 * 10 * 20
    with ReadingAhead(fetcher(files), list(files), budget=int(size * images)) as ahead:
        for _ in ahead:
            time.sleep(0.02)
            with lock:
                alive[0] -= 1
    assert len(seen) == 12 and max(seen) <= most


def test_an_image_larger_than_the_whole_budget_is_read(files):
    with ReadingAhead(fetcher(files), list(files), budget=1) as ahead:
        assert [colour(read.image) for read in ahead] == list(range(12))


def test_an_image_is_let_go_of_when_the_next_is_asked_for(files):
    with ReadingAhead(fetcher(files), list(files)) as ahead:
        reads = iter(ahead)
        first = next(reads)
        next(reads)
        assert first.image is None


def test_its_threads_end_with_it_also_when_it_is_left_early(files):
    with ReadingAhead(fetcher(files), list(files), budget=1) as ahead:
        next(iter(ahead))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ntt images")]


def test_slow_work_makes_small_batches(files, monkeypatch):
    """So that what is fetched is fresh when its turn comes."""
    now, asked = [0.0], []
    monkeypatch.setattr(pipeline.time, "monotonic", lambda: now[0])

    def fetch(ids):
        asked.append(len(ids))
        return fetcher(files)(ids)

    with ReadingAhead(fetch, list(files)) as ahead:
        for _ in ahead:
            now[0] += 10.0
    assert max(asked[-3:]) == 1
