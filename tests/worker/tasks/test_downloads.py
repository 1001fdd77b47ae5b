"""A worker that downloads networks at its start says so while bytes come."""

import time

import pytest
from huggingface_hub import constants

from ntt_plugin.engine.networks.hub import download_state
from ntt_plugin.worker import handler
from ntt_plugin.worker.tasks import downloads

NAMES = ("facebook/sam2-hiera-large", "facebook/dinov2-large")


@pytest.fixture
def told(monkeypatch):
    """What a worker's start tells, by and by."""
    said: list[str] = []
    monkeypatch.setattr(handler, "_listener", said.append)
    monkeypatch.setattr(downloads, "_LOOK_SECONDS", 0.02)
    return said


@pytest.fixture
def blobs(monkeypatch, tmp_path):
    """Where the hub's client writes the files of the first network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path / "models--facebook--sam2-hiera-large" / "blobs"


def test_each_time_bytes_came_the_network_is_named(told, blobs):
    with downloads.downloads_told("gpu-7", NAMES):
        time.sleep(0.2)
        assert told == []
        blobs.mkdir(parents=True)
        for size in (10, 20, 30):
            before = len(told)
            (blobs / "abc.incomplete").write_bytes(b"x" * size)
            deadline = time.monotonic() + 10
            while len(told) == before and time.monotonic() < deadline:
                time.sleep(0.01)
            assert len(told) > before
    assert set(told) == {"gpu-7 is downloading facebook/sam2-hiera-large."}


def test_a_download_that_stands_still_says_nothing(told, blobs):
    blobs.mkdir(parents=True)
    (blobs / "abc.incomplete").write_bytes(b"x")
    with downloads.downloads_told("gpu-7", NAMES):
        time.sleep(0.2)
    assert told == []


@pytest.mark.parametrize("name", ["tiny", "/no/such/folder", "a\0b", "..", "x" * 5000])
def test_names_that_are_no_hub_ids_have_no_downloads(name):
    assert download_state(name) is None


def test_a_worker_is_listened_to_after_its_start_too(told):
    heard: list[str] = []
    handler.load_handler("tests.worker.stubs:Echo", b"", heard.append)
    handler.tell_alive()
    assert (heard, told) == ([""], [])
