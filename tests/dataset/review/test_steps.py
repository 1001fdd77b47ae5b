"""Labels approved, rejected, renamed and taken back, by one person and by several at once."""

import signal
from concurrent.futures import ThreadPoolExecutor

import fiftyone as fo
import pytest
from bson import ObjectId
from fiftyone import ViewField as F

from ntt_plugin.dataset.review import journal as journals
from ntt_plugin.dataset.review.queue import review_queue
from ntt_plugin.dataset.review.steps import (
    approve_above,
    review_history,
    review_labels,
    undo_review,
)
from ntt_plugin.dataset.segmentation.segment import segment
from ntt_plugin.errors import DatasetError
from tests.processes import OtherProcess

FIELD = "ground_truth"


def ids(dataset):
    return dataset.values(f"{FIELD}.detections.id", unwind=True)


def reviews(dataset):
    """What was said of each label, and its class, by its id."""
    dataset = fo.load_dataset(dataset.name)
    found = {}
    for sample in dataset.iter_samples():
        sample.reload()
        for label in sample[FIELD].detections:
            found[label.id] = getattr(label, "review", None), label.label
    return found


def states(dataset):
    return {key: state for key, (state, _) in reviews(dataset).items()}


@pytest.fixture
def scored(dataset):
    """The dataset, whose labels have confidences 0.00, 0.05, 0.10 ... in order."""
    for number, sample in enumerate(dataset.iter_samples(autosave=True)):
        for place, label in enumerate(sample[FIELD].detections):
            label.confidence = 0.05 * (3 * number + place)
    return dataset


def test_one_step_approves_rejects_renames_and_leaves_the_rest(dataset):
    first, second, third, *rest = ids(dataset)
    step = review_labels(dataset, FIELD, [first], [second], {third: "pink"})
    assert (step.approved, step.rejected, step.changed, step.left_alone) == (1, 1, 1, ())
    found = reviews(dataset)
    assert found[first][0] == "approved"
    assert found[second][0] == "rejected"
    assert found[third] == ("approved", "pink")
    assert {found[key][0] for key in rest} == {None}


def test_the_app_can_filter_by_the_review(dataset):
    first, second, *_ = ids(dataset)
    review_labels(dataset, FIELD, [first], [second])
    assert dataset.get_field(f"{FIELD}.detections.review") is not None
    view = dataset.filter_labels(FIELD, F("review") == "rejected")
    assert view.values(f"{FIELD}.detections.id", unwind=True) == [second]


def test_all_else_of_a_label_stays(dataset):
    before = {label.id: label for sample in dataset for label in sample[FIELD].detections}
    key = ids(dataset)[4]
    review_labels(dataset, FIELD, [key])
    after = {label.id: label for sample in dataset for label in sample[FIELD].detections}
    assert list(after) == list(before)
    assert after[key].bounding_box == before[key].bounding_box
    assert (after[key].mask == before[key].mask).all()


def test_a_judged_label_is_left_alone_unless_asked_for_again(dataset):
    key = ids(dataset)[0]
    review_labels(dataset, FIELD, [key], reviewer="ann")
    step = review_labels(dataset, FIELD, reject=[key], reviewer="ben")
    assert (step.rejected, step.left_alone) == (0, (key,))
    assert states(dataset)[key] == "approved"
    assert review_labels(dataset, FIELD, reject=[key], reviewer="ben", again=True).rejected == 1
    assert states(dataset)[key] == "rejected"


@pytest.fixture
def edited(dataset, bank, segmenter):
    """Predictions in ``ntt``; the class of the first one was edited in the App. And its id."""
    segment(dataset, "blocks", "ntt", segmenter=segmenter)
    sample = dataset.first()
    label = sample["ntt"].detections[0]
    label.label = "violet"
    sample.save()
    return dataset, label.id


def to_do(dataset):
    return {item.label_id for item in review_queue(dataset, "ntt").items}


def test_a_label_that_somebody_edited_is_judged(edited):
    dataset, key = edited
    step = review_labels(dataset, "ntt", reject=[key])
    assert (step.rejected, step.left_alone) == (0, (key,))
    assert review_labels(dataset, "ntt", reject=[key], again=True).rejected == 1


def test_a_reset_label_is_to_do_whoever_edited_it(edited):
    dataset, key = edited
    renamed = dataset.last()["ntt"].detections[0].id
    review_labels(dataset, "ntt", change={renamed: "pink"})
    assert not {key, renamed} & to_do(dataset)
    step = review_labels(dataset, "ntt", reset=[key, renamed])
    assert step.reset == 2
    assert {key, renamed} <= to_do(dataset)
    assert approve_above(dataset, "ntt", "violet", 0).approved == 1
    assert review_labels(dataset, "ntt", reject=[renamed]).rejected == 1
    assert not {key, renamed} & to_do(dataset)
    for _ in range(3):
        undo_review(dataset, "ntt")
    assert not {key, renamed} & to_do(dataset)


