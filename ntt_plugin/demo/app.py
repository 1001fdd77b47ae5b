"""Command line: ``python -m ntt_plugin.demo.app``, the demo's dataset in the FiftyOne App."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import fiftyone as fo
import fiftyone.plugins as fop
from fiftyone import ViewField as F

from .dataset import DATASET_NAME, FIELD, SHOWN_FROM, TARGET_TAG

_PLUGIN = "@ntt/no-time-to-train"
_ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Open the FiftyOne App on the demo's dataset until you press Ctrl+C."""
    parser = argparse.ArgumentParser("python -m ntt_plugin.demo.app", description=main.__doc__)
    parser.add_argument("--name", default=DATASET_NAME, help="the dataset's name in FiftyOne")
    parser.add_argument("--port", type=int, default=5151)
    options = parser.parse_args()
    if not fo.dataset_exists(options.name):
        sys.exit(f"There is no dataset {options.name!r} yet. Run `make demo` first.")
    dataset = fo.load_dataset(options.name)
    view = dataset.match_tags(TARGET_TAG)
    if dataset.has_field(FIELD):
        view = view.filter_labels(FIELD, F("confidence") >= SHOWN_FROM, only_matches=False)
    print("Opening the App; this can take a minute.", flush=True)
    with plugin_at_hand():
        # For this machine only: the App's server hands out any file that it can read.
        session = fo.launch_app(
            view=view,
            port=options.port,
            address="127.0.0.1",
            color_scheme=fo.ColorScheme(color_by="value"),
        )
        _wait(session, options.port)


def _wait(session: fo.Session, port: int) -> None:
    print(f"The App is at http://127.0.0.1:{port}. Press Ctrl+C to stop it.")
    print(f"You see the segmented images, with predictions from a confidence of {SHOWN_FROM}:")
    print("clear the view bar to see all images, tick ground_truth to see the exact masks.")
    print("Press ` to find the operators; the panel Memory banks opens with + beside the grid.")
    sys.stdout.flush()
    try:
        session.wait(-1)
    except KeyboardInterrupt:
        print("Closing the App.")
    finally:
        fo.close_app()


@contextmanager
def plugin_at_hand() -> Iterator[None]:
    """Let an App that is opened meanwhile have this plugin, also where it is not installed yet.

    Its folder of plugins is then a temporary one, of links to the user's own plugins and to this
    checkout.
    """
    listed = {plugin.name for plugin in fop.list_plugins(enabled="all")}
    if _PLUGIN in listed or not (_ROOT / "fiftyone.yml").is_file():
        yield
        return
    name, before = "FIFTYONE_PLUGINS_DIR", os.environ.get("FIFTYONE_PLUGINS_DIR")
    own = Path(fo.config.plugins_dir)
    with TemporaryDirectory(prefix="ntt_plugins_") as folder:
        for place, plugin in enumerate([_ROOT, *(own.iterdir() if own.is_dir() else ())]):
            (Path(folder) / f"{place}_{plugin.name}").symlink_to(plugin.resolve())
        os.environ[name] = folder
        try:
            yield
        finally:
            os.environ.pop(name) if before is None else os.environ.update({name: before})


if __name__ == "__main__":
    main()
