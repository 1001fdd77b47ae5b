"""What a run does when a worker stands still, and when a node of its cluster goes and one comes.

    python benchmarks/lost_workers.py stopped              # one for 120 seconds, 200 images
    python benchmarks/lost_workers.py stopped --item-seconds 30
    python benchmarks/lost_workers.py nodes
    python benchmarks/lost_workers.py memory

``stopped``: ``ntt.segment`` of demo scenes with the tiny networks in two local workers. One gets
SIGSTOP in the middle, and SIGCONT later; labels are compared with those of a run in one process.
With the usual limit of 300 seconds an image the worker goes on when it is woken; with a limit of
30 it is given up, and another takes its place.
``nodes``: workers that sleep 50 ms, two on each of two nodes of a Ray cluster on this machine
(``ray.cluster_utils``). One node is killed and another added; seconds from there until a second's
results are again 90% of what a second gave before.
``memory``: two workers on a node whose memory monitor (Ray's own) ends processes when they take
more than 3 GiB beside what the machine uses already. One item of 100 takes up to 8 GiB; then, with
a threshold that is passed from the beginning, no worker can live.

Uses a MongoDB of its own, which it ends; writes its parts into
``benchmarks/results/lost_workers.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import secrets
import signal
import statistics
import sys
import tempfile
import threading
import time
from bisect import bisect_left
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

RESULTS = ROOT / "benchmarks" / "results" / "lost_workers.json"
STUB_SECONDS, NODES, WORKERS_A_NODE = 0.05, 2, 2
# Seconds of a steady rate before a node is killed, and of waiting for it afterwards at the most.
BEFORE_SECONDS, AFTER_SECONDS = 10.0, 90.0
ROOM_GIB = 3


def main() -> None:
    """Measure one part, and write it beside the other."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=("stopped", "nodes", "memory"))
    parser.add_argument("--seconds", type=float, default=120, help="that a worker stands still")
    parser.add_argument("--item-seconds", type=float, help="limit of an image (NTT_ITEM_SECONDS)")
    parser.add_argument("--images", type=int, default=200, help="for the stopped worker")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    os.environ["FIFTYONE_SHOW_PROGRESS_BARS"] = "false"
    if options.part == "stopped":
        import tests.fiftyone_database  # noqa: F401  (before fiftyone)

        key = f"stopped, a limit of {options.item_seconds or 300:g} s"
        figures = measure_stopped(options)
    else:
        measure = {"nodes": measure_nodes, "memory": measure_memory}[options.part]
        key, figures = options.part, measure()
    print(json.dumps({key: figures}, indent=1), flush=True)
    result = json.loads(options.output.read_text()) if options.output.is_file() else {}
    cores, load = os.cpu_count(), round(os.getloadavg()[0])
    figures["machine"] = f"{platform.machine()}, {cores} cores, load {load} at the end"
    options.output.write_text(json.dumps({**result, key: figures}, indent=1) + "\n")


def measure_stopped(options: argparse.Namespace) -> dict[str, Any]:
    """Stop a worker in the middle of a run; count labels that differ from those of one process."""
    import ntt_plugin as ntt
    from ntt_plugin.demo.dataset import make_dataset
    from ntt_plugin.engine import Recipe

    if options.item_seconds:
        os.environ["NTT_ITEM_SECONDS"] = str(options.item_seconds)
    with tempfile.TemporaryDirectory(prefix="ntt_stopped_") as folder:
        dataset = make_dataset(Path(folder), pool=10, targets=options.images, name="ntt-stopped")
        recipe = Recipe.from_preset("tiny", grid=4)
        bank = ntt.build_memory_bank(dataset, "ground_truth", "b", preset=recipe, device="cpu")
        run = {"device": "cpu", "cache": False}
        ntt.segment(dataset, bank, "alone", **run)
        stop = StopsOne(options.seconds)
        began = time.monotonic()
        report = ntt.segment(dataset, bank, "found", workers=2, progress=stop.look, **run)
        seconds = time.monotonic() - began
        stop.woken.wait()
        differing = sum(
            found != alone
            for found, alone in zip(
                contents(dataset, "found"), contents(dataset, "alone"), strict=True
            )
        )
        result = {
            "images": len(dataset),
            "labelled": report.segmented,
            "labels": report.instances,
            "failed": len(report.failed),
            "samples_that_differ": differing,
            "seconds_stopped": round(stop.stopped_for, 1),
            "was_alive_when_woken": stop.was_alive,
            "seconds": round(seconds, 1),
            "notes": [note.reason for note in report.notes],
        }
        dataset.delete()
    return result


class StopsOne:
    """A progress callback that stops a worker after the fifth image, and wakes it later."""

    def __init__(self, seconds: float) -> None:
        """Stop nothing yet."""
        self.seconds = seconds
        self.woken = threading.Event()
        self.was_alive = False
        self.stopped_for = 0.0
        self._looks = 0

    def look(self, bar: Any) -> None:
        """Count an image."""
        self._looks += bar.iteration > 0
        if self._looks == 5:
            threading.Thread(target=self._stop, daemon=True).start()

    def _stop(self) -> None:
        import psutil

        children = psutil.Process().children()
        worker = next(child for child in children if "local_child" in " ".join(child.cmdline()))
        began = time.monotonic()
        worker.send_signal(signal.SIGSTOP)
        time.sleep(self.seconds)
        self.stopped_for = time.monotonic() - began
        self.was_alive = worker.is_running() and worker.status() == psutil.STATUS_STOPPED
        if self.was_alive:
            worker.send_signal(signal.SIGCONT)
        self.woken.set()


