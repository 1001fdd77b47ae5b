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


def test_what_could_not_be_made_is_tried_again():
    remembered = Remembered(2)
    for _ in range(2):
        try:
            remembered.get("a", lambda: 1 / 0)
        except ZeroDivisionError:
            continue
        raise AssertionError("It was remembered.")
    assert remembered.get("a", lambda: 3) == 3
