"""The page of prepare: whole, self-contained, everything escaped."""

import re
from html.parser import HTMLParser

from tests.support.catalogue import encoded, photo, put, write_photos
from unidiff_cli.config.schema import Prepare, Recipe
from unidiff_cli.data.prepare import prepare
from unidiff_cli.project.project import Project
from unidiff_cli.reports import html


class Page(HTMLParser):
    """Checks that tags close, and collects addresses and scripts."""

    VOID = ("meta", "img", "br", "rect")

    def __init__(self, text: str):
        super().__init__()
        self.open, self.addresses, self.scripts = [], [], 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.scripts += tag == "script"
        self.addresses += [value for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    handle_startendtag = handle_starttag


def page_of(tmp_path) -> str:
    """The page of a catalogue with markup in its captions and names, and bad rows."""
    source = write_photos(
        tmp_path / "shop",
        60,
        caption=lambda n: f"a <script>alert({n})</script> & &lt;b&gt; {'word ' * n}",
    )
    put(source / "images/20.jpg", "<!doctype html><title>404")
    put(source / "images/1.jpg", encoded(photo(0), quality=90))
    with (source / "captions.jsonl").open("a") as stream:
        stream.write('{"image": "<img src=x>.jpg", "caption": "x"}\n')
    project = Project(tmp_path / "project")
    prepare(project, Recipe(prepare=Prepare(workers=1, max_bad=0.5)), source)
    return project.path("shards", "report.html").read_text(encoding="utf-8")


def test_the_page_is_whole_and_self_contained(tmp_path):
    text = page_of(tmp_path)
    page = Page(text)
    assert page.open == [] and page.addresses
    assert all(address.startswith("data:image/") for address in page.addresses)
    assert not re.search(r"https?://", text) and "prefers-color-scheme: dark" in text


def test_the_page_escapes_captions_and_names(tmp_path):
    text = page_of(tmp_path)
    assert Page(text).scripts == 0 and "&lt;img src=x&gt;.jpg" in text


def test_the_page_says_why_rows_are_bad(tmp_path):
    assert "a web page" in page_of(tmp_path)


def test_a_histogram_counts_everything():
    bars = html.bars([1] * 5 + [100])
    assert len(bars) <= 24 and sum(count for _, count, _ in bars) == 6 and bars[0][2] == 1.0
    assert html.bars([]) == [] and html.bars([3, 3, 4]) == [("3", 2, 1.0), ("4", 1, 0.5)]
