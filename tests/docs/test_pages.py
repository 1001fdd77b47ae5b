"""What the pages name is there: files, headings, functions, arguments."""

import ast
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.docs.pages import FENCED, ROOT, all_pages, anchors, links, problem_of, sdk_calls

each = pytest.mark.parametrize("page", all_pages(), ids=lambda page: str(page.relative_to(ROOT)))


@each
def test_relative_links_and_pictures_lead_somewhere(page: Path) -> None:
    for link in links(page.read_text()):
        if "://" in link or link.startswith("mailto:"):
            continue
        name, _, anchor = unquote(link).partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{link} leads nowhere"
        assert target.is_relative_to(ROOT), f"{link} leads out of the project"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target.read_text()), f"{link}: no such heading"


@each
def test_calls_of_the_sdk_are_calls_that_it_takes(page: Path) -> None:
    problems = [problem_of(name, call) for name, call in sdk_calls(page.read_text())]
    assert [problem for problem in problems if problem] == []


@each
def test_python_is_python(page: Path) -> None:
    for language, code in FENCED.findall(page.read_text()):
        if language == "python":
            ast.parse(code)


@each
def test_pictures_are_small(page: Path) -> None:
    for link in links(page.read_text()):
        if link.endswith(".png") and "://" not in link:
            assert (page.parent / link).stat().st_size < 450_000, link


def test_every_page_of_docs_is_reached_from_its_index() -> None:
    seen: set[Path] = set()
    waiting = [ROOT / "docs" / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen:
            continue
        seen.add(page)
        for link in links(page.read_text()):
            target = (page.parent / link.partition("#")[0]).resolve()
            if target.suffix == ".md" and target.is_file():
                waiting.append(target)
    assert set((ROOT / "docs").rglob("*.md")) <= seen


def test_every_picture_is_shown_somewhere() -> None:
    shown = {
        (page.parent / link).resolve() for page in all_pages() for link in links(page.read_text())
    }
    assert set((ROOT / "docs" / "images").glob("*.png")) <= shown
