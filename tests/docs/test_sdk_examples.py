"""The examples in the docstrings of the SDK's functions run and give what they show.

They work on ``dataset``: four images with masks in ``ground_truth``, those of the first two tagged
``reference``; the memory bank ``animals`` of these references, and its classes ``cats`` and
``dogs`` as banks of their own; predictions in ``ntt``, and their evaluation ``eval``.
"""

import doctest
import inspect
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fiftyone as fo
import pytest

import ntt_plugin as ntt
from ntt_plugin.engine import Recipe
from tests.dataset import scenes

ANIMALS = {"red": "cat", "green": "dog", "blue": "bird"}


def functions() -> dict[str, Callable[..., Any]]:
    named = {name: getattr(ntt, name) for name in ntt.__all__}
    return {name: value for name, value in named.items() if inspect.isfunction(value)}


def example_of(name: str, names: dict[str, Any]) -> doctest.DocTest:
    text = inspect.getdoc(functions()[name]) or ""
    return doctest.DocTestParser().get_doctest(text, names, name, None, None)


@pytest.fixture(scope="module")
def animals(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        # Doctest takes a bar for a part of the answer.
        patch.setattr(fo.config, "show_progress_bars", False)
        folder = tmp_path_factory.mktemp("animals")
        dataset = scenes.make_dataset(f"test_{uuid.uuid4().hex}", folder, count=4)
        renamed = dataset.map_labels("ground_truth", ANIMALS)
        renamed.save()
        dataset.limit(2).tag_labels("reference", label_fields="ground_truth")
        recipe = Recipe.from_preset("tiny", grid=4)
        ntt.build_memory_bank(dataset, "ground_truth", "animals", tag="reference", preset=recipe)
        for name, label in (("cats", "cat"), ("dogs", "dog")):
            bank = ntt.load_memory_bank(dataset, "animals")
            for other in set(bank.classes) - {label}:
                bank.remove(other)
            ntt.save_memory_bank(dataset, name, bank)
        ntt.segment(dataset, "animals", label_field="ntt")
        ntt.evaluate(dataset, "ntt", "ground_truth", eval_key="eval")
        yield dataset
        dataset.delete()


@pytest.fixture
def dataset(animals: Any) -> Iterator[Any]:
    """The dataset, whose banks are afterwards as they were before."""
    saved = {name: ntt.load_memory_bank(animals, name) for name in ntt.list_memory_banks(animals)}
    yield animals
    for name in set(ntt.list_memory_banks(animals)) - set(saved):
        ntt.delete_memory_bank(animals, name)
    for name, bank in saved.items():
        there = name in ntt.list_memory_banks(animals)
        if not there or ntt.load_memory_bank(animals, name).to_bytes() != bank.to_bytes():
            ntt.save_memory_bank(animals, name, bank, overwrite=True)


@pytest.mark.parametrize("name", sorted(functions()))
def test_an_example_gives_what_it_shows(
    name: str, dataset: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told: list[str] = []
    example = example_of(name, {"ntt": ntt, "fo": fo, "dataset": dataset})
    assert example.examples, f"ntt.{name} has no example in its docstring"
    doctest.DocTestRunner().run(example, out=told.append)
    assert not told, "".join(told)
