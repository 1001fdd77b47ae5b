import re
from dataclasses import asdict

import pytest

from ntt_plugin.dataset.database.locks import RunLock
from ntt_plugin.dataset.database.run_record import (
    is_segmentation_by,
    keep_record,
    keep_results,
)
from ntt_plugin.dataset.inspect.estimates import KeptShare, estimate_segmentation, in_words
from ntt_plugin.dataset.labels.label_field import declare
from ntt_plugin.dataset.networks import available_devices, networks_of
from ntt_plugin.dataset.segmentation.report import SegmentReport, to_dict
from ntt_plugin.engine import PRESETS, Recipe
from ntt_plugin.engine.recipe import ADDED_LATER


def keep(dataset, facts, report):
    """The record and the report of a run into ``ntt``."""
    declare(dataset, "ntt", {})
    with RunLock(dataset, "ntt") as lock:
        keep_record(dataset, "ntt", facts, lock)
        keep_results(dataset, "ntt", lock, report=to_dict(report))


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
    keep(dataset, {**facts, "recipe": asdict(recipe)}, report)
    found = estimate_segmentation(dataset, PRESETS["tiny"], "cpu", 1)
    assert (found is not None) is measured
    if found:
        assert str(found) == "about 8 minutes (as fast as the last run here)"


def test_a_run_of_a_version_without_later_fields_tells_it_too():
    former = {key: v for key, v in asdict(PRESETS["tiny"]).items() if key not in ADDED_LATER}
    facts = {"bank": "b", "recipe": former}
    assert is_segmentation_by(facts, PRESETS["tiny"])
    assert not is_segmentation_by(facts, Recipe.from_preset("tiny", stability_exponent=2.0))


def test_images_whose_proposals_are_kept_take_hardly_any_time(dataset):
    report = SegmentReport("ntt", "b", "tiny", device="cpu", segmented=10, seconds=100.0)
    keep(dataset, {"bank": "b", "recipe": asdict(PRESETS["tiny"])}, report)

    def estimated(share: float, sampled: bool = False):
        return estimate_segmentation(
            dataset, PRESETS["tiny"], "cpu", 1000, KeptShare(share, sampled)
        )

    none, half, every = estimated(0), estimated(0.5, True), estimated(1)
    assert none.seconds == pytest.approx(10_000)
    assert half.seconds == pytest.approx(none.seconds / 2, rel=0.05)
    assert every.seconds < none.seconds / 20
    kept = "the proposals of about 500 of them are kept"
    assert half.source == f"{kept}; as fast as the last run here"
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
