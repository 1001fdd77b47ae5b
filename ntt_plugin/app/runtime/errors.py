"""Errors as people see them: a sentence of ours alone, anything unexpected with its traceback."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from typing import Any

import fiftyone.operators.types as types
from fiftyone.operators.delegated import DelegatedOperationService
from fiftyone.operators.executor import ExecutionResult

from ...errors import NttError
from ..request import is_app
from ..text import code_block, show_as_written


def explain_live(ctx: Any, title: str, error: Exception) -> Iterator[Any]:
    """Show an error as a page of the App, and hand it on to a script that called the operator.

    An exception out of a generator reaches the App as a broken connection without words, so the
    App gets a page, and nothing is raised.

    Yields:
        FiftyOne's message to the App.

    Raises:
        Exception: ``error``, if no App listens.
    """
    if not is_app(ctx):
        raise error
    outputs = types.Object()
    if isinstance(error, NttError):
        outputs.view("error", types.Error(label=f"{title}: not done. {error}"))
    else:
        told = f"{title}: an unexpected error. {type(error).__name__}: {error}"
        outputs.view("error", types.Error(label=told))
        # Not a code view: its editor comes from the internet.
        trace = "".join(traceback.format_exception(error))
        outputs.view("traceback", types.MarkdownView(label=code_block(trace)))
    show_as_written(outputs)
    yield ctx.ops.show_output(outputs=types.Property(outputs).to_json(), results={})


def explain_delegated(ctx: Any, error: NttError) -> None:
    """Keep an error with the delegated operation as one sentence.

    FiftyOne keeps the traceback of what an operator raises, through its own executor, for an
    operation that is still running; one that has been set to failed keeps what it was given.
    """
    DelegatedOperationService().set_failed(
        doc_id=ctx.request_params["run_doc"],
        result=ExecutionResult(error=str(error), error_message=str(error)),
    )
