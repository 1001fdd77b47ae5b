from pathlib import Path

import pytest

from ntt_plugin.dataset.samples.checks import as_path
from ntt_plugin.errors import DatasetError

IMPOSSIBLE = ["~nosuchuser/x.safetensors", "/x/" + "a" * 5000, "/tmp/a\0b.safetensors", "a" * 300]


@pytest.mark.parametrize("path", IMPOSSIBLE, ids=["user", "long", "nul", "long name"])
def test_a_path_that_there_cannot_be_is_told_in_short(path):
    with pytest.raises(DatasetError, match=r"cannot be the path of a bank .*another path") as error:
        as_path(path, "a bank")
    assert len(str(error.value)) < 300


def test_a_path_of_nothing_yet_is_a_path(tmp_path):
    assert as_path(str(tmp_path / "none" / "x"), "a bank") == tmp_path / "none" / "x"
    file = tmp_path / "file"
    file.touch()
    assert as_path(file / "x", "a bank") == file / "x"


def test_the_home_folder_is_meant_by_a_tilde(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    assert as_path("~/x", "a bank") == Path("/home/somebody/x")
