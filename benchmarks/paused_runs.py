"""Runs that are paused, killed or started at the same moment: what is wrong, lost or refused?

    python benchmarks/paused_runs.py

Three attacks on ``segment``, each with processes of its own on small images of coloured blocks:

- *paused*: a run stops (SIGSTOP) before it writes to the database or a mask file, another
  run takes the field over, and the first is woken (SIGCONT), after the other's end or in the
  middle of it. Then each sample must hold exactly what the other run gives, and a third call must
  find all samples done.
- *killed*: an overwriting run is killed (SIGKILL) before each of its database commands in turn.
  A second call without ``overwrite`` must give exactly what an uninterrupted run gives; with it
  only where the first had not taken its lock yet.
- *pairs*: two runs, of processes or of threads of one process, begin at the same moment with two
  new fields of a dataset. Both must finish.

Locks go stale after a second here, not two minutes: the constants of ``locks`` are replaced in
the processes. ``--code FOLDER`` attacks another checkout. Uses a MongoDB of its own, which it ends,
and writes ``benchmarks/results/paused_runs.json``. POSIX only.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from stepped_runs import (
    SAMPLES,
    STALE_SECONDS,
    WAYS,
    Child,
    acting,
    differing,
    forget,
    labels_of,
    make_dataset,
    missing,
    options_of,
    segment,
    send,
    set_up,
)

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "paused_runs.json"

Result = dict[str, Any]


def main() -> None:
    """Attack and count."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--paused", type=int, default=40, help="runs to pause and wake (40)")
    parser.add_argument("--pairs", type=int, default=100, help="pairs of runs at once (100)")
    parser.add_argument("--killed", type=int, default=0, help="runs to kill (0: at every command)")
    parser.add_argument("--skip", nargs="*", default=[], choices=["paused", "killed", "pairs"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--code", type=Path, default=HERE.parent, help="the checkout to attack")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    set_up(options.code.resolve())
    attacks = {
        "paused": lambda folder: attack_paused(options.paused, options.seed, folder),
        "killed": lambda folder: attack_killed(options.killed, folder),
        "pairs": lambda folder: attack_pairs(options.pairs, folder),
    }
    found = {}
    with tempfile.TemporaryDirectory(prefix="ntt_paused_runs_") as name:
        for attack, call in attacks.items():
            if attack not in options.skip:
                began = time.monotonic()
                found[attack] = call(Path(name))
                found[attack]["seconds"] = round(time.monotonic() - began)
                print(attack, json.dumps(found[attack]), flush=True)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(found, indent=1) + "\n")
    counts = ("wrong", "lost", "refused")
    sys.exit(any(result[name] for result in found.values() for name in counts))


def whole_runs(name: str, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Labels of whole runs by bank; and by way what was counted: steps, and those that write."""
    labels, steps = {}, {}
    for bank in ("first", "second"):
        forget(name)
        segment(name, bank)
        labels[bank] = labels_of(name)
    for way in WAYS:
        forget(name)
        if way.startswith("overwrite"):
            segment(name, "second", **options_of(way, folder / "former", overwrite=False))
        options = options_of(way, folder / "counted")
        whole = acting(0, lambda: None, lambda o=options: segment(name, "first", **o))
        steps[way] = Child(whole).answer()
    return labels, steps


def attack_paused(count: int, seed: int, folder: Path) -> Result:
    """Pause runs, take over, wake them."""
    name = "ntt-paused"
    make_dataset(name, folder / "paused")
    labels, steps = whole_runs(name, folder)
    rounds = [pause_once(number, seed, name, labels, steps, folder) for number in range(count)]
    return summary(rounds)


def pause_once(number: int, seed: int, name: str, labels: Any, steps: Any, folder: Path) -> Result:
    """Pause one run, let another take over, wake the first, look; and call a third time."""
    chance = random.Random(f"{seed}/{number}")
    way = WAYS[number % len(WAYS)]
    # Without ``overwrite`` another bank would rightly be refused: the same run goes on.
    second = "second" if way.startswith("overwrite") else "first"
    forget(name)
    masks = folder / f"masks_{number}"
    if way.startswith("overwrite"):
        segment(name, "second", **options_of(way, masks, overwrite=False))
    options, writes = options_of(way, masks), steps[way]["writes"]
    # The last gives the lock back.
    at = chance.choice(writes[:-1])
    first = Child(acting(at, send(0, signal.SIGSTOP), lambda: segment(name, "first", **options)))
    if not first.stopped():
        first.answer()
        return {"way": way, "at": at, "stopped": False}
    time.sleep(1.5 * STALE_SECONDS)

    def wake() -> None:
        os.kill(first.pid, signal.SIGCONT)
        time.sleep(0.3)

    in_the_middle = chance.random() < 0.5
    woken_at = chance.choice(writes) if in_the_middle else 0
    other = Child(acting(woken_at, wake, lambda: segment(name, second, **options))).answer()
    os.kill(first.pid, signal.SIGCONT)
    said = first.answer()
    after = labels_of(name)
    third = Child(lambda: segment(name, second, mask_dir=options["mask_dir"])).answer()
    final = labels_of(name)
    shutil.rmtree(masks, ignore_errors=True)
    refused = [answer["error"] for answer in (other, third) if "error" in answer]
    return {
        "way": way,
        "at": at,
        "woken_at": woken_at,
        "stopped": True,
        "wrong": differing(after, labels[second]) + differing(final, labels[second]),
        "lost": missing(after) + missing(final) + (SAMPLES - third.get("skipped", SAMPLES)),
        "refused": len(refused),
        "errors": refused,
        "first_said": said.get("error", said.get("said", "")),
    }


def attack_killed(count: int, folder: Path) -> Result:
    """Kill an overwriting run before each of its commands, and call again."""
    name = "ntt-killed"
    make_dataset(name, folder / "killed")
    labels, steps = whole_runs(name, folder)
    held_at, last = steps["overwrite"]["held_at"], steps["overwrite"]["steps"]
    moments = list(range(1, last + 1))
    if count:
        moments = sorted(random.Random(0).sample(moments, min(count, last)))
    rounds = []
    for at in moments:
        forget(name)
        segment(name, "second")
        kill = send(0, signal.SIGKILL)
        killed = Child(acting(at, kill, lambda: segment(name, "first", overwrite=True)))
        killed.answer()
        again = at <= held_at
        second = Child(lambda again=again: segment(name, "first", overwrite=again)).answer()
        final = labels_of(name)
        rounds.append(
            {
                "at": at,
                "stopped": True,
                "wrong": differing(final, labels["first"]),
                "lost": missing(final),
                "refused": int("error" in second),
                "errors": [second["error"]] if "error" in second else [],
            }
        )
    return summary(rounds)


def attack_pairs(count: int, folder: Path) -> Result:
    """Two runs at once into two new fields."""
    rounds = []
    for number in range(count):
        name = f"ntt-pairs-{number // 20}"
        if number % 20 == 0:
            make_dataset(name, folder / name, samples=2)
        fields = [f"f{number}{letter}" for letter in "ab"]
        answers = (threads if number % 4 == 3 else processes)(name, fields)
        errors = [answer["error"] for answer in answers if "error" in answer]
        lost = sum(missing(labels_of(name, field)) for field in fields)
        rounds.append(
            {"stopped": True, "wrong": 0, "lost": lost, "refused": len(errors), "errors": errors}
        )
    return summary(rounds)


def processes(name: str, fields: list[str]) -> list[dict[str, Any]]:
    """Runs in processes that begin at the same moment."""
    moment = time.time() + 0.2

    def begin(field: str) -> Any:
        time.sleep(max(0.0, moment - time.time()))
        return segment(name, "first", field)

    children = [Child(lambda field=field: begin(field)) for field in fields]
    return [child.answer() for child in children]


def threads(name: str, fields: list[str]) -> list[dict[str, Any]]:
    """Runs in threads of one process that begin at the same moment."""
    gate = threading.Barrier(len(fields))
    answers: list[dict[str, Any]] = []

    def begin(field: str) -> None:
        gate.wait()
        try:
            answers.append({"said": str(segment(name, "first", field))})
        except Exception as error:
            answers.append({"error": f"{type(error).__name__}: {error}"})

    started = [threading.Thread(target=begin, args=(field,)) for field in fields]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    return answers


def summary(rounds: list[Result]) -> Result:
    """Counts over all rounds, and those in which something went wrong."""
    counts = ("wrong", "lost", "refused")
    made = [entry for entry in rounds if entry["stopped"]]
    return {
        "rounds": len(made),
        **{name: sum(entry[name] for entry in made) for name in counts},
        "ways": dict(Counter(entry["way"] for entry in made if "way" in entry)),
        "bad_rounds": [entry for entry in made if any(entry[name] for name in counts)],
    }


if __name__ == "__main__":
    main()
