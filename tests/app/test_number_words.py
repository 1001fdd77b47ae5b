from __future__ import annotations

import pytest

from ntt_plugin.app.number_words import number_of


@pytest.mark.parametrize(
    ("noun", "number", "words"),
    [
        ("label", 0, "0 labels"),
        ("label", 1, "1 label"),
        ("label", 2300, "2,300 labels"),
        ("class", 1, "1 class"),
        ("class", 2, "2 classes"),
    ],
)
def test_one_is_one(noun, number, words):
    assert number_of(noun, number) == words