def contents(dataset: Any, field: str) -> list[list[tuple[Any, ...]]]:
    """What a run wrote to each sample, but ids."""
    dataset.reload()
    return [
        [
            (label.label, tuple(label.bounding_box), label.confidence, label.mask.tobytes())
            for label in (labels.detections if labels else ())
        ]
        for labels in dataset.values(field)
    ]


def measure_nodes() -> dict[str, Any]:
    """Kill a node during a run and add another; how long until the rate is back."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token"}
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    import ray
    from ray.cluster_utils import Cluster

    from ntt_plugin.worker.dispatcher import LostItem, dispatch
    from ntt_plugin.worker.ray_actors import RayPool
    from ntt_plugin.worker.ray_cluster import Ray

    cores = {"num_cpus": WORKERS_A_NODE}
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
    )
    nodes = [cluster.add_node(**cores) for _ in range(NODES)]
    ray.init(address=cluster.address, log_to_driver=False, configure_logging=False)
    place = Ray(cluster.address, workers=NODES * WORKERS_A_NODE, gpus_each=0)
    pool = RayPool(place, "benchmarks.stub_workers:Echo", str(STUB_SECONDS).encode())
    full = NODES * WORKERS_A_NODE / STUB_SECONDS
    moments: list[float] = []
    steady_since = killed = added = 0.0
    lost = wrong = 0
    ended = False
    most = int(full * (BEFORE_SECONDS + AFTER_SECONDS + 60))
    sent = 0

    def items() -> Any:
        nonlocal sent
        while not ended and sent < most:
            yield sent, b"item %d" % sent
            sent += 1

    results = {}
    for key, result in dispatch(items(), pool):
        now = time.monotonic()
        moments.append(now)
        lost += isinstance(result, LostItem)
        wrong += key in results
        results[key] = True
        if not killed:
            if not steady_since and rate(moments, now) >= 0.9 * full:
                steady_since = now
            if steady_since and now - steady_since >= BEFORE_SECONDS:
                before = statistics.median(
                    rate(moments, now - second) for second in range(int(BEFORE_SECONDS) - 1)
                )
                killed = time.monotonic()
                cluster.remove_node(nodes[0], allow_graceful=False)
                nodes[0] = cluster.add_node(**cores)
                added = time.monotonic()
        elif now - added > AFTER_SECONDS or (
            now - added > 2 and rate(moments, now) >= 0.9 * before
        ):
            ended = True
    back = next(
        (at for at in moments if at - added > 1 and rate(moments, at) >= 0.9 * before), None
    )
    ray.shutdown()
    cluster.shutdown()
    return {
        "nodes": NODES,
        "workers": NODES * WORKERS_A_NODE,
        "results": len(results),
        "missing": sent - len(results),
        "doubled": wrong,
        "lost": lost,
        "results_a_second_before": round(before, 1),
        "seconds_from_the_kill_to_the_new_node": round(added - killed, 1),
        "seconds_from_the_new_node_to_the_rate": None if back is None else round(back - added, 1),
    }


def measure_memory() -> dict[str, Any]:
    """What becomes of an item that eats memory, and of a run on a node without any."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token"}
    os.environ |= {"RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_memory_monitor_refresh_ms": "100"}
    import psutil

    memory = psutil.virtual_memory()
    share = (memory.total - memory.available + ROOM_GIB * 2**30) / memory.total
    return {
        "one item eats": memory_run(share, 30),
        "a threshold that is always passed": memory_run(0.0001, None),
    }


def memory_run(threshold: float, eater: int | None) -> dict[str, Any]:
    """One run of 100 items on a node that ends workers above a share of the memory."""
    os.environ["RAY_memory_usage_threshold"] = f"{threshold:.4f}"
    import ray
    from ray.cluster_utils import Cluster

    from ntt_plugin.errors import WorkerError
    from ntt_plugin.worker.dispatcher import LostItem, dispatch
    from ntt_plugin.worker.ray_actors import RayPool
    from ntt_plugin.worker.ray_cluster import Ray

    head = {"num_cpus": 2, "include_dashboard": False, "object_store_memory": 100 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    ray.init(address=cluster.address, log_to_driver=False, configure_logging=False)
    place = Ray(cluster.address, workers=2, gpus_each=0)
    items = [(n, b"eat" if n == eater else b"item %d" % n) for n in range(100)]
    began, result = time.monotonic(), {"threshold": round(threshold, 3)}
    try:
        pool = RayPool(place, "benchmarks.stub_workers:Eating", b"8")
        found = dict(dispatch(items, pool))
        result["results"] = sum(not isinstance(one, LostItem) for one in found.values())
        result["lost"] = {n: x.reason for n, x in found.items() if isinstance(x, LostItem)}
    except WorkerError as error:
        result["ended with"] = str(error)
    result["seconds"] = round(time.monotonic() - began, 1)
    ray.shutdown()
    cluster.shutdown()
    return result


def rate(moments: list[float], now: float) -> int:
    """Results of the second before a moment."""
    return bisect_left(moments, now) - bisect_left(moments, now - 1)


if __name__ == "__main__":
    main()
