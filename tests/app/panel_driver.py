"""The panel as the App drives it: each event through FiftyOne's executor, its state kept."""

import asyncio
import json
import uuid
from typing import Any

import pydash
from fiftyone.operators.executor import execute_or_delegate_operator

from tests.app.driver import NAME, unescaped

URI = f"{NAME}/memory_banks"


class PanelOnScreen:
    """The panel, opened on a dataset; what it shows is that of the last event."""

    def __init__(self, dataset: Any, **request: Any) -> None:
        # The App gives each opened panel an id of its own; the plugin counts steps by it.
        self.id = uuid.uuid4().hex
        self.state: dict[str, Any] = {}
        self.messages: list[dict[str, Any]] = []
        self.shown: dict[str, Any] = {}
        self.request = {"dataset_name": dataset.name if dataset is not None else None, **request}
        self.event("on_load")

    def event(self, method: str, **params: Any) -> None:
        """Send an event; what it asked of the App is in ``messages`` afterwards."""
        sent = json.loads(json.dumps(self.state))
        params |= {"panel_id": self.id, "panel_state": sent, "__method__": method}
        request = {**self.request, "params": params, "selected_samples": []}
        result = asyncio.run(execute_or_delegate_operator(URI, request))
        assert result.error is None, result.error
        self.messages = json.loads(json.dumps(result.executor.to_json()["requests"]))
        for message in self.messages:
            if message["operator_uri"] == "patch_panel_state":
                for path, value in message["params"]["state"].items():
                    pydash.set_(self.state, path, value)
            if message["operator_uri"] == "show_panel_output":
                self.shown = message["params"]["output"]

    def asked(self, operation: str) -> list[dict[str, Any]]:
        """Parameters of the operations of a kind that the last event asked of the App."""
        return [m["params"] for m in self.messages if m["operator_uri"] == operation]

    def parts(self) -> list[dict[str, Any]]:
        """All that is on the screen, in order."""
        return list(_walk(self.shown["type"]))

    def text(self) -> str:
        """All words on the screen, without the marks of markdown."""
        words = []
        for part in self.parts():
            view = part["view"]
            words += [str(view[key]) for key in ("label", "description") if view.get(key)]
            if view["name"] == "MarkdownView":
                words.append(str(part["default"]))
        return "\n".join(map(unescaped, words))

    def buttons(self) -> dict[str, dict[str, Any]]:
        """The buttons by their words; of several with the same words the first."""
        found: dict[str, dict[str, Any]] = {}
        for part in self.parts():
            if part["view"]["name"] == "Button":
                found.setdefault(part["view"]["label"], part["view"])
        return found

    def click(self, words: str) -> None:
        """Click a button."""
        view = self.buttons()[words]
        assert not view.get("disabled")
        self.event(view["operator"].partition("#")[2], **view["params"])

    def size(self) -> int:
        """Bytes of state and of what the last event sent, as JSON."""
        return len(json.dumps(self.state)) + len(json.dumps(self.messages))


def _walk(kind: dict[str, Any]) -> Any:
    for part in kind.get("properties", {}).values():
        yield part
        if part["type"].get("name") == "Object":
            yield from _walk(part["type"])
