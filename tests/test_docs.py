"""The docs: links resolve, lines are short, generated pages are what the code says."""

import re
import subprocess
import sys

import pytest

from tests.support.source import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
GENERATED = {"cli.md", "recipe-keys.md"}
# Tables of figures, and commands as they were run.
HISTORY = ("docs/numbers", "docs/archive", "decisions")


def outside_code(text):
    """The numbered lines of a page that are not in a fenced block."""
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced:
            yield number, line


def anchor(heading):
    """The anchor of a heading, as GitHub makes it."""
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", re.sub(r"[`*]", "", heading.strip().lower()))
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def anchors(page):
    text = page.read_text(encoding="utf-8")
    headings = (re.match(r"#+ (.*)", line) for _, line in outside_code(text))
    return {anchor(match[1]) for match in headings if match}


def broken_links(page):
    """Links to files or headings that are not there, as `line: target`."""
    broken = []
    for number, line in outside_code(page.read_text(encoding="utf-8")):
        for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", line)):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, heading = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            if not file.exists():
                broken.append(f"{number}: {target}")
            elif heading and file.suffix == ".md" and heading not in anchors(file):
                broken.append(f"{number}: {target}")
    return broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page):
    assert broken_links(page) == []


def test_a_broken_link_is_seen(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# One\n[a](#one) [b](#two) [c](none.md)\n")
    assert broken_links(page) == ["2: #two", "2: none.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_lines_are_short(page):
    if page.name in GENERATED or any(part in str(page) for part in HISTORY):
        pytest.skip("tables, or history as it was written")
    long = [
        number
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1)
        if len(line) > 100 and not line.lstrip().startswith("|")
    ]
    if page.name == "architecture.md":
        tree = page.read_text(encoding="utf-8").splitlines().index("<!-- tree -->")
        long = [number for number in long if number < tree]
    assert long == []


def test_generated_pages_are_what_the_code_says():
    done = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_word_of_the_glossary_has_one_sense():
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    words = re.findall(r"(?m)^- \*\*([^*]+)\*\*", text)
    assert len(words) > 20 and len(words) == len({word.lower() for word in words})
