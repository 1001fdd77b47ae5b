"""What describes a cluster, where Ray may not be installed."""

import subprocess
import sys

import pytest

from ntt_plugin.errors import WorkerError
from ntt_plugin.worker.ray_cluster import Ray
from tests.bad_input.expectations import row


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


@row("no-ray")
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
        "from ntt_plugin.worker.ray_actors import RayPool\n"
        "try:\n"
        "    RayPool(ntt.Ray(workers=2), 'any:handler', b'')\n"
        "except ntt.NttError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'ray>=2.60,<3'" in done.stdout, done.stderr
    assert len(done.stdout.splitlines()) == 1


def test_describing_a_cluster_imports_neither_ray_nor_torch():
    code = (
        "import sys, ntt_plugin as ntt; ntt.Ray(workers=3);"
        "assert not {'ray', 'torch', 'fiftyone'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
