from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor

from ntt_plugin.engine import Segmenter
from ntt_plugin.engine.device.compiling import Compiled


def failing(error: Exception):
    """A stand-in for `torch.compile` whose functions fail when called."""

    def compile_(function):
        def fail(*_: object) -> None:
            raise error

        return fail

    return compile_


def double(x: Tensor) -> Tensor:
    return 2 * x


def test_a_compiler_that_does_not_work_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    error = RuntimeError("No working C++ compiler found.\nCXX=None")
    monkeypatch.setattr(torch, "compile", failing(error))
    function = Compiled(double)
    with pytest.warns(UserWarning, match=r"\(No working C\+\+ compiler found\.\)"):
        assert function(torch.ones(2)).tolist() == [2, 2]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert function(torch.ones(2)).tolist() == [2, 2]


def test_memory_that_runs_out_is_no_failure_of_the_compiler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch, "compile", failing(torch.OutOfMemoryError("CUDA out of memory")))
    with pytest.raises(torch.OutOfMemoryError):
        Compiled(double)(torch.ones(2))


def test_an_error_of_the_functions_own_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda function: function)
    with pytest.warns(UserWarning), pytest.raises(IndexError):
        Compiled(lambda x: [][x])(0)


def test_a_compiled_segmenter_proposes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []

    def note(function):
        compiled.append(function)
        return function

    monkeypatch.setattr(torch, "compile", note)
    picture = torch.randint(0, 256, (60, 80, 3), dtype=torch.uint8).numpy()
    plain = Segmenter.from_preset("tiny", device="cpu", grid=3)
    assert not compiled
    fast = Segmenter.from_preset("tiny", device="cpu", grid=3, compile=True)
    assert len(compiled) == 4
    found, expected = fast.propose(picture), plain.propose(picture)
    torch.testing.assert_close(found.masks.logits, expected.masks.logits)
