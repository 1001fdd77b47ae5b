"""Reads damaged bank files in a process of its own, which keeps count of all that it does.

    python -m tests.bad_input.read_mutations COUNT
    python -m tests.bad_input.read_mutations FILE...

Prints one JSON object: how many files were refused and how many were sound, by mutation; what went
wrong; every file that was opened meanwhile; and the memory that it took, in MB.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from ntt_plugin.engine.bank.memory_bank import Fingerprint, MemoryBank, Refused
from ntt_plugin.engine.bank.quality import reference_quality
from ntt_plugin.engine.recipe import Recipe
from ntt_plugin.engine.references import Provenance
from ntt_plugin.errors import BankError
from tests.bad_input.bank_mutations import mutations

opened: list[str] = []
watching = False


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    if watching and event in ("open", "os.mkdir", "os.rename", "os.remove", "subprocess.Popen"):
        opened.append(f"{event} {arguments[:1]}")


def make_bank() -> MemoryBank:
    bank = MemoryBank(Fingerprint("facebook/dinov2-large", "0123456789abcdef", 518, 4), Recipe())
    origin = Provenance("harbour", "sample", "label", (1.5, 2.0, 3.0, 4.0))
    bank.add("boat", torch.tensor([[0.1, 2, 3, 4], [5, 6, 7, 8]]), [origin, Provenance()])
    bank.add('Vögel "quoted" 鳥', torch.arange(4.0))
    bank.add_negatives("boat", torch.tensor([1.0, -1, 1, -1]))
    bank.set_thresholds({"boat": 0.25})
    bank.refused.append(Refused("boat", origin, "Its mask is empty."))
    return bank


def require_sound(bank: MemoryBank) -> None:
    """A bank that was accepted must be one that can be used, kept, and read again."""
    assert torch.isfinite(bank.prototypes()).all(), "a prototype is not finite"
    lengths = bank.prototypes().norm(dim=1)
    empty = torch.tensor([not bank.features(label).any() for label in bank.classes])
    assert ((lengths - 1).abs().lt(1e-3) | empty).all(), "a prototype has no unit length"
    for entry in reference_quality(bank):
        alone = bank.shots(entry.label) == 1
        assert alone or -1.001 < entry.own < 1.001, "a quality is no cosine"
    assert all(0 <= value <= 1 for value in bank.thresholds.values()), "a threshold is none"
    again = MemoryBank.from_bytes(bank.to_bytes())
    assert again.classes == bank.classes and again.to_bytes() == bank.to_bytes()
    assert all(isinstance(label, str) and label.strip() for label in bank.classes)


def read(given: bytes | Path) -> MemoryBank:
    return MemoryBank.load(given) if isinstance(given, Path) else MemoryBank.from_bytes(given)


def memory(kind: str) -> float:
    """This process's memory in MB: VmRSS, what it has now, or VmHWM, the most that it had."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{kind}:")[1].split()[0]) / 1024


def forget_the_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _given(arguments: list[str], data: bytes) -> Iterator[tuple[str, bytes | Path]]:
    if arguments[0].isdigit():
        return mutations(data, int(arguments[0]))
    return ((Path(path).name, Path(path)) for path in arguments)


def main(arguments: list[str]) -> None:
    global watching
    torch.set_num_threads(1)
    refused: Counter[str] = Counter()
    sound: Counter[str] = Counter()
    wrong: list[str] = []
    longest = 0
    data = make_bank().to_bytes()
    require_sound(MemoryBank.from_bytes(data))
    sys.addaudithook(watch)
    forget_the_peak()
    before = memory("VmRSS")
    for index, (name, damaged) in enumerate(_given(arguments, data)):
        watching = True
        try:
            bank = read(damaged)
        except BankError as error:
            refused[name] += 1
            longest = max(longest, len(str(error)))
        except BaseException as error:
            wrong.append(f"{index} {name}: {error!r:.200}")
        else:
            sound[name] += 1
            try:
                require_sound(bank)
            except Exception as error:
                wrong.append(f"{index} {name}: unsound: {error!r:.200}")
        watching = False
    print(
        json.dumps(
            {
                "refused": refused,
                "sound": sound,
                "wrong": wrong,
                "opened": opened,
                "memory": memory("VmHWM") - before,
                "longest": longest,
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1:])
