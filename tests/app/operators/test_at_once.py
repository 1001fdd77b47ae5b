"""Several operators at the same moment in one server of the App, as two or three people do."""

import json
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import ntt_plugin as ntt
from tests.app.driver import NAME
from tests.e2e.server import PATIENCE, Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.stop()


def answer(server: Server, dataset, operator: str, params: dict) -> str:
    """What the server streams back when it is asked as the App asks."""
    body = {
        "operator_uri": f"{NAME}/{operator}",
        "dataset_name": dataset.name,
        "params": params,
        "selected": [],
        "selected_samples": [],
        "selected_labels": [],
        "view": [],
        "extended": {},
        "filters": {},
    }
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(
        f"{server.url}/operators/execute/generator", json.dumps(body).encode(), headers
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        return response.read().decode()


def test_operators_at_the_same_moment_and_one_after_them_end_well(server, dataset):
    dataset.persistent = True
    ntt.segment(dataset, "shapes", "other")

    def segment(field):
        params = {"bank": "shapes", "label_field": field, "overwrite": True}
        return answer(server, dataset, "segment_with_memory_bank", params)

    def compare(_):
        params = {"label_field": "ntt", "other_field": "ground_truth", "gt_field": "ground_truth"}
        return answer(server, dataset, "compare_segmentations", params | {"other_field": "other"})

    def score(field):
        params = {"label_field": field, "gt_field": "ground_truth", "eval_key": f"e_{field}"}
        return answer(server, dataset, "evaluate_segmentation", params | {"overwrite": True})

    for field in ("one", "two", "three"):
        assert "in the field" in segment(field)
    with ThreadPoolExecutor(3) as people:
        for _ in range(3):
            told = list(people.map(segment, ["one", "two"]))
            told += people.map(segment, ["one", "two", "three"])
            assert all("in the field" in text for text in told), told
        told = list(people.map(lambda call: call("other"), [compare, score, segment]))
    told.append(segment("one"))
    told.append(score("ntt"))
    for text in told:
        assert "unexpected error" not in text and "not done" not in text, text