def test_a_label_of_another_class_than_was_seen_is_left_alone(dataset):
    items = review_queue(dataset, FIELD).items[:3]
    review_labels(dataset, FIELD, change={items[0].key: "pink"}, reviewer="ann")
    seen = {items[0].key: items[0].label, items[1].label_id: items[1].label}
    step = review_labels(
        dataset, FIELD, reject=[item.key for item in items], again=True, expected=seen
    )
    assert (step.rejected, step.left_alone) == (2, (items[0].label_id,))
    assert reviews(dataset)[items[0].label_id] == ("approved", "pink")


def test_a_pair_of_ids_names_a_label_too(dataset):
    item = review_queue(dataset, FIELD).items[0]
    assert review_labels(dataset, FIELD, [item.key]).approved == 1
    assert states(dataset)[item.label_id] == "approved"


def test_labels_of_one_id_in_two_samples_need_pairs(dataset):
    first, second = dataset.limit(2)
    second[FIELD] = first[FIELD].copy()
    second[FIELD].detections[0].id = first[FIELD].detections[0].id
    second.save()
    key = first[FIELD].detections[0].id
    with pytest.raises(DatasetError, match="several samples"):
        review_labels(dataset, FIELD, [key])
    review_labels(dataset, FIELD, [(second.id, key)])
    first.reload()
    second.reload()
    assert getattr(first[FIELD].detections[0], "review", None) is None
    assert second[FIELD].detections[0].review == "approved"


def test_a_deleted_label_is_left_alone(dataset):
    key = ids(dataset)[0]
    dataset.delete_labels(ids=[key])
    assert review_labels(dataset, FIELD, [key]).left_alone == (key,)


@pytest.mark.parametrize("change", [{"": ""}, {"a": " "}, {"a": None}])
def test_an_empty_class_is_refused(dataset, change):
    with pytest.raises(DatasetError, match="new class"):
        review_labels(dataset, FIELD, change=change)


def test_a_label_named_twice_is_refused(dataset):
    key = ids(dataset)[0]
    with pytest.raises(DatasetError, match="named 2 times"):
        review_labels(dataset, FIELD, [key], [key])
    assert states(dataset)[key] is None


def test_all_of_a_class_above_a_confidence(scored):
    kept = scored.filter_labels(FIELD, (F("label") == "red") & (F("confidence") >= 0.4))
    expected = set(kept.values(f"{FIELD}.detections.id", unwind=True))
    other = kept.first()[FIELD].detections[0].id
    review_labels(scored, FIELD, reject=[other])
    step = approve_above(scored, FIELD, "red", 0.4)
    assert step.approved == len(expected) - 1 > 0
    found = states(scored)
    assert {key for key, state in found.items() if state == "approved"} == expected - {other}
    assert found[other] == "rejected"


def test_all_of_a_class_above_its_threshold(scored):
    step = approve_above(scored, FIELD, "red", 0.1, thresholds={"red": 0.5}, only_above=True)
    wanted = {
        label.id
        for sample in scored
        for label in sample[FIELD].detections
        if label.label == "red" and label.confidence >= 0.5
    }
    assert {key for key, state in states(scored).items() if state} == wanted
    assert step.approved == len(wanted) > 0


def test_undo_takes_back_twenty_steps_and_more(dataset):
    before = reviews(dataset)
    keys = ids(dataset)
    after = []
    for number in range(25):
        key = keys[number % len(keys)]
        changes = [{"approve": [key]}, {"reject": [key]}, {"change": {key: f"class {number}"}}]
        review_labels(dataset, FIELD, **changes[number % 3], again=True)
        after.append(reviews(dataset))
    for expected in [*after[-2::-1], before]:
        assert undo_review(dataset, FIELD) is not None
        assert reviews(dataset) == expected
    assert undo_review(dataset, FIELD) is None


def test_only_the_last_steps_are_kept(dataset, monkeypatch):
    monkeypatch.setattr(journals, "KEPT_STEPS", 3)
    for key in ids(dataset)[:5]:
        review_labels(dataset, FIELD, [key])
    assert len(review_history(dataset, FIELD)) == 3


def test_undo_leaves_what_another_person_changed_since(dataset):
    first, second = ids(dataset)[:2]
    review_labels(dataset, FIELD, [first, second], reviewer="ann")
    review_labels(dataset, FIELD, reject=[first], reviewer="ben", again=True)
    undone = undo_review(dataset, FIELD, reviewer="ann")
    assert (undone.approved, undone.left_alone) == (1, (first,))
    assert states(dataset)[first] == "rejected"
    assert states(dataset)[second] is None


def test_undo_leaves_a_class_that_was_edited_in_the_app(dataset):
    key = ids(dataset)[0]
    review_labels(dataset, FIELD, change={key: "pink"})
    sample = dataset.first()
    next(one for one in sample[FIELD].detections if one.id == key).label = "violet"
    sample.save()
    assert undo_review(dataset, FIELD).left_alone == (key,)
    assert reviews(dataset)[key] == ("approved", "violet")


