"""Operator: download a preset's networks ahead of time."""

from __future__ import annotations

from typing import Any

from ...forms.fields import Form
from ...runtime.operator import NttOperator
from ...runtime.progress import Report
from ...runtime.result_page import Outcome


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
        from ....dataset.networks import networks_of
        from ...forms import run_options

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
        from .... import download_networks

        fetched = download_networks(**self.arguments(ctx), progress=progress)
        if not fetched:
            return Outcome("Nothing had to be fetched: the networks are on this machine.")
        facts = {
            network.name: f"{network.megabytes:,} MB" if network.megabytes else "size unknown"
            for network in fetched
        }
        return Outcome("The networks are on this machine now.", facts)
