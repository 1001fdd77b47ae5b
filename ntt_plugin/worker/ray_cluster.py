"""Which Ray cluster to run on, and the connection to it. Ray is imported when it is used."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import WorkerError

INSTALL = (
    "Ray is not installed; ntt.Ray needs it, here and on each node: pip install 'ray>=2.60,<3'"
)
_CONNECT_SECONDS = 5.0
_OF_A_STATIC_CLUSTER = re.compile("node_[0-9a-f]{28,}")


@dataclass(frozen=True)
class Ray:
    """A Ray cluster as the place of a run: ``workers=ntt.Ray(...)``.

    Each worker is an actor. Its node needs this package in the same version, and the images under
    the paths that the dataset has, or under those that ``paths`` makes of them.

    Attributes:
        address: ``auto`` for the cluster of this machine, ``host:6379`` for that of another one,
            ``local`` for one that is started here and ends with the run. A process that is
            connected to a cluster already uses that one.
        workers: number of actors that work at once.
        gpus_each: GPUs an actor reserves; 0 for a cluster without GPUs.
        paths: what paths begin with here, to what they begin with on the nodes.
        cpus_each: CPU cores an actor reserves; also the number of its threads.

    Raises:
        WorkerError: a value that cannot be; says which.

    Example:
        >>> ntt.Ray(workers=8, paths={"/data": "/mnt/data"}).gpus_each
        1
    """

    address: str = "auto"
    workers: int = 1
    gpus_each: float = 1
    paths: Mapping[str, str] = field(default_factory=dict)
    cpus_each: float = 1

    def __post_init__(self) -> None:
        for name in ("workers", "gpus_each", "cpus_each"):
            value = getattr(self, name)
            if isinstance(value, np.generic):
                object.__setattr__(self, name, value.item())
        if not isinstance(self.workers, int) or isinstance(self.workers, bool) or self.workers < 1:
            raise WorkerError(f"ntt.Ray(workers={self.workers!r}): give a whole number from 1 up.")
        for name in ("gpus_each", "cpus_each"):
            value = getattr(self, name)
            numeric = isinstance(value, int | float) and not isinstance(value, bool)
            # Ray gives fractions of one GPU or core, or several whole ones.
            if not numeric or not 0 <= value < 1e4 or (value > 1 and value != int(value)):
                raise WorkerError(
                    f"ntt.Ray({name}={value!r}): give a whole number, or a fraction below 1."
                )
        if not isinstance(self.address, str) or not self.address:
            raise WorkerError(f"ntt.Ray(address={self.address!r}): give auto, local or host:port.")
        if self.address.startswith("ray://"):
            raise WorkerError(
                f"ntt.Ray(address={self.address!r}): Ray Client is not supported; run on a machine "
                "of the cluster and give auto, or the head's host:6379."
            )
        if not isinstance(self.paths, Mapping) or not all(
            isinstance(text, str) and text for pair in self.paths.items() for text in pair
        ):
            raise WorkerError('ntt.Ray(paths=...): give texts, such as {"/data": "/mnt/data"}.')


def require_ray() -> None:
    """Raise if Ray is not installed.

    Raises:
        WorkerError: says how to install it.
    """
    if importlib.util.find_spec("ray") is None:
        raise WorkerError(INSTALL)


@contextlib.contextmanager
def connected(cluster: Ray) -> Iterator[Any]:
    """The module ``ray``, connected to a cluster; a connection that was there before is kept.

    Raises:
        WorkerError: there is no such cluster, or it refuses this process.
    """
    require_ray()
    import ray

    if ray.is_initialized():
        yield ray
        return
    with _signals_kept():
        _connect(ray, cluster)
    try:
        yield ray
    finally:
        with _signals_kept():
            ray.shutdown()


def may_grow(ray: Any) -> bool:
    """Whether a cluster, which is connected, has an autoscaler that may add nodes.

    What cannot be known counts as yes. A cluster without one calls the type of each node by the
    node's id.
    """
    types = _node_types(ray)
    return not types or any(not _OF_A_STATIC_CLUSTER.fullmatch(name) for name in types)


def _node_types(ray: Any) -> set[str]:
    """The types of nodes that there are or will be, as Ray's monitor has them; none if it is mute.

    The monitor of the first autoscaler writes a report; that of the second one answers.
    """
    from ray.autoscaler.v2.sdk import get_cluster_status
    from ray.experimental.internal_kv import _internal_kv_get

    with contextlib.suppress(Exception):
        report = json.loads(_internal_kv_get("__autoscaling_status"))["autoscaler_report"]
        return {*report["active_nodes"], *report["pending_launches"]}
    with contextlib.suppress(Exception):
        status = get_cluster_status(ray.get_runtime_context().gcs_address)
        nodes = (*status.active_nodes, *status.idle_nodes, *status.pending_nodes)
        return {one.ray_node_type_name for one in (*nodes, *status.pending_launches)}
    return set()


def _connect(ray: Any, cluster: Ray) -> None:
    # Nothing is reported to Ray's makers by a cluster that starts here.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet = {"log_to_driver": False, "configure_logging": False}
    if cluster.address == "local":
        try:
            ray.init(address="local", include_dashboard=False, **quiet)
        except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            raise WorkerError(f"Ray cannot be started here: {_line(error)}") from error
        return
    address = _address(cluster.address)
    _require_answer(address)
    try:
        ray.init(address=address, **quiet)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise WorkerError(
            f"The Ray cluster at {address} does not take this process: {_line(error)} If it asks "
            "for a token, as one started with RAY_AUTH_MODE=token does, set RAY_AUTH_MODE=token "
            "and RAY_AUTH_TOKEN here; and see that Python and Ray have its versions."
        ) from error


def _address(wanted: str) -> str:
    """``host:port`` of a cluster; what ``auto`` stands for is looked up as Ray does."""
    if wanted != "auto":
        return wanted
    from ray._private.services import get_ray_address_from_environment

    try:
        return str(get_ray_address_from_environment("auto", None))
    except ConnectionError as error:
        raise WorkerError(
            "No Ray cluster runs on this machine: start one by ray start --head, give ntt.Ray the "
            'address of another one (address="host:6379"), or address="local".'
        ) from error


def _require_answer(address: str) -> None:
    """Raise at once where Ray would try for minutes, as with the address of a former cluster."""
    host, _, port = address.rpartition(":")
    try:
        number = int(port)
        socket.create_connection((host.strip("[]"), number), _CONNECT_SECONDS).close()
    except (OSError, ValueError, OverflowError) as error:
        raise WorkerError(
            f"No Ray cluster answers at {address!r} ({error}): start one by ray start --head, or "
            'give the address of one (address="host:6379"). The address of a cluster that is gone '
            "may be left in RAY_ADDRESS or /tmp/ray/ray_current_cluster."
        ) from error


def _line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{(lines or [type(error).__name__])[0]:.300}".rstrip(".") + "."


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray takes SIGTERM over; the program that called keeps what it had."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)
