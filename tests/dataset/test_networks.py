import pytest

import ntt_plugin as ntt
from ntt_plugin.dataset import networks
from ntt_plugin.engine.recipe import Recipe
from ntt_plugin.errors import CheckpointError, RecipeError


@pytest.fixture
def fetched(monkeypatch):
    """What is asked of the hub, on a machine that has no network but the bundled ones."""
    asked: list[str] = []
    monkeypatch.setattr(networks, "find_cached", lambda _: None)
    monkeypatch.setattr(networks, "find_in_zoo", lambda *_: None)
    monkeypatch.setattr(networks, "download", asked.append)
    return asked


def test_both_networks_are_fetched_the_segmenter_first(fetched):
    done = ntt.download_networks("paper", progress=False)
    assert fetched == ["facebook/sam2-hiera-large", "facebook/dinov2-large"]
    assert [network.name for network in done] == fetched


def test_what_is_here_is_not_fetched(fetched, tmp_path):
    recipe = Recipe.from_preset("paper", segmenter=str(tmp_path))
    ntt.download_networks(recipe, progress=False)
    assert fetched == ["facebook/dinov2-large"]


def test_the_bundled_networks_need_nothing(fetched):
    assert ntt.download_networks("tiny", progress=False) == []
    assert fetched == []


def test_a_hub_that_fails_says_so(fetched, monkeypatch):
    def fail(hub_id):
        raise CheckpointError(f"no {hub_id}")

    monkeypatch.setattr(networks, "download", fail)
    with pytest.raises(CheckpointError, match="no facebook/sam2-hiera-large"):
        ntt.download_networks("paper", progress=False)


def test_an_unknown_preset_is_refused(fetched):
    with pytest.raises(RecipeError, match="huge"):
        ntt.download_networks("huge", progress=False)
    assert fetched == []


def test_progress_counts_networks(fetched):
    seen = []
    ntt.download_networks("paper", progress=lambda bar: seen.append((bar.iteration, bar.total)))
    assert seen[-1] == (2, 2)
