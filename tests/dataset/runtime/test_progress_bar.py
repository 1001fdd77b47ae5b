"""A progress bar with a callback draws nothing: ``sys.stdout`` belongs to all threads."""

import sys
import threading
from collections.abc import Callable

import eta.core.utils as etau
import fiftyone as fo
import pytest

import ntt_plugin as ntt
from ntt_plugin.dataset.evaluation.coco_metrics import evaluate_coco
from ntt_plugin.dataset.runtime.progress_bar import progress_bar


@pytest.fixture
def scenes(make):
    return make()[1]


@pytest.fixture
def drawn(monkeypatch) -> list[str]:
    """Names of the threads in which a bar took ``sys.stdout``."""
    threads: list[str] = []
    enter = etau.CaptureStdout.__enter__

    def noted(capture):
        threads.append(threading.current_thread().name)
        return enter(capture)

    monkeypatch.setattr(etau.CaptureStdout, "__enter__", noted)
    return threads


def test_bars_are_drawn_by_default_as_users_have_them():
    assert fo.config.show_progress_bars


def test_a_bar_without_a_callback_draws(drawn, capsys):
    with progress_bar(2, None) as bar:
        bar.update()
    assert len(drawn) == 1


def test_a_bar_with_a_callback_draws_nothing_and_estimates_the_time(drawn):
    seen = []
    with progress_bar(2, lambda bar: seen.append((bar.iteration, bar.time_remaining))) as bar:
        for _ in bar("ab"):
            pass
    assert [iteration for iteration, _ in seen] == [0, 1, 2]
    assert seen[0][1] is None and seen[1][1] > 0 and seen[2][1] == 0
    assert drawn == []


def test_of_two_bars_at_once_one_is_drawn_and_the_output_stays(drawn):
    before = sys.stdout
    with progress_bar(2, None) as one, progress_bar(2, None) as other:
        one.update()
        other.update()
    assert len(drawn) == 1 and sys.stdout is before
    with progress_bar(2, None) as bar:
        bar.update()
    assert len(drawn) == 2


def test_bars_of_threads_leave_the_output_open():
    def work():
        for _ in range(20):
            with progress_bar(3, None) as bar:
                for _ in bar("abc"):
                    pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    before = sys.stdout
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sys.stdout is before and not before.closed


CALLS: dict[str, Callable] = {
    "evaluate": lambda data, report: ntt.evaluate(data, "found", "truth", "e", progress=report),
    "compare": lambda data, report: ntt.compare_segmentations(
        data, "found", "other", "truth", progress=report
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_calls_of_fiftyone_draw_nothing_and_report(name, scenes, drawn):
    scenes.clone_sample_field("found", "other")
    drawn.clear()
    seen, before = set(), sys.stdout
    CALLS[name](scenes, lambda bar: seen.add((bar.total, bar.iteration, sys.stdout is before)))
    assert drawn == []
    assert (len(scenes), len(scenes), True) in seen
    assert all(same for *_, same in seen)


def test_pycocotools_is_silent_without_touching_stdout(capsys):
    truth = {
        "images": [{"id": 1, "height": 9, "width": 9}],
        "categories": [{"id": 1, "name": "a"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 4, 4], "area": 16.0,
             "iscrowd": 0}
        ],
    }  # fmt: skip
    found = [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 4, 4], "score": 0.5}]
    before, seen = sys.stdout, []
    figures, _ = evaluate_coco(truth, found, "bbox", lambda: seen.append(sys.stdout is before))
    assert figures["AP"] == pytest.approx(1.0)
    assert seen == [True]
    assert capsys.readouterr().out == ""
