"""What `workers=` may be."""

import subprocess
import sys

import pytest

from ntt_plugin.errors import WorkerError
from ntt_plugin.worker import workers
from ntt_plugin.worker.ray_cluster import Ray


@pytest.mark.parametrize("asked", [0, -1, True, 2.0, "4", "all", 100_000, [2]])
def test_what_is_no_number_of_workers_is_refused(asked):
    with pytest.raises(WorkerError, match="give a number of processes"):
        workers.require_workers(asked)


@pytest.mark.parametrize("asked", [None, 1, 64, "auto", Ray(workers=2)])
def test_what_can_be_had_is_taken(asked):
    workers.require_workers(asked, device="cuda")


def test_one_device_for_all_workers_is_refused():
    with pytest.raises(WorkerError, match="cuda:1"):
        workers.require_workers(2, device="cuda:1")
    workers.require_workers(None, device="cuda:1")


@pytest.mark.parametrize(
    ("gpus", "cores", "size"),
    [(["0", "1", "2"], 64, 3), ([], 64, 16), ([], 2, 1)],
)
def test_auto_is_one_a_gpu_or_one_for_four_cores(monkeypatch, gpus, cores, size):
    monkeypatch.setattr(workers, "gpus_here", lambda: gpus)
    monkeypatch.setattr(workers, "cores_here", lambda: cores)
    pool = workers.open_pool("auto", "any:handler", b"")
    pool.close(finished=False)
    assert pool.size == size


@pytest.mark.parametrize(
    "wrong",
    [
        {"workers": 0},
        {"workers": True},
        {"workers": "all"},
        {"gpus_each": -1},
        {"gpus_each": 1.5},
        {"gpus_each": float("nan")},
        {"cpus_each": "two"},
        {"address": ""},
        {"address": "ray://head:10001"},
        {"paths": ["/data"]},
        {"paths": {"/data": 3}},
        {"paths": {"": "/mnt"}},
    ],
)
def test_a_cluster_that_cannot_be_is_refused_by_its_wrong_value(wrong):
    with pytest.raises(WorkerError, match=next(iter(wrong))):
        Ray(**wrong)


def test_without_ray_one_sentence_says_how_to_install_it(tmp_path):
    code = (
        "import sys, importlib.machinery\n"
        "class NoRay:\n"
        "    def find_spec(name, path=None, target=None):\n"
        "        if name == 'ray': raise ModuleNotFoundError('No module named ray', name='ray')\n"
        "sys.meta_path.insert(0, NoRay)\n"
        "import importlib.util\n"
        "plain = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *a: None if name == 'ray' else plain(name, *a)\n"
        "import ntt_plugin as ntt\n"
        "from ntt_plugin.worker.workers import open_pool\n"
        "cluster = ntt.Ray(workers=2)\n"
        "try:\n"
        "    open_pool(cluster, 'any:handler', b'')\n"
        "except ntt.NttError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert 'pip install "no-time-to-train[ray]"' in done.stdout, done.stderr
    assert len(done.stdout.splitlines()) == 1


def test_describing_a_cluster_imports_neither_ray_nor_torch():
    code = (
        "import sys, ntt_plugin as ntt; ntt.Ray(workers=3);"
        "assert not {'ray', 'torch', 'fiftyone'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
