"""Actors of a cluster of two nodes on this machine, which all tests of this file share."""

import json
import os
import secrets
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import ntt_plugin as ntt
from ntt_plugin.demo.dataset import make_dataset
from ntt_plugin.engine import Recipe
from ntt_plugin.errors import WorkerError
from ntt_plugin.worker.dispatcher import Dispatcher, LostItem, dispatch
from ntt_plugin.worker.ray_cluster import Ray
from tests.bad_input.expectations import row

from .conftest import results

ROOT = Path(__file__).resolve().parents[2]
TEXTS = [f"x{number}" for number in range(60)]
CAPITALS = {number: text.upper() for number, text in enumerate(TEXTS)}

NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}

DRIVER = """
import sys
from ntt_plugin.worker.dispatcher import dispatch
from ntt_plugin.worker.ray_actors import RayPool
from ntt_plugin.worker.ray_cluster import Ray
pool = RayPool(Ray(sys.argv[1], workers=1, gpus_each=0), "tests.worker.stubs:Echo", b"")
for key, result in dispatch([(0, b"who")] * 4 + [(1, b"hang on")] * 40, pool):
    print("actor", result.decode().split()[0], flush=True)
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[object]:
    """A head of one core and a node of one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # Ray's workers give way to all else. Beside other tests they would hardly run.
        patch.setenv("RAY_worker_niceness", "0")
        from ray.cluster_utils import Cluster

        nodes = Cluster(
            initialize_head=True,
            head_node_args={"include_dashboard": False, **NODE},
        )
        # Ray takes 20 seconds to refuse it, beside the other tests.
        nodes.refused = subprocess.Popen(
            [sys.executable, "-c", DRIVER, nodes.address],
            env={**os.environ, "RAY_AUTH_TOKEN": secrets.token_hex(32)},
            stderr=subprocess.PIPE,
            text=True,
        )
        import ray

        # One connection for all tests: each of its own would cost seconds. It is the head's.
        ray.init(address=nodes.address, log_to_driver=False, configure_logging=False)
        nodes.second = nodes.add_node(**NODE)
        yield nodes
        ray.shutdown()
        nodes.shutdown()


@pytest.fixture
def pool(cluster):
    """Makes pools of stub actors."""
    from ntt_plugin.worker.ray_actors import RayPool

    def make(size: int, stub: str = "Echo", spec: bytes = b"", **options: object) -> RayPool:
        place = Ray(cluster.address, **{"workers": size, "gpus_each": 0, **options})
        return RayPool(place, f"tests.worker.stubs:{stub}", spec)

    return make


def test_each_item_gets_its_own_result(pool):
    assert results(TEXTS, pool(2)) == CAPITALS


def test_handlers_are_closed_when_all_is_done(pool, tmp_path):
    dispatcher = Dispatcher(pool(1, "Closing", str(tmp_path / "log").encode()))
    assert dict(dispatcher.run([(0, b"x")])) == {0: b"X"}
    assert dispatcher.last_words == [b"last words"]
    assert [path.read_text() for path in tmp_path.iterdir()] == ["closed"]


def test_actors_import_neither_fiftyone_nor_torch_and_end_with_the_run(pool):
    found = results(["who", "modules", "threads"], pool(1))
    modules = set(found[1].split())
    assert "ntt_plugin.worker.ray_child" in modules
    assert not {"fiftyone", "pymongo", "torch"} & modules
    assert found[2] == "1"
    actor = int(found[0].split()[0])
    deadline = time.monotonic() + 10
    while psutil.pid_exists(actor) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not psutil.pid_exists(actor)


def test_an_item_that_kills_its_actors_is_lost_and_no_other(pool):
    texts = [*TEXTS]
    texts[17] = "kill 17"
    found = results(texts, pool(2))
    assert isinstance(found.pop(17), LostItem)
    assert found == {key: text for key, text in CAPITALS.items() if key != 17}


def test_an_actor_that_dies_once_loses_nothing(pool, tmp_path):
    texts = [*TEXTS]
    texts[9] = f"once {tmp_path / 'marker'}"
    found = results(texts, pool(1))
    assert set(found) == set(range(60)) and LostItem not in map(type, found.values())


def test_a_stopped_actor_is_given_up_and_its_items_are_done_by_another(pool, tmp_path):
    texts = ["x", f"stop {tmp_path / 'marker'}", "y"]
    found = results(texts, pool(1), item_seconds=2)
    assert found == {number: text.upper() for number, text in enumerate(texts)}


