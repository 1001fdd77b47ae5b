"""Base class of the operators: runs live or delegated, shows progress, results and errors."""

from __future__ import annotations

import logging
import traceback
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from typing import Any, ClassVar

import fiftyone.operators as foo
import fiftyone.operators.types as types
from fiftyone.operators.delegated import DelegatedOperationService
from fiftyone.operators.executor import ExecutionResult

from ...dataset.database.last_used import keep_last_used
from ...errors import DatasetError, NttError
from .. import request
from ..forms.fields import Form
from ..text import code_block, show_as_written
from .progress import Report, RunStopped, run_delegated, run_watched
from .result_page import Outcome, output_page

logger = logging.getLogger(__name__)

# What a person would choose again; not names of what is made, nor what is asked about each time.
_REMEMBERED = ("label_field", "gt_field", "bank", "name", "preset", "into")

_DOWNLOADS = "The first run downloads up to 2.1 GB from Hugging Face."


class NttOperator(foo.Operator, ABC):  # type: ignore[misc]
    """An operator over one function of the SDK, whose parameters it passes on by their names.

    Attributes:
        operator_name: its name in the plugin.
        uses: the SDK function's name; the operator's own by default.
        about: what it does and when to use it.
        risk: what it can do to the dataset.
        parameters: names that the form and the function share.
        remembered: those of them whose last values the form offers first, the next time.
        seldom: those of them behind the form's switch *Advanced settings*.
        downloads: whether it runs networks that may have to be downloaded first: those that
            have a preset or a device do.
        submit: words on the button that runs it.
        doing: what the progress bar says.
    """

    operator_name: ClassVar[str]
    uses: ClassVar[str]
    title: ClassVar[str]
    about: ClassVar[str]
    icon: ClassVar[str]
    risk: ClassVar[types.RiskLevel] = types.RiskLevel.MEDIUM
    parameters: ClassVar[tuple[str, ...]] = ()
    remembered: ClassVar[tuple[str, ...]] = ()
    seldom: ClassVar[tuple[str, ...]] = ()
    downloads: ClassVar[bool]
    submit: ClassVar[str]
    doing: ClassVar[str]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if not hasattr(cls, "uses") and hasattr(cls, "operator_name"):
            cls.uses = cls.operator_name
        cls.remembered = tuple(name for name in _REMEMBERED if name in cls.parameters)
        cls.downloads = not {"preset", "device"}.isdisjoint(cls.parameters)

    @property
    def config(self) -> foo.OperatorConfig:
        """FiftyOne's description of the operator."""
        return foo.OperatorConfig(
            name=self.operator_name,
            label=self.title,
            description=f"{self.about} {_DOWNLOADS}" if self.downloads else self.about,
            icon=self.icon,
            dynamic=True,
            execute_as_generator=True,
            allow_delegated_execution=True,
            resolve_execution_options_on_change=False,
            risk_level=self.risk,
        )

    def resolve_input(self, ctx: Any) -> types.Property:
        """The form; where it is about to be run, why it cannot be is kept for ``execute``."""
        self._leave_out_what_is_folded(ctx)
        if ctx.request_params.get("selected_labels") is None:
            ctx.request_params["selected_labels"] = []
        unfit = request.take_out_unfit(ctx)
        form = Form(ctx, types.Object(), self.operator_name)
        try:
            request.require_sound(ctx)
            if ctx.dataset is None:
                raise DatasetError("No dataset is open. Open one first.")
            self.build_form(form)
        except NttError as error:
            form.problem("cannot_run", str(error))
        except Exception as error:
            logger.exception("The form of %s cannot be shown", self.operator_name)
            told = f"{type(error).__name__}: {error}"
            form.problem("cannot_run", f"This form cannot be shown here. {told}")
        for name, reason in unfit.items():
            if name in form.inputs.properties:
                form.mark(name, reason)
            else:
                form.problem(f"unfit_{name}", reason)
        _say_nothing_beside_errors(form.inputs)
        view = types.PromptView(label=self.title, submit_button_label=self.submit)
        filled_in = types.Property(form.inputs, view=view)
        if ctx.executor is not None:
            ctx.ntt_refusal = request.refusal(ctx, filled_in, self)
            if ctx.ntt_refusal is not None:
                return types.Property(types.Object())
        show_as_written(form.inputs)
        return filled_in

    def resolve_output(self, ctx: Any) -> types.Property:
        """The page that a delegated run's result is shown as."""
        try:
            return output_page(ctx.results or {})
        except (AttributeError, KeyError, TypeError, ValueError):
            outputs = types.Object()
            text = "The result of this run cannot be read; run it again."
            outputs.view("message", types.Error(label=text))
            return types.Property(outputs)

    def resolve_execution_options(self, ctx: Any) -> foo.ExecutionOptions:
        """How it can be run: what cannot be run is refused at once, not scheduled."""
        if _refusal(ctx) is not None:
            return foo.ExecutionOptions(allow_immediate_execution=True)
        return super().resolve_execution_options(ctx)

    def execute(self, ctx: Any) -> Iterator[Any] | dict[str, Any]:
        """Run: for the App as a generator of messages, else to its end.

        Returns:
            The messages, or for a script and a delegated run the outcome's dictionary.
        """
        self._leave_out_what_is_folded(ctx)
        if request.is_of_a_worker(ctx):
            return self._delegated(ctx)
        messages = self._live(ctx)
        return messages if request.is_app(ctx) else _value_of(messages)

    @abstractmethod
    def build_form(self, form: Form) -> None:
        """Add the fields.

        Raises:
            NttError: there is nothing that could be run; the form says so in its words.
        """

    @abstractmethod
    def run(self, ctx: Any, progress: Report) -> Outcome:
        """Call the SDK.

        Raises:
            NttError: as the SDK function.
        """

    def watch(self, ctx: Any) -> Generator[Any, None, Outcome]:
        """Call the SDK, yielding the moves of a progress bar."""
        return (yield from run_watched(ctx, self.doing, lambda progress: self.run(ctx, progress)))

    def arguments(self, ctx: Any) -> dict[str, Any]:
        """The form's values by the SDK's names; what was left empty takes the SDK's default."""
        given = {name: ctx.params.get(name) for name in self.parameters}
        if "group_slices" in given:
            # Imported here: the module loads FiftyOne's views, which registering needs not.
            from ..forms.selection import slices_of

            given["group_slices"] = slices_of(ctx)
        if "bank_dataset" in given and given["bank_dataset"] == ctx.dataset.name:
            # The form's default; beside the path of a bank's file the SDK takes no dataset.
            del given["bank_dataset"]
        return {name: value for name, value in given.items() if not request.is_empty(value)}

    def _leave_out_what_is_folded(self, ctx: Any) -> None:
        """Take the values of fields that nobody sees away: the App sends them all the same.

        The App keeps them, so they are there again once the switch is on again.
        """
        if ctx.params.get("advanced") is False:
            for name in self.seldom:
                ctx.params.pop(name, None)

    def _live(self, ctx: Any) -> Generator[Any, None, dict[str, Any]]:
        try:
            _require_allowed(ctx)
            outcome = yield from self.watch(ctx)
        except RunStopped as stop:
            yield ctx.ops.reload_dataset()
            yield _stopped(self.title, stop).show(ctx)
            return {}
        except Exception as error:
            yield from explain_live(ctx, self.title, error)
            return {}
        self._remember(ctx)
        if outcome.changed:
            yield ctx.ops.reload_dataset()
        if outcome.open_view:
            yield ctx.ops.set_view(outcome.view)
            yield ctx.ops.notify(outcome.message, variant="success")
        else:
            yield outcome.show(ctx)
        return outcome.as_dict()

    def _delegated(self, ctx: Any) -> dict[str, Any]:
        try:
            _require_allowed(ctx)
            outcome = run_delegated(ctx, self.doing, lambda progress: self.run(ctx, progress))
        except NttError as error:
            explain_delegated(ctx, error)
            raise
        self._remember(ctx)
        return outcome.as_dict()

    def _remember(self, ctx: Any) -> None:
        """Keep what was chosen for the next time; not what a script gives, which has no forms."""
        given = self.arguments(ctx)
        used = {name: given[name] for name in self.remembered if name in given}
        if used and (request.is_app(ctx) or request.is_of_a_worker(ctx)):
            keep_last_used(ctx.dataset, self.operator_name, used)


