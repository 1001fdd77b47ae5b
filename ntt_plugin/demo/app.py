"""Command line: ``python -m ntt_plugin.demo.app``, the demo's dataset in the FiftyOne App."""

from __future__ import annotations

import argparse
import sys

import fiftyone as fo
from fiftyone import ViewField as F

from .dataset import DATASET_NAME, FIELD, SHOWN_FROM, TARGET_TAG


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
    # For this machine only: the App's server hands out any file that it can read.
    session = fo.launch_app(
        view=view,
        port=options.port,
        address="127.0.0.1",
        color_scheme=fo.ColorScheme(color_by="value"),
    )
    print(f"The App is at http://127.0.0.1:{options.port}. Press Ctrl+C to stop it.")
    print(f"You see the segmented images, with predictions from a confidence of {SHOWN_FROM}:")
    print("clear the view bar to see everything.", flush=True)
    try:
        session.wait(-1)
    except KeyboardInterrupt:
        print("Closing the App.")
    finally:
        fo.close_app()


if __name__ == "__main__":
    main()
