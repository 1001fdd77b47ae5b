"""Under which name a panel reviews: its own, one that a closed panel left, or a new one."""

import time

import pytest

from ntt_plugin.dataset.review import open_panels
from ntt_plugin.dataset.review.journal import reviewers_of
from ntt_plugin.dataset.review.queue import review_queue
from ntt_plugin.dataset.review.steps import review_labels

FIELD = "ground_truth"


@pytest.fixture
def step(dataset):
    """Gives a function that lets a reviewer approve one more label."""
    items = iter(review_queue(dataset, FIELD).items)
    return lambda name: review_labels(dataset, FIELD, [next(items).key], reviewer=name)


def named(dataset, panel, names=()):
    return open_panels.reviewer_name(dataset, FIELD, panel, dict(names))


def test_reviewers_are_told_whoever_took_the_last_step_first(dataset, step):
    for name in ("one", "two", "one"):
        step(name)
        time.sleep(0.01)
    assert reviewers_of(dataset, FIELD) == ["one", "two"]
    assert reviewers_of(dataset, "ground") == []


def test_a_panel_keeps_its_name(dataset, step):
    name = named(dataset, "a")
    step(name)
    assert named(dataset, "a", {FIELD: name}) == name


def test_a_panel_takes_no_name_of_one_that_is_open(dataset, step):
    name = named(dataset, "a")
    step(name)
    assert named(dataset, "b") != name


def test_a_panel_takes_the_name_that_a_closed_one_left(dataset, step):
    name = named(dataset, "a")
    step(name)
    open_panels.is_closed(dataset, "a")
    assert named(dataset, "b") == name
    assert named(dataset, "c") != name


def test_a_panel_takes_no_name_of_a_script(dataset, step):
    step("anna")
    assert open_panels.is_of_a_panel(named(dataset, "a"))


def test_a_name_that_another_panel_took_meanwhile_is_not_used(dataset, step):
    name = named(dataset, "a")
    step(name)
    open_panels.is_closed(dataset, "a")
    assert named(dataset, "b") == name
    open_panels.is_open(dataset, "a", [name])
    assert named(dataset, "b", {FIELD: name}) == name
    assert named(dataset, "a", {FIELD: name}) != name


def test_a_panel_that_gives_signs_keeps_its_name(dataset, step, monkeypatch):
    name = named(dataset, "a")
    step(name)
    later = time.time() + open_panels.GONE + 1
    monkeypatch.setattr(open_panels, "_signs", {})
    monkeypatch.setattr(open_panels.time, "time", lambda: later)
    open_panels.is_open(dataset, "a", [name])
    assert named(dataset, "b") != name


def test_a_panel_reviews_other_fields_under_the_same_name(dataset):
    name = named(dataset, "a")
    assert named(dataset, "a", {"another": name}) == name
