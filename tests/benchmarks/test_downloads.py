"""Fetching archives: room on the disk, digests, unpacking."""

import hashlib
import shutil
import tarfile

import pytest

from benchmarks.published import downloads
from benchmarks.published.downloads import Archive, fetch_archives, require_room
from benchmarks.published.protocol import Download
from ntt_plugin.errors import DatasetError


@pytest.fixture
def site(tmp_path, monkeypatch):
    """An archive on a web server: a folder in its place."""
    served = tmp_path / "site" / "voc.tar"
    served.parent.mkdir()
    inside = tmp_path / "list.txt"
    inside.write_text("000001\n")
    with tarfile.open(served, "w") as content:
        content.add(inside, "VOCdevkit/list.txt")
    monkeypatch.setattr(
        downloads.etaw, "download_file", lambda url, path: shutil.copy(served, path)
    )
    return Archive("http://host/voc.tar", hashlib.md5(served.read_bytes()).hexdigest())


def test_an_archive_is_unpacked_and_deleted(site, tmp_path):
    fetch_archives([site], tmp_path / "voc")
    assert (tmp_path / "voc/VOCdevkit/list.txt").read_text() == "000001\n"
    assert not (tmp_path / "voc/voc.tar").exists()


def test_another_file_than_the_published_one_is_not_unpacked(site, tmp_path):
    with pytest.raises(DatasetError, match="not the published file, or is incomplete; delete it"):
        fetch_archives([Archive(site.url, "0" * 32)], tmp_path / "voc")
    assert not (tmp_path / "voc/VOCdevkit").exists()


def test_a_complete_archive_is_not_fetched_again(site, tmp_path, monkeypatch):
    folder = tmp_path / "voc"
    folder.mkdir()
    shutil.copy(tmp_path / "site/voc.tar", folder / "voc.tar")
    monkeypatch.setattr(downloads.etaw, "download_file", None)
    fetch_archives([site], folder)
    assert (folder / "VOCdevkit/list.txt").is_file()


def test_a_site_that_cannot_be_reached_is_named_with_what_to_do(tmp_path, monkeypatch):
    def fail(url, path):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(downloads.etaw, "download_file", fail)
    with pytest.raises(DatasetError, match=r"http://host/voc.tar cannot be fetched .*put it into"):
        fetch_archives([Archive("http://host/voc.tar", "0" * 32)], tmp_path)


def test_a_disk_without_room_is_said_before_anything_is_fetched(tmp_path):
    free = shutil.disk_usage(tmp_path).free / 1e9
    require_room(tmp_path / "new", [Download("small", free / 4, free / 4)])
    with pytest.raises(DatasetError, match="make room, or name another folder with --data"):
        require_room(tmp_path / "new", [Download("large", free, free)])
