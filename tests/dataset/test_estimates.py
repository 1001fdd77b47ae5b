from __future__ import annotations

import re

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ntt_plugin.dataset.estimates import (
    encoder_work,
    estimate_references,
    in_words,
    segmentation_work,
)
from ntt_plugin.dataset.networks import available_devices, networks_of
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


def test_ten_times_the_references_take_ten_times_as_long():
    one, ten = (estimate_references(PRESETS["tiny"], "cpu", count) for count in (1, 10))
    assert ten.seconds == pytest.approx(10 * one.seconds)


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
