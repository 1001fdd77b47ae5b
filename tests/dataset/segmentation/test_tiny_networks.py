import pytest

from ntt_plugin.dataset import networks
from ntt_plugin.dataset.banks.banks import build_memory_bank
from ntt_plugin.dataset.segmentation.segment import segment
from ntt_plugin.engine import Recipe, Segmenter


@pytest.fixture(autouse=True)
def nothing_kept():
    networks._kept.clear()
    yield
    networks._kept.clear()


def test_the_way_through_real_networks_loads_them_once(dataset, monkeypatch):
    loads = []
    load = Segmenter.from_preset
    monkeypatch.setattr(
        Segmenter,
        "from_preset",
        lambda *args, **options: loads.append(args) or load(*args, **options),
    )
    view = dataset.limit(2)
    recipe = Recipe.from_preset("tiny", grid=4)

    bank = build_memory_bank(view, "ground_truth", "blocks", preset=recipe, device="cpu")
    report = segment(view, "blocks", device="cpu")

    assert bank.classes == ["red", "green", "blue"] and len(bank) == 6
    assert (report.segmented, report.failed) == (2, [])
    assert report.instances == view.count("ntt.detections") > 0
    assert len(loads) == 1
