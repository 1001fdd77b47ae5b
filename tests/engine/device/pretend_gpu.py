"""A GPU that is only pretended: tensors that say they are on one, and are computed on the CPU.

What a machine without a GPU can tell of code for one: that no tensor of the host meets one of the
device, and how often the host would stop and wait for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

GIB = 2**30
DEVICE = torch.device("cuda:0")
aten = torch.ops.aten

# The size of what they give, or their answer itself, is in the values: the host has to wait.
_WAITING = {aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten.equal, aten.is_nonzero}
_COPIES = {aten._to_copy, aten.to, aten.copy_, aten._pin_memory}


class OnDevice(Tensor):
    """A tensor of the pretended GPU; ``held`` has its values."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> OnDevice:
        made: Any = torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            # In C++ a build of torch without CUDA knows no device of that name.
            device="meta",
        )
        made.held = held
        return made

    @property
    def device(self) -> torch.device:
        """The pretended one."""
        return DEVICE

    def tolist(self) -> Any:
        """As of any tensor of a GPU, by way of the host."""
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"{func} ran outside of the pretended GPU")


class PretendGpu(TorchDispatchMode):
    """While it is entered, ``cuda`` is a device like any other.

    Attributes:
        waits: how often the host would have waited for the device, by operation.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        named = {
            spec.name: value for spec, value in zip(func._schema.arguments, args, strict=False)
        }
        named.update(kwargs or {})
        tensors = [one for one in tree_flatten(list(named.values()))[0] if isinstance(one, Tensor)]
        here = [one for one in tensors if isinstance(one, OnDevice)]
        packet, asked = func.overloadpacket, named.get("device")
        if packet is aten._has_compatible_shallow_copy_type:
            return not here
        if packet in _COPIES:
            on_device = bool(here) if asked is None else torch.device(asked).type == "cuda"
            if packet is aten.copy_:
                on_device = isinstance(named["self"], OnDevice)
            crosses = on_device != bool(here) or len(here) == 1 < len(tensors)
            # A copy to the host is of no use before it is done.
            if crosses and not (on_device and named.get("non_blocking")):
                self.waits[str(func)] += 1
        else:
            on_device = bool(here) if asked is None else torch.device(asked).type == "cuda"
            strangers = [one for one in tensors if not isinstance(one, OnDevice) and one.ndim > 0]
            assert not (here and strangers), f"{func} of tensors on the GPU and on the CPU"
            if here and (packet in _WAITING or _by_mask(packet, named)):
                self.waits[str(func)] += 1
        result = func(*tree_map(_real, list(args)), **_on_cpu(func, kwargs or {}))
        wrapped = {id(one.held): one for one in here}
        return tree_map(lambda one: _wrap(one, wrapped) if on_device else one, result)


@contextmanager
def pretended_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[PretendGpu]:
    """A machine with one GPU of 8 GiB."""
    answers: dict[str, Callable[..., Any]] = {
        "_lazy_init": lambda: None,
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "mem_get_info": lambda device=None: (8 * GIB, 8 * GIB),
        "is_bf16_supported": lambda including_emulation=True: True,
    }
    for name, answer in answers.items():
        monkeypatch.setattr(torch.cuda, name, answer)
    monkeypatch.setattr(Tensor, "pin_memory", lambda self: self)
    torch._C._ensureCUDADeviceGuardSet()
    before = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)
    try:
        # Views of tensors from outside of it want a version counter, which these have not.
        with torch.inference_mode(), PretendGpu() as gpu:
            yield gpu
    finally:
        torch._C._set_only_lift_cpu_tensors(before)


def _by_mask(packet: Any, named: dict[str, Any]) -> bool:
    """Whether tensors are indexed by a mask, whose filled places the host must count first."""
    if packet not in (aten.index, aten.index_put_, aten.index_put):
        return False
    return any(one is not None and one.dtype == torch.bool for one in named["indices"])


def _real(value: Any) -> Any:
    if isinstance(value, OnDevice):
        return value.held
    return torch.device("cpu") if isinstance(value, torch.device) else value


def _on_cpu(func: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    changed = {name: tree_map(_real, value) for name, value in kwargs.items()}
    if changed.get("device") is not None:
        changed["device"] = torch.device("cpu")
    return changed


def _wrap(value: Any, known: dict[int, OnDevice]) -> Any:
    """What an operation gave, on the device; what it changed in place is what it was."""
    if not isinstance(value, Tensor) or isinstance(value, OnDevice):
        return value
    same = known.get(id(value))
    return OnDevice(value) if same is None else same
