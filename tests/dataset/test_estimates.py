from __future__ import annotations

import re
from dataclasses import asdict

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ntt_plugin.dataset.estimates import (
    encoder_work,
    estimate_references,
    estimate_segmentation,
    in_words,
    segmentation_work,
)
from ntt_plugin.dataset.kept_share import KeptShare
from ntt_plugin.dataset.label_field import declare
from ntt_plugin.dataset.networks import available_devices, networks_of
from ntt_plugin.dataset.report import SegmentReport, to_dict
from ntt_plugin.dataset.run_record import keep_record, keep_results
from ntt_plugin.engine import PRESETS, Recipe, Segmenter


def test_the_work_of_the_tiny_networks_is_what_torch_counts():
    recipe = Recipe.from_preset("tiny", grid=2)
    segmenter = Segmenter.from_preset(recipe, device="cpu")
    with FlopCounterMode(display=False) as counter:
        segmenter.propose(torch.rand(3, 64, 64).mul(255).byte().permute(1, 2, 0).numpy())
    # Two operations a multiply-add.
    assert segmentation_work(recipe) == pytest.approx(counter.get_total_flops() / 2e9, rel=0.2)


def test_work_grows_with_the_networks():
    work = [segmentation_work(PRESETS[name]) for name in ("tiny", "fast", "paper")]
    assert work[0] < work[1] < work[2]


def test_a_smaller_input_is_less_work():
    half = Recipe.from_preset("paper", encoder_size=259)
    assert encoder_work(half) == pytest.approx(encoder_work(PRESETS["paper"]) / 4)


def test_ten_times_the_references_take_ten_times_as_long(dataset):
    one, ten = (estimate_references(dataset, PRESETS["tiny"], "cpu", count) for count in (1, 10))
    assert ten.seconds == pytest.approx(10 * one.seconds)


def test_a_reference_takes_the_encoders_part_of_an_image(dataset):
    recipe = PRESETS["paper"]
    report = SegmentReport("ntt", "b", "paper", device="cpu", segmented=10, seconds=100.0)
    declare(dataset, "ntt", {})
    keep_record(dataset, "ntt", {"bank": "b", "recipe": asdict(recipe)})
    keep_results(dataset, "ntt", report=to_dict(report))
    expected = 10 * encoder_work(recipe) / segmentation_work(recipe)
    found = estimate_references(dataset, recipe, "cpu", 1)
    assert found.seconds == pytest.approx(expected)
    assert found.source == "as fast as the last run here"


@pytest.mark.parametrize(
    ("facts", "recipe", "measured"),
    [
        ({"bank": "b"}, PRESETS["tiny"], True),
        ({"bank": "b"}, Recipe.from_preset("tiny", nms_iou=0.7), True),
        ({"bank": "b"}, Recipe.from_preset("tiny", grid=4), False),
        ({"boxes": "ground_truth"}, PRESETS["tiny"], False),
        ({"bank": "b", "suggestions": 20}, PRESETS["tiny"], False),
    ],
)
def test_only_a_segmentation_by_the_same_recipe_tells_how_long_one_takes(
    dataset, facts, recipe, measured
):
    report = SegmentReport("ntt", "b", "tiny", device="cpu", segmented=10, seconds=5000.0)
    declare(dataset, "ntt", {})
    keep_record(dataset, "ntt", {**facts, "recipe": asdict(recipe)})
    keep_results(dataset, "ntt", report=to_dict(report))
    found = estimate_segmentation(dataset, PRESETS["tiny"], "cpu", 1)
    assert (found.source == "as fast as the last run here") is measured
    assert not measured or found.seconds == pytest.approx(500)


def test_a_guess_says_so(dataset):
    told = str(estimate_references(dataset, PRESETS["tiny"], "cpu", 1))
    assert told == "a moment (on cpu; a guess until the first run)"


def test_images_whose_proposals_are_kept_take_hardly_any_time(dataset):
    def estimated(share: float, sampled: bool = False):
        kept = KeptShare(share, sampled)
        return estimate_segmentation(dataset, PRESETS["paper"], "cpu", 1000, kept)

    none, half, every = estimated(0), estimated(0.5, True), estimated(1)
    assert half.seconds == pytest.approx(none.seconds / 2, rel=0.05)
    assert every.seconds < none.seconds / 20
    assert "about 500 of them are kept; on cpu" in half.source
    assert every.source == "the proposals of all of them are kept"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "a moment"),
        (45, "about 45 seconds"),
        (600, "about 10 minutes"),
        (3 * 3600, "about 3 hours"),
        (5 * 86_400, "about 5 days"),
    ],
)
def test_times_are_said_as_people_say_them(seconds, words):
    assert in_words(seconds) == words


def test_the_bundled_networks_are_here():
    assert all(network.here for network in networks_of(PRESETS["tiny"]))


def test_a_network_that_is_not_here_is_named_with_its_size(tmp_path, monkeypatch):
    monkeypatch.setattr("ntt_plugin.dataset.networks.find_cached", lambda _: None)
    monkeypatch.setattr("ntt_plugin.dataset.networks.find_in_zoo", lambda *_: None)
    told = [str(network) for network in networks_of(PRESETS["paper"])]
    assert all(re.search(r"a download, [\d,]+ MB", text) for text in told)


def test_a_network_on_disk_is_here(tmp_path):
    recipe = Recipe.from_preset("paper", encoder=str(tmp_path))
    assert [network.here for network in networks_of(recipe)][1]


def test_the_cpu_is_always_a_device():
    assert available_devices()[-1] == "cpu"
