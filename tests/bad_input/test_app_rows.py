"""What the App is asked to show or to run, and by which process."""

import time

import pytest
from fiftyone.operators.executor import ExecutionContext, Executor

import ntt_plugin as ntt
from ntt_plugin.app.operators.banks.manage_memory_bank import DeleteMemoryBank, RenameMemoryBank
from ntt_plugin.app.operators.references.remove_references import RemoveReferences
from ntt_plugin.app.panel import judge
from ntt_plugin.app.panel.state import Place
from ntt_plugin.app.runtime import progress
from ntt_plugin.dataset.evaluation.freshness import scored_labels_changed
from ntt_plugin.dataset.review.queue import review_queue
from tests.app.driver import unescaped
from tests.app.hostile import NAMES
from tests.bad_input.expectations import row
from tests.dataset.scenes import ColourSegmenter
from tests.engine.device.test_threads import needs_fork, said_by_a_child

BAD = {
    "dictionary": {"a": 1},
    "list": [1],
    "huge number": 10**400,
    "NaN": float("nan"),
    "true": True,
    "half a character": "\ud800",
}


def form_of(operator, dataset, **params) -> dict:
    """The fields of an operator's form, as the App gets them."""
    request = {"dataset_name": dataset.name, "params": params, "operator_uri": "by hand"}
    return operator().resolve_input(ExecutionContext(request)).to_json()["type"]["properties"]


@row("markdown-names")
@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_is_markdown_is_shown_as_it_is(dataset, name):
    bank = ntt.load_memory_bank(dataset, "blocks")
    held = bank.references(bank.classes[0])[0]
    bank.add(name, held.feature)
    ntt.save_memory_bank(dataset, "named", bank)
    told = form_of(DeleteMemoryBank, dataset, name="named")["will_do"]["view"]["label"]
    assert name not in told
    assert " ".join(name.split()) in unescaped(told)


@row("any-json")
@pytest.mark.parametrize("value", BAD.values(), ids=list(BAD))
@pytest.mark.parametrize("operator", [DeleteMemoryBank, RenameMemoryBank, RemoveReferences])
def test_a_value_of_another_kind_is_refused_by_its_parameters_name(unchanged, operator, value):
    fields = form_of(operator, unchanged, name=value)
    assert fields["name"]["invalid"]
    assert fields["name"]["error_message"].startswith("'name' is ")


@row("any-json")
@pytest.mark.parametrize("place", ["view", "selected", "selected_labels", "filters"])
def test_a_request_that_cannot_be_read_is_refused(unchanged, place):
    request = {"dataset_name": unchanged.name, "params": {}, place: {"a": [1]}}
    form = DeleteMemoryBank().resolve_input(ExecutionContext(request)).to_json()
    assert "The request's" in form["type"]["properties"]["cannot_run"]["error_message"]


@row("forked-process")
@needs_fork
def test_a_forked_child_does_not_hang():
    assert "'spawn'" in said_by_a_child(threads=2)


def of_the_app(dataset, **params) -> ExecutionContext:
    """A request of the App's, whose messages to it are kept."""
    request = {"dataset_name": dataset.name, "params": params, "selected_samples": []}
    return ExecutionContext(request, executor=Executor())


@row("unseen-page")
def test_labels_that_the_grid_does_not_show_are_not_judged(unchanged):
    shown = [[*item.key, item.label] for item in review_queue(unchanged, "before").items]
    kept = {"review": {"field": "before", "labels": shown}}
    ctx = of_the_app(unchanged, panel_id="panel", panel_state=kept)
    judge.step(ctx, Place(tab="review", run="before"), "next", "before")
    told = [m.params["message"] for m in ctx.executor._requests if m.operator_uri == "notify"]
    assert told == ["The grid shows something else; here is the page. Nothing was judged."]
    assert review_queue(unchanged, "before").counts.todo == len(shown)


class Slow(ColourSegmenter):
    """One that leaves time to press Stop."""

    def propose(self, image, progress=None):
        time.sleep(0.3)
        return super().propose(image)


@row("stopped-run")
def test_a_stopped_run_keeps_what_it_wrote_and_the_next_one_goes_on(dataset):
    def work(report):
        return ntt.segment(dataset, "blocks", "found", segmenter=Slow(), progress=report)

    with pytest.raises(progress.RunStopped):
        for _ in progress.run_watched(of_the_app(dataset), "Segmenting", work):
            if dataset.has_field("found") and len(dataset.exists("found")):
                [token] = progress._watched
                assert progress.stop_run(token)
    report = ntt.load_segment_report(dataset, "found")
    assert report.state == "stopped"
    assert len(dataset.exists("found")) == report.segmented < len(dataset)
    again = ntt.segment(dataset, "blocks", "found", segmenter=ColourSegmenter(), progress=False)
    assert again.skipped == report.segmented
    assert len(dataset.exists("found")) == len(dataset)


@row("aged-figures")
def test_an_evaluation_tells_that_its_labels_have_changed(dataset):
    copy = dataset.clone()
    ntt.evaluate(copy, "before", "ground_truth", "score")
    assert not scored_labels_changed(copy, "score")
    sample = copy.exists("before").match({"before.detections.0": {"$exists": True}}).first()
    sample["before"].detections.pop()
    sample.save()
    assert scored_labels_changed(copy, "score")
    copy.delete()
