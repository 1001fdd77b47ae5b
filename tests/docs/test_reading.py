"""The reader of pages finds what is planted."""

import pytest

from tests.docs.pages import anchors, links, problem_of, sdk_calls, table


def test_links_pictures_and_tags_are_found_but_not_those_in_code() -> None:
    text = 'A [b](c.md#d) ![e](f.png) <img src="g.png">\n\n```python\nx[0](y)\n```\n'
    assert links(text) == ["c.md#d", "f.png", "g.png"]


def test_anchors_are_those_of_the_forge() -> None:
    text = "# How it works\n\n## FiftyOne's AP, and `pycocotools`'\n\n<a id=\"own\"></a>\n"
    assert anchors(text) == {"how-it-works", "fiftyones-ap-and-pycocotools", "own"}


@pytest.mark.parametrize(
    "text",
    [
        "Call `ntt.nothing(dataset)`.",
        "Call `ntt.delete_memory_bank(dataset)`.",
        '```python\nntt.segment(dataset, "bank", field="ntt")\n```\n',
    ],
)
def test_a_call_that_the_sdk_would_refuse_is_found(text: str) -> None:
    [(name, call)] = sdk_calls(text)
    assert problem_of(name, call)


@pytest.mark.parametrize(
    "text",
    [
        "Call `ntt.delete_memory_bank(dataset, name)` or `ntt.segment(...)`.",
        "```python\nfor label in ntt.list_memory_banks(dataset):\n    print(label)\n```\n",
    ],
)
def test_a_call_that_it_takes_is_not(text: str) -> None:
    assert [problem_of(name, call) for name, call in sdk_calls(text)].count(None) >= 1
    assert not any(problem_of(name, call) for name, call in sdk_calls(text))


def test_a_table_is_read_by_rows() -> None:
    assert table("x\n| a | b |\n|---|---|\n| 1 | |\n\n| c |\n") == [["1", ""]]
