import weakref

from ntt_plugin.dataset.runtime import caching
from ntt_plugin.dataset.runtime.caching import Remembered


def test_a_value_is_made_once_for_its_key():
    remembered, made = Remembered(2), []
    for key in ("a", "b", "a", "b"):
        assert remembered.get(key, lambda key=key: made.append(key) or key) == key
    assert made == ["a", "b"]


def test_the_one_that_was_not_asked_for_longest_is_forgotten():
    remembered, made = Remembered(2), []
    for key in ("a", "b", "a", "c", "a", "b"):
        remembered.get(key, lambda key=key: made.append(key))
    assert made == ["a", "b", "c", "b"]


class Answer:
    """Something that a weak reference can be made to."""


def test_a_value_of_another_stamp_is_made_anew():
    remembered = Remembered(64)
    assert remembered.get("a", lambda: "first", stamp=1) == "first"
    assert remembered.get("a", lambda: "second", stamp=1) == "first"
    assert remembered.get("a", lambda: "second", stamp=2) == "second"


def test_answers_of_former_states_are_not_kept(dataset):
    answers = []

    def question(_, name):
        answers.append(weakref.ref(answer := Answer()))
        return answer

    for index, sample in enumerate(dataset.iter_samples(autosave=True)):
        caching.remembered(dataset, "any", question, of_samples=True)
        sample["number"] = index
        sample.save()
    caching.remembered(dataset, "any", question, of_samples=True)
    assert len(answers) > 2
    assert [one() is not None for one in answers] == [*(len(answers) - 1) * [False], True]


def test_what_could_not_be_made_is_tried_again():
    remembered = Remembered(2)
    for _ in range(2):
        try:
            remembered.get("a", lambda: 1 / 0)
        except ZeroDivisionError:
            continue
        raise AssertionError("It was remembered.")
    assert remembered.get("a", lambda: 3) == 3
