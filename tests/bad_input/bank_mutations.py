"""Ways to damage or forge a memory bank's file, each drawn from one seeded generator."""

import copy
import json
import random
import struct
from collections.abc import Callable, Iterator
from typing import Any

KEY = "ntt_memory_bank"

PATH_LIKE = ["../../evil", "/etc/passwd", "C:\\evil", "~/evil", "file:///etc/passwd", "a\0b", "."]
NUMBERS = [0, -1, 1, 2, 3, 4, 5, 2**31, 2**63, 10**30, 10**400, 1.5, -0.0, 1e308, 1e-320]
VALUES: list[Any] = [
    *PATH_LIKE,
    *NUMBERS,
    *(None, True, False, "", " ", "9", "x" * 10_000, "\ud800", "\u202e", "\x1b[2J"),
    *(float("nan"), float("inf"), [], {}, [[]], {"": {}}, [None] * 50, {"a": 1}, [1, 2, 3, 4]),
]


def mutations(data: bytes, count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of ``count`` damaged files; half of them are forged part by part."""
    chance = random.Random(seed)
    ways = [*_BYTES, *_PARTS]
    for index in range(count):
        way = ways[index % len(ways)]
        yield way.__name__, way(data, chance)


def giants(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Headers as long as they may be, made to become many times larger in memory."""
    for name, (piece, parts) in _DENSE.items():
        # An escaped quote takes more bytes in the header than in the document.
        size = len(json.dumps(piece)) - 2
        parts = min(parts, _HEADER_BYTES // size)
        # One wide letter makes Python keep four bytes for each.
        rest = "x" * (_HEADER_BYTES - parts * size) + "\U0001f6a2"
        text = "[" + piece * parts + f'"{rest}"]'
        yield name, with_document(data, lambda document, text=text: text)
    keys = ",".join(f'"{number:x}":1' for number in range(990_000))
    yield "keys", with_document(data, lambda document: "{" + keys + "}")


_HEADER_BYTES = 16 * 1024**2 - 10_000
_DENSE = {
    "lists": ("[],", 490_000),
    "texts": ('"ab",', 990_000),
    "too many texts": ('"ab",', 10**9),
    "nesting": ("[", 990_000),
    "quotes": ('\\"', 10**9),
}


def split(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and tensors of a safetensors file."""
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def join(header: dict[str, Any] | bytes, tensors: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + tensors


def with_document(data: bytes, change: Callable[[Any], Any]) -> bytes:
    """The file after a change of its JSON document; a text that comes back replaces it."""
    header, tensors = split(data)
    document = json.loads(header["__metadata__"][KEY])
    changed = change(document)
    header["__metadata__"][KEY] = changed if isinstance(changed, str) else json.dumps(document)
    return join(header, tensors)


def nested(depth: int, kind: str = "list") -> str:
    return "[" * depth + "]" * depth if kind == "list" else '{"a":' * depth + "1" + "}" * depth


def flip_bytes(data: bytes, chance: random.Random) -> bytes:
    damaged = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 8, 64])):
        damaged[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(damaged)


def flip_bits_of_the_header(data: bytes, chance: random.Random) -> bytes:
    damaged = bytearray(data)
    for _ in range(chance.choice([1, 2, 4])):
        damaged[chance.randrange(8 + len(split_header(data)))] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def split_header(data: bytes) -> bytes:
    return data[8 : 8 + struct.unpack("<Q", data[:8])[0]]


def cut(data: bytes, chance: random.Random) -> bytes:
    start, stop = sorted(chance.randrange(len(data) + 1) for _ in range(2))
    return chance.choice([data[:start], data[start:], data[:start] + data[stop:]])


def insert(data: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(data) + 1)
    start = chance.randrange(len(data))
    piece = chance.choice(
        [chance.randbytes(chance.choice([1, 8, 1000])), b"\0" * 8, data[start : start + 100]]
    )
    return data[:place] + piece + data[place:]


def lie_about_the_headers_length(data: bytes, chance: random.Random) -> bytes:
    (true,) = struct.unpack("<Q", data[:8])
    length = chance.choice([0, 1, true - 1, true + 1, true * 2, 2**32, 2**63, 2**64 - 1])
    length = chance.choice([length, chance.randrange(2**64), chance.randrange(len(data))])
    return struct.pack("<Q", length) + data[8:]


def lie_about_a_tensor(data: bytes, chance: random.Random) -> bytes:
    header, tensors = split(data)
    entry = header[chance.choice(["features", "negatives"])]
    length = len(tensors)
    key, value = chance.choice(
        [
            ("shape", chance.choice(VALUES)),
            ("shape", [chance.choice([0, 1, 3, -3, 2**31, 2**62, 2**64, 1.0, True]), 4]),
            ("shape", [chance.choice(NUMBERS), chance.choice(NUMBERS)]),
            ("shape", [1] * chance.choice([0, 1, 3, 5000])),
            ("data_offsets", chance.choice(VALUES)),
            ("data_offsets", [chance.choice([0, 16, length]), chance.choice([0, length, 2**62])]),
            ("data_offsets", entry["data_offsets"][::-1]),
            ("dtype", chance.choice(["F16", "F64", "BF16", "I8", "U64", "BOOL", "F8_E5M2", "X"])),
            ("dtype", chance.choice(VALUES)),
            ("another", chance.choice(VALUES)),
        ]
    )
    entry[key] = value
    return join(header, tensors)


def forge_the_header(data: bytes, chance: random.Random) -> bytes:
    header, tensors = split(data)
    name = chance.choice([*header, KEY, *PATH_LIKE])
    what = chance.randrange(4)
    if what == 0:
        header[name] = chance.choice(VALUES)
    elif what == 1:
        header.pop(name, None)
    elif what == 2:
        header[name] = copy.deepcopy(header["features"])
    else:
        header["__metadata__"][chance.choice([KEY, "format", "../x"])] = chance.choice(VALUES)
    return join(header, tensors)


def repeat_a_key(data: bytes, chance: random.Random) -> bytes:
    """The same key twice: readers differ in which of the two they take."""
    header, tensors = split(data)
    text = json.dumps(header)
    key = chance.choice(["features", "negatives", "__metadata__"])
    extra = chance.choice([header[key], {"dtype": "F32", "shape": [9, 9], "data_offsets": [0, 0]}])
    pair = f"{json.dumps(key)}: {json.dumps(extra)}"
    twice = chance.choice(["{" + pair + ", " + text[1:], text[:-1] + ", " + pair + "}"])
    return join(twice.encode(), tensors)


def replace_a_value(data: bytes, chance: random.Random) -> bytes:
    def change(document: Any) -> None:
        parent, key = _place(document, chance)
        parent[key] = chance.choice(VALUES)

    return with_document(data, change)


def remove_or_repeat_an_entry(data: bytes, chance: random.Random) -> bytes:
    def change(document: Any) -> None:
        parent, key = _place(document, chance)
        if chance.random() < 0.5:
            del parent[key]
        elif isinstance(parent, list):
            parent.insert(chance.randrange(len(parent) + 1), copy.deepcopy(parent[key]))
        else:
            parent[chance.choice([*parent, "more", *PATH_LIKE])] = copy.deepcopy(parent[key])

    return with_document(data, change)


def graft_a_part(data: bytes, chance: random.Random) -> bytes:
    """One part of the document where another belongs, perhaps the whole inside itself."""

    def change(document: Any) -> None:
        whole = copy.deepcopy(document)
        parent, key = _place(document, chance)
        source, name = _place(whole, chance)
        parent[key] = chance.choice([source[name], whole])

    return with_document(data, change)


def nest_deeply(data: bytes, chance: random.Random) -> bytes:
    deep = nested(chance.choice([10, 900, 5000, 20_000]), chance.choice(["list", "dict"]))
    if chance.random() < 0.3:
        return join(deep.encode(), split(data)[1])
    mark = "the deep part goes here"

    def change(document: Any) -> str:
        parent, key = _place(document, chance)
        parent[key] = mark
        return json.dumps(document).replace(json.dumps(mark), deep)

    return with_document(data, change)


def damage_the_documents_text(data: bytes, chance: random.Random) -> bytes:
    def change(document: Any) -> str:
        text = json.dumps(document)
        start = chance.randrange(len(text))
        stop = start + chance.choice([0, 1, 1, 20])
        piece = chance.choice(
            ["", "}", "]", '"', "NaN", "-Infinity", "1e999", "9" * 5000, ",", "\\ud800", "\\u0000"]
        )
        return text[:start] + chance.choice([piece, text[start:stop] * 2]) + text[stop:]

    return with_document(data, change)


def many_small_parts(data: bytes, chance: random.Random) -> bytes:
    """A list whose entries take far more memory than their text."""
    piece = chance.choice(["[]", "{}", '""', "1.5", '{"a":{}}', '{"id":"x"}'])
    many = ",".join([piece] * chance.choice([100, 3000]))
    field = chance.choice(["classes", "refused", "more", "recipe"])
    return with_document(
        data, lambda document: json.dumps({**document, field: "@"}).replace('"@"', f"[{many}]")
    )


def poison_the_features(data: bytes, chance: random.Random) -> bytes:
    header, tensors = split(data)
    damaged = bytearray(tensors)
    for _ in range(chance.choice([1, 4])):
        value = chance.choice([float("nan"), float("inf"), 3e38, -3e38, 1e-45, 0.0, -0.0])
        struct.pack_into("<f", damaged, 4 * chance.randrange(len(tensors) // 4), value)
    return join(header, bytes(damaged))


def _place(document: Any, chance: random.Random) -> tuple[Any, Any]:
    """A container of the document and one of its keys, however deep."""
    places: list[tuple[Any, Any]] = []
    waiting = [document]
    while waiting:
        parent = waiting.pop()
        for key in parent if isinstance(parent, dict) else range(len(parent)):
            places.append((parent, key))
            if isinstance(parent[key], (dict, list)):
                waiting.append(parent[key])
    return chance.choice(places)


_BYTES = [flip_bytes, flip_bits_of_the_header, cut, insert, lie_about_the_headers_length]
_PARTS = [
    lie_about_a_tensor,
    forge_the_header,
    repeat_a_key,
    replace_a_value,
    remove_or_repeat_an_entry,
    graft_a_part,
    nest_deeply,
    damage_the_documents_text,
    many_small_parts,
    poison_the_features,
]
