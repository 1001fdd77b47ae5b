"""What ``workers=`` may be, and the pool of workers that it stands for."""

from __future__ import annotations

from typing import Literal

from ..errors import WorkerError
from .local_processes import LocalPool, cores_here, gpus_here
from .pool import Pool
from .ray_actors import RayPool
from .ray_cluster import Ray, require_ray

Workers = int | Literal["auto"] | Ray | None
"""Where a run's images are handled: None in this process, a number of processes of this machine,
``auto`` for one a GPU (without GPUs one for four cores), or a Ray cluster."""

_MOST = 1024
_CORES_EACH = 4


def require_workers(workers: Workers, device: object = None) -> None:
    """Raise if workers cannot be had as asked for.

    Args:
        workers: what was asked for.
        device: the device asked for with them.

    Raises:
        WorkerError: says what to give.
    """
    if workers is None:
        return
    if isinstance(workers, Ray):
        require_ray()
    elif workers != "auto" and (
        not isinstance(workers, int) or isinstance(workers, bool) or not 1 <= workers <= _MOST
    ):
        raise WorkerError(
            f"workers={workers!r}: give a number of processes from 1 to {_MOST}, 'auto', an "
            "ntt.Ray, or None for none."
        )
    if device is not None and ":" in str(device):
        raise WorkerError(
            f"device={str(device)!r} names one device, and each worker has one of its own: leave "
            "it out, or give its kind alone, such as device='cuda'."
        )


def open_pool(workers: Workers, handler: str, spec: bytes, device: object = None) -> Pool:
    """The pool for ``workers``, which is not None; ``dispatch`` closes it.

    Args:
        workers: what was asked for.
        handler: name of what makes a worker's handler, see ``load_handler``.
        spec: what the handler is made of.
        device: kind of device that the handler was told to use; on ``cpu`` no GPU is shared out.

    Raises:
        WorkerError: workers cannot be had as asked for.
    """
    require_workers(workers, device)
    if isinstance(workers, Ray):
        return RayPool(workers, handler, spec)
    gpus = [] if str(device) == "cpu" else gpus_here()
    assert workers is not None
    size = workers if workers != "auto" else len(gpus) or max(1, cores_here() // _CORES_EACH)
    return LocalPool(size, handler, spec, gpus)
