import os
import time

import pytest
from PIL import Image

from ntt_plugin.engine.images import known_files
from ntt_plugin.engine.images.image_file import LIMIT_VARIABLE
from ntt_plugin.engine.images.known_files import KnownFiles
from ntt_plugin.engine.proposals.cache import file_facts, image_digest
from ntt_plugin.errors import ImageError

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows tells no date of the last change")

# Longer than a tick of any system's clock.
TICK = 0.05


@pytest.fixture
def later(monkeypatch):
    """All files that are there were last changed ten seconds ago."""
    now = time.time_ns
    monkeypatch.setattr(known_files.time, "time_ns", lambda: now() + 10 * 10**9)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"one")
    return path


def asked(known, path):
    """What the file is said to hold, and whether it was read for that."""
    read = []

    def find():
        read.append(path)
        return path.read_bytes()

    return known.ask(str(path), find), bool(read)


def replaced_in_place(path, content):
    """Write other content, and set the file's dates back."""
    before = path.stat()
    time.sleep(TICK)
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_an_unchanged_file_is_read_once(file, later):
    known = KnownFiles()
    assert [asked(known, file) for _ in range(2)] == [(b"one", True), (b"one", False)]


def test_other_content_of_the_same_length_and_date_is_seen(file, later):
    known = KnownFiles()
    asked(known, file)
    replaced_in_place(file, b"two")
    assert asked(known, file) == (b"two", True)


def test_another_file_moved_to_its_place_is_seen(file, tmp_path, later):
    other = tmp_path / "other"
    other.write_bytes(b"two")
    os.utime(other, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    known = KnownFiles()
    asked(known, file)
    os.replace(other, file)
    assert asked(known, file) == (b"two", True)


def test_a_file_changed_a_moment_ago_is_read_again(file):
    known = KnownFiles()
    asked(known, file)
    assert asked(known, file) == (b"one", True)


def test_a_file_that_changes_while_it_is_read_is_read_again(file, later):
    known = KnownFiles()

    def find():
        found = file.read_bytes()
        replaced_in_place(file, b"two")
        return found

    assert known.ask(str(file), find) == b"one"
    assert asked(known, file) == (b"two", True)


def test_an_error_is_not_remembered(file, later):
    known = KnownFiles()
    with pytest.raises(ZeroDivisionError):
        known.ask(str(file), lambda: 1 // 0)
    assert asked(known, file) == (b"one", True)


def test_a_missing_file_is_left_to_whoever_looks_into_it(tmp_path, later):
    with pytest.raises(FileNotFoundError):
        asked(KnownFiles(), tmp_path / "missing")


def test_a_deleted_file_is_not_remembered(file, later):
    known = KnownFiles()
    asked(known, file)
    file.unlink()
    with pytest.raises(FileNotFoundError):
        asked(known, file)


def test_the_file_not_asked_of_for_longest_is_forgotten(tmp_path, later):
    known, files = KnownFiles(most=2), [tmp_path / name for name in "abc"]
    for file in files:
        file.write_bytes(file.name.encode())
    a, b, c = files
    for file in (a, b, a, c):
        asked(known, file)
    assert [asked(known, file)[1] for file in (a, b)] == [False, True]


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image.bmp"
    Image.new("RGB", (4, 2), "red").save(path)
    return path


def test_facts_of_an_image_follow_its_content(image, later):
    before = file_facts(image)
    content = bytearray(image.read_bytes())
    content[-1] ^= 1
    replaced_in_place(image, bytes(content))
    assert before.digest != file_facts(image).digest == image_digest(image)


def test_a_lower_limit_refuses_an_image_that_is_known(image, later, monkeypatch):
    assert file_facts(image).size == (2, 4)
    monkeypatch.setenv(LIMIT_VARIABLE, "7")
    with pytest.raises(ImageError, match="limit"):
        file_facts(image)
