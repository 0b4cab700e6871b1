"""The page of prepare: whole, self-contained, everything escaped."""

import re
from html.parser import HTMLParser

from PIL import ExifTags, Image

from tests.support.catalogue import encoded, photo, put, write_photos
from unidiff_cli.config.prepare import Prepare
from unidiff_cli.config.schema import Recipe
from unidiff_cli.data import summary
from unidiff_cli.data.prepare import prepare
from unidiff_cli.project.project import Project


class Page(HTMLParser):
    """Checks that tags close, and collects addresses and scripts."""

    VOID = ("meta", "img", "br")

    def __init__(self, text: str):
        super().__init__()
        self.open, self.addresses, self.scripts = [], [], 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.scripts += tag == "script"
        self.addresses += [value for name, value in attrs if name in ("src", "href")]


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


def test_the_table_counts_what_was_done_to_images(tmp_path):
    shop = write_photos(tmp_path / "shop", 20)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    put(shop / "images/0.jpg", encoded(photo(50), exif=exif))
    clear = photo(51).convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(clear.size))
    put(shop / "images/1.jpg", encoded(clear, "PNG"))
    receipt = prepare(Project(tmp_path / "project"), Recipe(), shop)
    lines = dict(summary.table(receipt))
    assert lines["rotated as EXIF says"] == lines["transparency filled"] == "1"
    assert lines["images out"] == "20"