@pytest.mark.parametrize(
    ("stub", "cause"), [("refuse", "gpu-7 cannot read /data/a.png"), ("crash", "libmissing.so")]
)
def test_actors_that_never_start_end_the_run_with_the_cause(pool, stub, cause):
    with pytest.raises(WorkerError, match=f"No worker can start: .*{cause}"):
        results(TEXTS, pool(1, stub))


def test_a_start_that_downloads_for_longer_than_its_limit_is_waited_for_aloud(pool, monkeypatch):
    monkeypatch.setattr("ntt_plugin.worker.ray_actors._ASK_SECONDS", 0.3)
    told: list[str] = []
    assert results(["x"], pool(1, "downloading"), start_seconds=3, tell=told.append) == {0: "X"}
    assert told == ["gpu-7 is downloading facebook/sam2-hiera-large."]


def test_items_of_a_chunk_that_together_take_longer_than_the_limit_are_done(pool, monkeypatch):
    monkeypatch.setattr("ntt_plugin.worker.ray_actors._ASK_SECONDS", 0.2)
    told: list[str] = []
    found = results(TEXTS[:8], pool(1, "Echo", b"0.7"), item_seconds=2, tell=told.append)
    assert (found, told) == ({number: CAPITALS[number] for number in range(8)}, [])


def test_an_actor_that_gets_on_is_waited_for_and_given_up_once_it_hangs(pool, monkeypatch):
    monkeypatch.setattr("ntt_plugin.worker.ray_actors._ASK_SECONDS", 0.2)
    told: list[str] = []
    found = results(["parts 4", "x"], pool(1), item_seconds=2, tell=told.append)
    assert (found, told) == ({0: "PARTS 4", 1: "X"}, [])
    found = results(["parts 1 hang", "x"], pool(1), item_seconds=2)
    assert isinstance(found[0], LostItem) and found[1] == "X"


@row("no-node")
@pytest.mark.parametrize(
    ("reserve", "sentence"),
    [({"gpus_each": 1}, "has 1 GPU"), ({"cpus_each": 64}, "has 64 CPU cores")],
)
def test_actors_for_which_no_node_is_made_end_the_run(pool, monkeypatch, reserve, sentence):
    monkeypatch.setattr("ntt_plugin.worker.ray_actors._PLACE_SECONDS", 1)
    with pytest.raises(WorkerError, match=f"No node of the Ray cluster {sentence}"):
        results(TEXTS, pool(1, **reserve))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "2 worker(s) were killed due to the node running low on memory. Memory on the node "
            "(IP: 127.0.0.1, ID: 23df) was 9.03GB used / 23.54GB limit (0.383647).\n\nMore.",
            "its node ran low on memory (9.03GB used / 23.54GB limit), so Ray ended it",
        ),
        ("Task was killed.", "its node ran low on memory, so Ray ended it"),
    ],
)
def test_a_worker_that_rays_memory_monitor_ended_says_so_in_a_sentence(text, said):
    """The first text is what a real monitor said; see ``benchmarks/lost_workers.py memory``."""
    from ray.exceptions import OutOfMemoryError

    from ntt_plugin.worker.ray_actors import _cause

    assert _cause(OutOfMemoryError(text)) == said


def test_a_node_that_an_autoscaler_may_add_is_waited_for_aloud(pool, monkeypatch):
    monkeypatch.setattr("ntt_plugin.worker.dispatcher._WAIT_FIRST_TOLD", 0)
    monkeypatch.setattr("ntt_plugin.worker.ray_actors._PLACE_SECONDS", 0)
    # As Ray's monitor tells it of a cluster whose autoscaler is adding a node.
    status = json.dumps(
        {"autoscaler_report": {"active_nodes": {"head": 1}, "pending_launches": {"gpus": 1}}}
    )
    monkeypatch.setattr("ray.experimental.internal_kv._internal_kv_get", lambda key: status)
    told: list[str] = []

    def stop() -> None:
        if told:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        results(["x"], pool(1, gpus_each=1), tell=told.append, tick=stop)
    assert told[0].startswith(
        "Waiting for a node with 1 GPU, which the Ray cluster's autoscaler has to add, since"
    )


