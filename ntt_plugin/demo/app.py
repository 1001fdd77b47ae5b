"""Command line: ``python -m ntt_plugin.demo.app``, the demo's dataset in the FiftyOne App."""

from __future__ import annotations

import argparse
import sys

import fiftyone as fo

from .dataset import DATASET_NAME


def main() -> None:
    """Open the FiftyOne App on the demo's dataset until you press Ctrl+C."""
    parser = argparse.ArgumentParser("python -m ntt_plugin.demo.app", description=main.__doc__)
    parser.add_argument("--name", default=DATASET_NAME, help="the dataset's name in FiftyOne")
    parser.add_argument("--port", type=int, default=5151)
    options = parser.parse_args()
    if not fo.dataset_exists(options.name):
        sys.exit(f"There is no dataset {options.name!r} yet. Run `make demo` first.")
    # For this machine only: the App's server hands out any file that it can read.
    session = fo.launch_app(fo.load_dataset(options.name), port=options.port, address="127.0.0.1")
    print(f"The App is at http://127.0.0.1:{options.port}. Press Ctrl+C to stop it.", flush=True)
    session.wait(-1)


if __name__ == "__main__":
    main()
