"""Operators: compute proposals ahead, show and clear what is kept, download the networks."""

from __future__ import annotations

from typing import Any

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ..forms.fields import Form
from ..runtime.operator import NttOperator
from ..runtime.progress import Report
from ..runtime.result_page import Outcome, notes_in_words
from ..text import number_of


class ComputeProposals(NttOperator):
    """Form of ``propose``."""

    uses = "propose"
    operator_name = "compute_proposals"
    title = "Compute proposals"
    about = (
        "Compute ahead of time all that segmenting needs of images whatever the memory bank, and "
        "keep it on disk. Use it before you try several banks or settings on the same images: "
        "each then takes milliseconds an image."
    )
    icon = "grain"
    parameters = ("preset", "device", "batch_size", "group_slices", "workers")
    seldom = ("device", "batch_size", "workers")
    submit = "Compute"
    doing = "Computing proposals"

    @property
    def config(self) -> foo.OperatorConfig:
        config = super().config
        # Delegated by default: it takes long and nobody waits for its result.
        config.default_choice_to_delegated = True
        return config

    def build_form(self, form: Form) -> None:
        from ..forms import run_options, target

        images = target.target(form, "Compute proposals of")
        recipe = run_options.preset(form, "The one that the memory bank is to be used with.")
        if form.advanced(self.seldom):
            run_options.device(form)
            run_options.batch_size(form)
            run_options.workers(form)
        if recipe is None:
            return
        run_options.announce(
            form,
            f"Will keep the proposals of {number_of('image', len(images))} on disk; the dataset "
            "stays as it is. Images whose proposals are kept already are passed over.",
            recipe,
            run_options.estimate_images(form, images, recipe, len(images)),
        )

    def run(self, ctx: Any, progress: Report) -> Outcome:
        from ... import propose
        from ..forms import target

        report = propose(target.target_of(ctx), **self.arguments(ctx), progress=progress)
        facts = {
            "Computed": report.computed,
            "Kept before": report.from_cache,
            "Deleted meanwhile": report.deleted,
            "Failed": len(report.failed),
            "Seconds": round(report.seconds, 1),
            "Preset": report.preset,
            "Device": report.device,
        }
        return Outcome(
            f"The proposals of {number_of('image', report.computed + report.from_cache)} are kept; "
            f"{report.computed:,} were computed now.",
            {name: value for name, value in facts.items() if value not in (0, "")},
            notes_in_words(report),
        )


class GetProposalsInfo(NttOperator):
    """Form of ``get_proposals_info``."""

    operator_name = "get_proposals_info"
    title = "Get proposals info"
    about = (
        "Show where proposals are kept, how many, and how much room they take. Use it "
        "before you clear them, or to see what was computed ahead."
    )
    icon = "storage"
    risk = types.RiskLevel.LOW
    submit = "Show"
    doing = "Looking"

    def build_form(self, form: Form) -> None:
        """Say what will be shown."""
        form.notice("will_do", "Will show what is kept on this machine, of all datasets.")

    def run(self, ctx: Any, progress: Report) -> Outcome:
        from ... import get_proposals_info

        info = get_proposals_info()
        facts = {
            "Folder": info.folder,
            "Size": _megabytes(info.bytes),
            "At most": f"{_megabytes(info.max_bytes)}; what was used longest ago goes first",
            "Oldest use": _time(info.oldest),
            "Latest use": _time(info.newest),
        }
        return Outcome(
            f"Kept: {_sets_of_proposals(info.entries)}.",
            {name: value for name, value in facts.items() if value},
        )


def _sets_of_proposals(number: int) -> str:
    """Number of cached proposals in words; an image can have several, by different networks."""
    return f"{number_of('set', number)} of proposals, one for each image and preset"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def _time(when: Any) -> str:
    return "" if when is None else when.isoformat(sep=" ", timespec="minutes")


class ClearProposals(NttOperator):
    """Form of ``clear_proposals``."""

    operator_name = "clear_proposals"
    title = "Clear proposals"
    about = (
        "Remove all kept proposals from this machine. Use it to get the room back; labels and "
        "memory banks stay, and segmenting computes proposals again."
    )
    icon = "cleaning_services"
    risk = types.RiskLevel.HIGH
    submit = "Clear"
    doing = "Clearing"

    def build_form(self, form: Form) -> None:
        """Say what will be removed."""
        from ... import get_proposals_info

        info = get_proposals_info()
        form.notice(
            "will_do",
            f"Will remove {_sets_of_proposals(info.entries)} ({_megabytes(info.bytes)} in all), of "
            f"all datasets, from {info.folder}.",
            types.Warning,
        )
        form.confirm("Remove them from this machine")

    def run(self, ctx: Any, progress: Report) -> Outcome:
        from ... import clear_proposals

        return Outcome(f"Removed: {_sets_of_proposals(clear_proposals())}.")


class DownloadNetworks(NttOperator):
    """Form of ``download_networks``."""

    operator_name = "download_networks"
    title = "Download networks"
    about = (
        "Fetch the networks of a preset to this machine. Use it once, before the first run, so "
        "that no run has to wait for them; what is here already is not fetched again."
    )
    icon = "cloud_download"
    parameters = ("preset",)
    submit = "Download"
    doing = "Downloading the networks"

    def build_form(self, form: Form) -> None:
        """Say what will be fetched, and how large it is."""
        from ...dataset.networks import networks_of
        from ..forms import run_options

        recipe = run_options.preset(form, "The one that you want to use.")
        if recipe is None:
            return
        networks = networks_of(recipe)
        if all(network.here for network in networks):
            names = " and ".join(dict.fromkeys(network.name for network in networks))
            form.notice("will_do", f"Nothing to fetch: {names} can be used at once.")
            return
        run_options.warn_of_downloads(form.inputs, networks)
        total = sum(network.megabytes or 0 for network in networks if not network.here)
        form.notice(
            "will_do",
            f"Will fetch {total:,} MB from huggingface.co into the hub's cache on the machine that "
            "FiftyOne runs on.",
        )

    def run(self, ctx: Any, progress: Report) -> Outcome:
        from ... import download_networks

        fetched = download_networks(**self.arguments(ctx), progress=progress)
        if not fetched:
            return Outcome("Nothing had to be fetched: the networks are on this machine.")
        facts = {
            network.name: f"{network.megabytes:,} MB" if network.megabytes else "size unknown"
            for network in fetched
        }
        return Outcome("The networks are on this machine now.", facts)
