from __future__ import annotations

import pytest

from ntt_plugin.dataset.look_alikes import look_alike_notes, look_alikes

CYRILLIC_CAT = "c\u0430t"
GREEK_TOP = "t\u03bfp"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("cat", CYRILLIC_CAT),
        ("top", GREEK_TOP),
        ("BUS", "\u0412US"),
        ("cat", "Cat"),
        ("gro\u00dfe", "grosse"),
        ("caf\u00e9", "cafe\u0301"),
        ("cat", "\uff43\uff41\uff54"),
        ("fish", "\ufb01sh"),
        ("two words", "two\u00a0words"),
        ("two words", " two  words "),
        ("cat", "c\u200bat"),
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
        ("\u0432us", "bus"),  # the small VE is not drawn like a b
        ("a.b", "a_b"),
        ("\u540d\u524d", "\u540d"),
    ],
    ids=ascii,
)
def test_names_that_look_different_are_not(one, other):
    assert look_alikes([one, other]) == []


def test_the_same_name_twice_is_one_name():
    assert look_alikes(["cat", "cat"]) == []


def test_a_note_tells_the_names_and_the_character_that_differs():
    (note,) = look_alike_notes(["cat", CYRILLIC_CAT])
    assert repr("cat") in note and repr(CYRILLIC_CAT) in note
    assert "U+0430 CYRILLIC SMALL LETTER A" in note
    assert "U+0061 LATIN SMALL LETTER A" in note


def test_a_note_on_long_names_is_short():
    names = ["x" * 10_000 + letter for letter in "aA"]
    (note,) = look_alike_notes(names)
    assert len(note) < 600 and "10,001 characters" in note
