import fiftyone as fo
import pytest

from ntt_plugin.dataset.class_names import look_alike_notes, look_alikes, unmatched_classes


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("cat", "Cat"),
        ("gro\u00dfe", "grosse"),
        ("caf\u00e9", "cafe\u0301"),
        ("cat", "\uff43\uff41\uff54"),
        ("fish", "\ufb01sh"),
        ("two words", "two\u00a0words"),
        ("two words", " two  words "),
    ],
    ids=ascii,
)
def test_names_that_look_alike_are_found(one, other):
    assert look_alikes(["dog", one, "bird", other]) == [(one, other)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("cat", "cats"),
        ("caf\u00e9", "cafe"),
        ("a.b", "a_b"),
        ("\u540d\u524d", "\u540d"),
    ],
    ids=ascii,
)
def test_names_that_look_different_are_not(one, other):
    assert look_alikes([one, other]) == []


def test_the_same_name_twice_is_one_name():
    assert look_alikes(["cat", "cat"]) == []


def test_a_note_tells_the_names():
    (note,) = look_alike_notes(["cat", "Cat"])
    assert repr("cat") in note and repr("Cat") in note


def test_a_note_on_long_names_is_short():
    names = ["x" * 10_000 + letter for letter in "aA"]
    (note,) = look_alike_notes(names)
    assert len(note) < 600 and "10,001 characters" in note


@pytest.fixture
def classes():
    """Makes a dataset with labels of these classes in ``found`` and ``truth``."""
    made = []

    def build(found, truth):
        dataset = fo.Dataset()
        made.append(dataset)
        sample = fo.Sample(filepath="/nowhere.png")
        for field, names in (("found", found), ("truth", truth)):
            labels = [fo.Detection(label=name, bounding_box=[0, 0, 1, 1]) for name in names]
            sample[field] = fo.Detections(detections=labels)
        dataset.add_sample(sample)
        return unmatched_classes(dataset, "found", "truth", [*found, *truth])

    yield build
    for dataset in made:
        dataset.delete()


@pytest.mark.parametrize("other", ["Red Disc", " red disc", "red_disc", "red-disc", "reddisc"])
def test_classes_without_a_common_name_are_told_with_the_pairs_that_look_alike(classes, other):
    (note,) = classes(["red disc", "cat"], [other, "dog"])
    assert "no class in common" in note and f"'red disc' and {other!r}" in note
    (note,) = classes(["red disc", "cat"], [other, "cat"])
    assert "no class in common" not in note and f"'red disc' and {other!r}" in note


def test_classes_that_match_are_not_told(classes):
    assert classes(["cat", "dog"], ["cat", "bird"]) == []
    assert classes(["cat", "Cat"], ["cat", "Cat"]) == []
    assert classes([], ["cat"]) == []


def test_classes_that_do_not_even_look_alike_are_told(classes):
    (note,) = classes(["cat"], ["17"])
    assert "no class in common" in note and "look alike" not in note
