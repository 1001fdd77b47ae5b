"""What the operators of cached proposals say, and that segmenting shows when it used some."""

import pytest

import ntt_plugin as ntt
from ntt_plugin.app.operators import OPERATORS
from tests.app.driver import page


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("NTT_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "proposals"


def facts(messages):
    return str(page(messages))


def test_computing_is_delegated_unless_chosen_otherwise():
    delegated = [o.operator_name for o in OPERATORS if o().config.default_choice_to_delegated]
    assert delegated == ["compute_proposals"]


def test_the_form_says_how_many_images_and_that_the_dataset_stays(plugin, dataset):
    form = plugin.form(dataset, "compute_proposals", params={"preset": "tiny"})
    assert form.errors == {}
    assert f"{len(dataset)} images" in form.said("will_do")
    assert "the dataset stays as it is" in form.said("will_do")


def test_what_was_computed_is_told_counted_and_used(plugin, dataset):
    first = plugin.run(dataset, "compute_proposals", {"preset": "tiny"})
    assert f"{len(dataset)} were computed now" in facts(first)
    again = plugin.run(dataset, "compute_proposals", {"preset": "tiny"})
    assert "0 were computed now" in facts(again)

    shown = plugin.run(dataset, "get_proposals_info", {})
    assert f"{len(dataset)} sets of proposals" in facts(shown)

    segmented = plugin.run(
        dataset, "segment_with_memory_bank", {"bank": "shapes", "label_field": "kept"}
    )
    assert "From kept proposals" in facts(segmented)
    assert ntt.load_segment_report(dataset, "kept").from_cache == len(dataset)


def test_segmenting_can_do_without(plugin, dataset, own_store):
    params = {"bank": "shapes", "label_field": "alone", "cache": False}
    plugin.run(dataset, "segment_with_memory_bank", params)
    assert ntt.load_segment_report(dataset, "alone").segmented == len(dataset)
    assert not own_store.exists()


def test_clearing_says_beforehand_what_goes_and_where_from(plugin, dataset, own_store):
    ntt.propose(dataset.limit(2), "tiny", progress=False)
    form = plugin.form(dataset, "clear_proposals")
    assert "2 sets of proposals" in form.said("will_do") and str(own_store) in form.said("will_do")
    assert "2 sets of proposals" in facts(plugin.run(dataset, "clear_proposals", {}))
    assert ntt.get_proposals_info().entries == 0


def test_a_store_that_cannot_be_looked_into_is_said(plugin, dataset, own_store):
    own_store.parent.mkdir(parents=True)
    own_store.mkdir()
    own_store.chmod(0)
    try:
        list(own_store.iterdir())
    except PermissionError:
        assert "Cannot look into" in plugin.form(dataset, "clear_proposals").text()
    else:
        pytest.skip("this user may look into everything")
    finally:
        own_store.chmod(0o700)
