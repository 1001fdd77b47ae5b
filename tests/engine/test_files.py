import os

import pytest

from ntt_plugin.engine.files import write_whole


def test_the_bytes_are_on_the_disk_before_they_get_the_name(tmp_path, monkeypatch):
    synced, named = [], []
    fsync, replace = os.fsync, os.replace

    def syncing(descriptor):
        fsync(descriptor)
        status = os.fstat(descriptor)
        synced.append((status.st_ino, status.st_size))

    def naming(source, target):
        status = os.stat(source)
        named.append((status.st_ino, status.st_size))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", syncing)
    monkeypatch.setattr(os, "replace", naming)
    write_whole(tmp_path / "file", b"new", tmp_path / "part")
    assert named == synced and len(named) == 1
    assert (tmp_path / "file").read_bytes() == b"new"


def test_what_was_there_stays_where_writing_fails(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / "file", b"new", tmp_path / "part")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