def test_a_cluster_without_room_is_waited_for_aloud(pool, monkeypatch):
    import ray

    monkeypatch.setattr("ntt_plugin.worker.dispatcher._WAIT_FIRST_TOLD", 0)
    monkeypatch.setattr("ntt_plugin.worker.ray_actors._PLACE_SECONDS", 0)
    busy = dispatch(((n, b"x") for n in range(100_000)), pool(2, "Echo", b"0.05"))
    next(busy)
    # The head hears of what its nodes have left by and by.
    deadline = time.monotonic() + 30
    while ray.available_resources().get("CPU") and time.monotonic() < deadline:
        time.sleep(0.05)
    told: list[str] = []

    def make_room(sentence: str) -> None:
        told.append(sentence)
        busy.close()

    assert results(["x"], pool(1), tell=make_room) == {0: "X"}
    assert told and told[0].startswith("Waiting for a CPU core of the Ray cluster (0 of 2 free)")


def test_a_lost_node_costs_nothing_and_a_new_one_is_used(pool, cluster):
    stream = ((n, b"x%d" % n) for n in range(300))
    found = {}
    for key, result in dispatch(stream, pool(2, "Echo", b"0.02")):
        found[key] = result
        if len(found) == 40:
            cluster.remove_node(cluster.second, allow_graceful=False)
        if len(found) == 100:
            cluster.second = cluster.add_node(**NODE)
    assert found == {n: b"X%d" % n for n in range(300)}


def test_actors_end_with_their_driver(cluster):
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, cluster.address], stdout=subprocess.PIPE, text=True
    )
    assert driver.stdout is not None
    # Ray may write lines of its own.
    told = next(line for line in driver.stdout if line.startswith("actor "))
    actor = psutil.Process(int(told.split()[1]))
    driver.kill()
    driver.communicate()
    assert psutil.wait_procs([actor], timeout=60)[1] == []


@row("wrong-token")
def test_a_wrong_token_is_told_in_a_sentence(cluster):
    _, errors = cluster.refused.communicate()
    last = errors.strip().splitlines()[-1]
    assert "WorkerError: The Ray cluster at" in last and "set RAY_AUTH_MODE=token" in last


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Four scenes below ``here``, which the nodes have below ``there``; the bank ``shapes``."""
    folder = tmp_path_factory.mktemp("scenes")
    name = f"test_{uuid.uuid4().hex}"
    dataset = make_dataset(folder / "here", pool=2, targets=2, name=name)
    recipe = Recipe.from_preset("tiny", grid=4)
    ntt.build_memory_bank(
        dataset, "ground_truth", "shapes", preset=recipe, device="cpu", progress=False
    )
    ntt.segment(dataset, "shapes", "alone", device="cpu", cache=False, progress=False)
    (folder / "here").rename(folder / "there")
    yield dataset, folder
    dataset.delete()


def contents(dataset, field: str) -> list[list[tuple]]:
    return [
        [
            (label.label, tuple(label.bounding_box), label.confidence, label.mask.tobytes())
            for label in labels.detections
        ]
        for labels in dataset.values(field)
    ]


def test_a_real_run_gives_the_labels_of_one_process(cluster, scenes):
    dataset, folder = scenes
    place = Ray(
        cluster.address,
        workers=2,
        gpus_each=0,
        paths={str(folder / "here"): str(folder / "there")},
    )
    options = {"device": "cpu", "cache": False, "progress": False}
    report = ntt.segment(dataset, "shapes", "ray", workers=place, **options)
    assert report.segmented == 4 and report.instances > 0
    dataset.reload()
    assert contents(dataset, "ray") == contents(dataset, "alone")


def test_a_node_without_the_images_is_named(cluster, scenes):
    dataset, _ = scenes
    place = Ray(cluster.address, workers=1, gpus_each=0)
    with pytest.raises(ntt.NttError, match=r"cannot read .*; mount it there or give paths="):
        ntt.segment(dataset, "shapes", "unread", workers=place, device="cpu", progress=False)


@row("no-cluster")
@pytest.mark.parametrize("address", ["127.0.0.1:9", "nowhere", "host.invalid:6379", "[::1]:99999"])
def test_an_address_without_a_cluster_is_told_at_once(address, monkeypatch):
    import ray

    from ntt_plugin.worker.ray_actors import RayPool

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(WorkerError, match="No Ray cluster answers"):
        RayPool(Ray(address), "any:handler", b"")
