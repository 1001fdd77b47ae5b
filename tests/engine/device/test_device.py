import warnings

import numpy as np
import pytest
import torch
from torch import Tensor

from ntt_plugin.engine import Segmenter
from ntt_plugin.engine.device.device import (
    Compiled,
    float_array,
    resolve_device,
    resolve_dtype,
    to_array,
)
from ntt_plugin.errors import RecipeError


def test_a_device_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(RecipeError, match=r"'xpu'.*cpu"):
        resolve_device("xpu")


def test_a_word_that_is_no_device_is_refused():
    with pytest.raises(RecipeError, match="'graphics card' is no device"):
        resolve_device("graphics card")


def test_without_a_device_the_fastest_there_is_is_taken(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device(None).type == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve_device(None).type == "mps"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert resolve_device(None).type == "cpu"


def test_a_gpu_beyond_those_there_are_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert resolve_device("cuda:0").index == 0
    with pytest.raises(RecipeError, match="cuda:1"):
        resolve_device("cuda:1")


@pytest.mark.parametrize(
    ("precision", "device", "native", "expected"),
    [
        ("float32", "cuda", True, torch.float32),
        ("float16", "cpu", False, torch.float16),
        ("bfloat16", "cpu", False, torch.float32),
        ("bfloat16", "mps", False, torch.float16),
        ("bfloat16", "cuda", True, torch.bfloat16),
        ("bfloat16", "cuda", False, torch.float16),
    ],
)
def test_bfloat16_is_used_where_the_device_has_it(monkeypatch, precision, device, native, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: native)
    assert resolve_dtype(precision, torch.device(device)) == expected


def test_an_unknown_precision_is_refused():
    with pytest.raises(RecipeError, match=r"'half'.*float32, bfloat16, float16"):
        resolve_dtype("half", torch.device("cpu"))


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("learns", [False, True])
def test_an_array_holds_a_tensors_values(dtype: torch.dtype, turned: bool, learns: bool) -> None:
    tensor = torch.arange(6).view(2, 3).to(dtype)
    tensor = tensor.T if turned else tensor
    if learns and dtype.is_floating_point:
        tensor.requires_grad_(True)
    found = float_array(tensor)
    assert found.dtype == np.float32 and found.flags["C_CONTIGUOUS"]
    assert found.tolist() == tensor.tolist()
    if dtype != torch.bfloat16:  # which numpy has not
        assert to_array(tensor).dtype == torch.empty(0, dtype=dtype).numpy().dtype
        assert to_array(tensor).tolist() == tensor.tolist()