def _say_nothing_beside_errors(inputs: types.Object) -> None:
    """Take back what a run will do where a field has an error that keeps it from being run.

    A tick that is asked for before something is replaced is a question: whoever answers it should
    know what will be done.
    """
    fields = inputs.properties
    asked = ("overwrite", "confirm")
    if any(field.invalid for name, field in fields.items() if name not in asked):
        fields.pop("will_do", None)


def _refusal(ctx: Any) -> str | None:
    """Why the request that is about to be run cannot be; None before its form was looked at."""
    return getattr(ctx, "ntt_refusal", None)


def _require_allowed(ctx: Any) -> None:
    refusal = _refusal(ctx)
    if refusal is not None:
        raise DatasetError(refusal)


def _stopped(title: str, stop: RunStopped) -> Outcome:
    message = f"{title}: stopped. What is written stays; run it again to go on."
    return Outcome(message if stop.ended else f"{message} {stop}")


def _value_of(messages: Generator[Any, None, dict[str, Any]]) -> dict[str, Any]:
    while True:
        try:
            next(messages)
        except StopIteration as end:
            return dict(end.value)


def explain_live(ctx: Any, title: str, error: Exception) -> Iterator[Any]:
    """Show an error as a page of the App, and hand it on to a script that called the operator.

    An exception out of a generator reaches the App as a broken connection without words, so the
    App gets a page, and nothing is raised.

    Raises:
        Exception: ``error``, if no App listens.
    """
    if not request.is_app(ctx):
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