def test_each_reviewer_undoes_own_steps_only(dataset):
    first, second = ids(dataset)[:2]
    review_labels(dataset, FIELD, [first], reviewer="ann")
    review_labels(dataset, FIELD, [second], reviewer="ben")
    undo_review(dataset, FIELD, reviewer="ann")
    assert states(dataset)[first] is None
    assert states(dataset)[second] == "approved"
    assert [step.reviewer for step in review_history(dataset, FIELD, reviewer="ben")] == ["ben"]


def test_two_reviewers_at_once_lose_and_double_nothing(dataset):
    """Each judges every label, one by one and in opposite directions."""
    keys = ids(dataset)

    def judge(reviewer, order, verdict):
        found = fo.load_dataset(dataset.name)
        return [review_labels(found, FIELD, reviewer=reviewer, **{verdict: [key]}) for key in order]

    with ThreadPoolExecutor(2) as pool:
        ann = pool.submit(judge, "ann", keys, "approve")
        ben = pool.submit(judge, "ben", keys[::-1], "reject")
    approved = sum(step.approved for step in ann.result())
    rejected = sum(step.rejected for step in ben.result())
    found = list(states(dataset).values())
    assert (found.count("approved"), found.count("rejected")) == (approved, rejected)
    assert approved + rejected == len(keys)


KILLED = """
import os, signal, sys
import fiftyone as fo
from ntt_plugin.dataset.labels import review_marks
from ntt_plugin.dataset.review.steps import review_labels

name, updates, *keys = sys.argv[1:]
dataset = fo.load_dataset(name)
made = review_marks._updates

def some(field, changes):
    for update in made(field, changes)[:int(updates)]:
        review_marks.samples_of(dataset).bulk_write([update])
    os.kill(os.getpid(), signal.SIGKILL)

review_marks._updates = some
review_labels(dataset, "ground_truth", keys[:9], keys[9:])
"""


def kill_after(updates, dataset, keys):
    """Approve nine labels and reject the rest in a process that is killed on the way."""
    ended = OtherProcess(KILLED, dataset.name, str(updates), *keys).wait()
    assert ended.returncode == -signal.SIGKILL, ended.stderr


@pytest.mark.parametrize("updates", [0, 1, 3])
def test_a_killed_step_is_completed_by_the_next(dataset, updates):
    keys = ids(dataset)[:12]
    kill_after(updates, dataset, keys)
    done = [state for state in states(dataset).values() if state is not None]
    assert 3 * updates >= len(done) >= updates
    review_labels(dataset, FIELD, [ids(dataset)[12]])
    found = list(states(dataset).values())
    assert (found.count("approved"), found.count("rejected"), found.count(None)) == (10, 3, 5)
    undo_review(dataset, FIELD)
    undo_review(dataset, FIELD)
    assert set(states(dataset).values()) == {None}


def test_a_killed_step_overwrites_nothing_that_came_since(dataset):
    keys = ids(dataset)[:12]
    kill_after(1, dataset, keys)
    review_labels(dataset, FIELD, reject=[keys[8]], reviewer="ben")
    assert undo_review(dataset, FIELD) is not None
    found = states(dataset)
    assert found[keys[8]] == "rejected"
    assert {found[key] for key in keys if key != keys[8]} == {None}


def test_a_field_without_instances_is_refused(dataset):
    with pytest.raises(DatasetError, match="no field"):
        review_labels(dataset, "nothing", ["a"])


@pytest.mark.parametrize("name", [5, None, ("one",), ("one", "two", "three"), ["one", "two"]])
def test_what_names_no_label_is_refused(dataset, name):
    with pytest.raises(DatasetError, match="names no label"):
        review_labels(dataset, FIELD, [name])


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"approve": None}, "approve is None"),
        ({"approve": "text"}, "one text"),
        ({"change": ["red"]}, "change is"),
        ({"expected": ["red"]}, "expected is"),
        ({"reviewer": None}, "reviewer is None"),
    ],
)
def test_arguments_of_another_kind_are_refused(dataset, wrong, problem):
    with pytest.raises(DatasetError, match=problem):
        review_labels(dataset, FIELD, **wrong)


def test_a_read_only_field_is_not_judged(dataset):
    keys = ids(dataset)
    before = reviews(dataset)
    field = dataset.get_field(FIELD)
    field.read_only = True
    field.save()
    with pytest.raises(DatasetError, match="read-only"):
        review_labels(dataset, FIELD, keys)
    assert reviews(dataset) == before


@pytest.mark.parametrize("values", [{"label": ["red"]}, {"review": 5}, {"review_step": {"a": 1}}])
def test_a_label_with_values_of_another_kind_is_left_alone(dataset, values):
    key = ids(dataset)[0]
    stored = {f"{FIELD}.detections.0.{name}": value for name, value in values.items()}
    dataset._sample_collection.update_one(
        {f"{FIELD}.detections._id": ObjectId(key)}, {"$set": stored}
    )
    step = review_labels(dataset, FIELD, ids(dataset)[:2])
    assert (step.approved, step.left_alone) == (1, (key,))
