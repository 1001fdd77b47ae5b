"""The examples in the engine's docstrings run, and every public class and function has one."""

import doctest
import importlib
import pkgutil

import pytest

from ntt_plugin import engine

MODULES = [
    engine.NttError.__module__,
    *(module.name for module in pkgutil.walk_packages(engine.__path__, f"{engine.__name__}.")),
]
PUBLIC = [name for name in engine.__all__ if callable(getattr(engine, name))]


def examples(thing: object) -> list[doctest.DocTest]:
    return [test for test in doctest.DocTestFinder().find(thing) if test.examples]


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_class_and_function_has_an_example(name: str) -> None:
    assert any(test.name == name for test in examples(getattr(engine, name)))


def test_the_examples_print_what_they_say() -> None:
    for name in MODULES:
        assert not doctest.testmod(importlib.import_module(name)).failed, name
