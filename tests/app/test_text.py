import pytest

from ntt_plugin.app.text import Table, number_of, part_of_these


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


@pytest.mark.parametrize(
    ("part", "number", "words"),
    [
        (1, 1, "This image is"),
        (1, 5, "1 of these 5 images is"),
        (2, 5, "2 of these 5 images are"),
        (1200, 2300, "1,200 of these 2,300 images are"),
        (5, 5, "All of these 5 images are"),
    ],
)
def test_a_part_comes_with_its_verb(part, number, words):
    assert part_of_these("image", part, number, "is", "are") == words


def test_numbers_are_written_for_people_and_names_as_they_are():
    table = Table(["Class", "n", "AP"], [["a|b *c*", 1200, 0.12345], ["d\ne", None, 1.0]])
    head, under, first, second = table.markdown().splitlines()
    assert head == "| Class | n | AP |"
    assert under == "|---|---:|---:|"
    assert first == r"| a\|b \*c\* | 1,200 | 0.123 |"
    assert second == "| d e |  | 1.000 |"
