"""Reading Markdown: links, anchors, code, and the calls of the SDK in it."""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ntt_plugin as ntt

ROOT = Path(__file__).resolve().parents[2]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"!?\[[^\]]*\]\(([^()\s]+)\)|(?:src|href)=\"([^\"]+)\"")


def all_pages() -> list[Path]:
    """Every page that people read."""
    pages = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "benchmarks" / "README.md"]
    for folder in ("docs", "examples", "skills", "benchmarks/published"):
        pages += sorted((ROOT / folder).rglob("*.md"))
    return pages


def links(text: str) -> list[str]:
    """Targets of links and pictures."""
    prose = FENCED.sub("", text)
    return [first or second for first, second in LINK.findall(prose)]


def anchors(text: str) -> set[str]:
    """What ``#...`` can name: headings as GitHub does it, and explicit anchors."""
    named = set(re.findall(r'<a id="([^"]+)">', text))
    for heading in re.findall(r"^#+ (.+)$", FENCED.sub("", text), re.MULTILINE):
        words = re.sub(r"[^\w\- ]", "", re.sub(r"\]\([^)]*\)", "", heading).lower())
        named.add(words.strip().replace(" ", "-"))
    return named


def sdk_calls(text: str) -> Iterator[tuple[str, ast.Call]]:
    """Every call ``ntt.name(...)`` in code blocks and in backticks."""
    blocks = [code for language, code in FENCED.findall(text) if language == "python"]
    inline = [code for code in INLINE.findall(FENCED.sub("", text)) if code.startswith("ntt.")]
    for code in [*blocks, *(code for code in inline if "(" in code)]:
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                if isinstance(node.func.value, ast.Name) and node.func.value.id == "ntt":
                    yield node.func.attr, node


def problem_of(name: str, call: ast.Call) -> str | None:
    """Why the SDK would not take a call; None if it would."""
    if name not in ntt.__all__:
        return f"there is no ntt.{name}"
    if any(isinstance(arg, ast.Starred) for arg in call.args):
        return None
    # In prose a call may be cut short to its name: `ntt.segment(...)`.
    if any(isinstance(arg, ast.Constant) and arg.value is ... for arg in call.args):
        return None
    values: list[Any] = [None] * len(call.args)
    named = {keyword.arg: None for keyword in call.keywords if keyword.arg}
    try:
        inspect.signature(getattr(ntt, name)).bind(*values, **named)
    except TypeError as error:
        return f"ntt.{name}: {error}"
    return None


def table(text: str) -> list[list[str]]:
    """Cells of the rows of the first table."""
    rows = []
    for line in text.splitlines():
        if line.startswith("|"):
            cells = re.split(r"(?<!\\)\|", line.strip().strip("|"))
            rows.append([cell.strip() for cell in cells])
        elif rows:
            break
    return rows[2:]
