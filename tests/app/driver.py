"""The plugin's operators as the App and scripts call them, through FiftyOne's executor."""

import asyncio
import importlib
import re
from pathlib import Path
from types import ModuleType

import fiftyone.operators as foo
import fiftyone.operators.types as types
from fiftyone.operators.executor import (
    ExecutionContext,
    ValidationContext,
    execute_or_delegate_operator,
    resolve_type,
)
from fiftyone.operators.registry import OperatorRegistry

from ntt_plugin.app.text import _JOINER

ROOT = Path(__file__).resolve().parent.parent.parent
NAME = "@ntt/no-time-to-train"

NOTICES = (types.Notice, types.Warning, types.Error)


def unescaped(markdown: str) -> str:
    """The words that ``escaped`` was given, in one line."""
    return re.sub(r"\\([^A-Za-z0-9\s])", r"\1", markdown.replace(_JOINER, ""))


class Form:
    """An operator's form as a person sees it."""

    def __init__(self, inputs: types.Property, errors: list) -> None:
        self.fields = inputs.type.properties
        self.errors = {error.path.strip("."): error.reason for error in errors}

    def said(self, name: str) -> str:
        """The words of a notice."""
        return unescaped(self.fields[name].view.label)

    def warns(self) -> bool:
        return any(isinstance(field.view, types.Warning) for field in self.fields.values())

    def choices(self, name: str) -> dict[str, str]:
        """What can be chosen, with its words."""
        return {choice.value: choice.label for choice in self.fields[name].view.choices}

    def default(self, name: str):
        return self.fields[name].default

    def text(self) -> str:
        """All that the notices say."""
        return " ".join(
            unescaped(field.view.label)
            for field in self.fields.values()
            if isinstance(field.view, NOTICES)
        )


class Plugin:
    """The operators by name."""

    @staticmethod
    def uri(operator: str) -> str:
        return f"{NAME}/{operator}"

    def form(self, dataset, operator: str, view=None, **request) -> Form:
        """The form, as the App asks for it; ``params`` are what has been filled in."""
        request.setdefault("params", {})
        request["dataset_name"] = dataset.name if dataset is not None else None
        if view is not None:
            request["view"] = view._serialize()
        registry = OperatorRegistry()
        inputs = asyncio.run(resolve_type(registry, self.uri(operator), request))
        assert isinstance(inputs, types.Property), getattr(inputs, "error", inputs)
        found = registry.get_operator(self.uri(operator))
        context = ValidationContext(ExecutionContext(request), inputs, found)
        return Form(inputs, context.errors)

    def run(self, dataset, operator: str, params: dict, **request) -> list[dict]:
        """Run at once, to its end, as a script does; the messages that the App would have got."""
        result = foo.execute_operator(self.uri(operator), dataset=dataset, params=params, **request)
        assert not result.delegated
        return result.executor.to_json()["requests"]

    def queue(self, dataset, operator: str, params: dict, **request):
        """Schedule for a worker; the operation's id."""
        result = foo.execute_operator(
            self.uri(operator), dataset=dataset, params=params, request_delegation=True, **request
        )
        assert result.delegated
        return result.result["id"]

    def stream(self, dataset, operator: str, params: dict, **request):
        """What the App gets: a generator of messages."""
        request |= {"dataset_name": dataset.name, "params": params, "selected_samples": []}
        result = asyncio.run(execute_or_delegate_operator(self.uri(operator), request))
        assert result.is_generator, result.error
        return result.result


def loaded(plugin: Plugin, name: str) -> ModuleType:
    """A module of the package as FiftyOne loaded it: it imports plugins under names of its own."""
    operator = OperatorRegistry().get_operator(plugin.uri("clear_proposals"))
    package = type(operator).__module__.removesuffix("app.operators.proposals")
    return importlib.import_module(package + name)


def calls(messages: list[dict]) -> list[str]:
    """Names of the App's operations that were asked for."""
    return [message["operator_uri"] for message in messages]


def page(messages: list[dict]) -> dict:
    """The results shown at the end."""
    *_, shown = (m["params"] for m in messages if m["operator_uri"] == "show_output")
    return shown["results"]
