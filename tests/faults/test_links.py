"""Links that lead out of the catalogue: refused by name, one row each, unless --follow-links.

A link that stays inside is what it names. What is refused is said on the terminal.
"""

import json
import os
from pathlib import Path

import pytest

from tests.support import hostile
from tests.support.catalogue import encoded, jpeg, photo, put, tar_of
from tests.support.reading import read
from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data import readers
from unidiff_cli.data.sample import Cause, Rejected
from unidiff_cli.errors import WorkError

SECRET = "the words of somebody else"


@pytest.fixture
def shop(tmp_path) -> Path:
    """Three good images with texts; outside lie a text, an image and a folder of images."""
    for n in range(3):
        put(tmp_path / "shop" / f"{n}.jpg", encoded(photo(n)))
        put(tmp_path / "shop" / f"{n}.txt", f"thing {n}")
    put(tmp_path / "outside" / "secret.txt", SECRET)
    put(tmp_path / "outside" / "secret.jpg", encoded(photo(9)))
    return tmp_path / "shop"


def link(place: Path, target: str | Path) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)
    return place


def text_link(shop: Path) -> None:
    put(shop / "x.jpg")
    link(shop / "x.txt", "../outside/secret.txt")


def absolute_text_link(shop: Path) -> None:
    put(shop / "x.jpg")
    link(shop / "x.jpg.caption", shop.parent / "outside" / "secret.txt")


def image_link(shop: Path) -> None:
    put(shop / "x.txt", "x")
    link(shop / "x.jpg", "../outside/secret.jpg")


def folder_link(shop: Path) -> None:
    link(shop / "more", "../outside")


def chain(shop: Path) -> None:
    link(shop / "a" / "more", "../b")
    link(shop / "b", "../outside")


def through_a_folder_inside(shop: Path) -> None:
    put(shop / "x.jpg")
    link(shop / "x.txt", "up/outside/secret.txt")
    link(shop / "up", "..")


OUT = [text_link, absolute_text_link, image_link, folder_link, chain, through_a_folder_inside]


@pytest.mark.parametrize("make", OUT, ids=lambda make: make.__name__)
def test_a_link_that_leads_out_is_refused_by_name(shop, make):
    make(shop)
    samples, rejected = read(shop)
    assert {"thing 0", "thing 1", "thing 2"} <= {sample.captions[0] for sample in samples}
    assert SECRET not in str(samples)
    shown = [item for item in rejected if item.reason.cause is Cause.LINK]
    assert all("--follow-links" in item.reason.text for item in shown)


@pytest.mark.parametrize(
    "make",
    [
        text_link,
        folder_link,
        *(pytest.param(make, marks=pytest.mark.slow) for make in OUT[1:3] + OUT[4:]),
    ],
)
def test_prepare_says_which_and_reads_them_when_told(shop, make):
    make(shop)
    refused = hostile.prepare(shop)
    assert refused.code == 0 and " 3 samples" in refused.text
    assert " not read, links " in refused.text and "--follow-links" in refused.text
    stored = b"".join(file.read_bytes() for file in (shop.parent / "shop-project/shards").iterdir())
    assert SECRET.encode() not in stored
    followed = hostile.prepare(shop, "--follow-links", "--force")
    assert followed.code == 0 and " 3 samples" not in followed.text and not followed.reasons


def test_links_that_stay_inside_are_what_they_name(shop):
    put(shop / "texts" / "x.txt", "inside")
    put(shop / "photos" / "deep" / "x.jpg")
    link(shop / "y.jpg", "photos/deep/x.jpg")
    link(shop / "y.txt", shop / "texts" / "x.txt")
    link(shop / "again", "photos")
    samples, rejected = read(shop)
    assert {sample.row for sample in samples} >= {"again/deep/x.jpg", "y.jpg"} and not rejected


def test_a_catalogue_may_itself_be_a_link(shop, tmp_path):
    image_link(shop)
    entry = link(tmp_path / "entry" / "shop", shop)
    items = list(readers.choose(entry, Prepare()))
    assert len(items) == 4 and all(sample.image.is_file() for sample in items[:3])
    assert items[3].image.kind() == "outside"


def test_a_link_to_nothing_and_one_to_itself_cost_themselves(shop):
    for name in ("gone.jpg", "loop.jpg"):
        put((shop / name).with_suffix(".txt"), "x")
    link(shop / "gone.jpg", "nowhere.jpg")
    link(shop / "loop.jpg", "loop.jpg")
    link(shop / "ring", "ring2")
    link(shop / "ring2", "ring")
    put(shop / "y.jpg")
    link(shop / "y.txt", "y.txt")
    outcome = hostile.prepare(shop)
    assert outcome.code == 0 and " 3 samples" in outcome.text
    assert len(outcome.reasons) == 3 and sum("Too many levels" in r for r in outcome.reasons) == 2


def test_a_link_to_a_pipe_is_never_opened(shop):
    os.mkfifo(shop / "pipe")
    put(shop / "x.jpg")
    link(shop / "x.txt", "pipe")
    link(shop / "y.jpg", "pipe")
    put(shop / "y.txt", "y")
    outcome = hostile.prepare(shop)
    assert outcome.code == 0 and len(outcome.reasons) == 2
    assert all("a pipe" in reason for reason in outcome.reasons)


# ---------------------------------------------------------------- tables and tars


def test_image_paths_of_a_table_that_lead_out_cost_their_rows(shop):
    link(shop / "linked", "../outside")
    link(shop / "photo.jpg", "../outside/secret.jpg")
    outside = shop.parent / "outside" / "secret.jpg"
    names = ["0.jpg", "linked/secret.jpg", "photo.jpg", "../outside/secret.jpg", str(outside)]
    names += ["linked/../outside/secret.jpg", "linked/../../etc/passwd", "1.jpg"]
    rows = "".join(json.dumps({"image": name, "caption": "c"}) + "\n" for name in names)
    put(shop / "captions.jsonl", rows)
    outcome = hostile.prepare(shop)
    assert outcome.code == 0 and " 2 samples" in outcome.text and len(outcome.reasons) == 6
    assert sum("--follow-links" in reason for reason in outcome.reasons) == 2
    assert "linked/secret.jpg, photo.jpg" in outcome.text
    followed = hostile.prepare(shop, "--follow-links")
    assert " 4 samples" in followed.text and len(followed.reasons) == 4


@pytest.mark.parametrize("name", ["captions.csv", "captions.parquet", "metadata.json", "a.tar"])
def test_a_table_or_tar_behind_a_link_is_refused_by_name(shop, name):
    target = put(shop.parent / "outside" / name, f"image,caption\n0.jpg,{SECRET}\n")
    if name == "a.tar":
        target.unlink()
        tar_of(target, [("0.jpg", jpeg()), ("0.txt", SECRET.encode())])
    link(shop / name, target)
    try:
        samples, rejected = read(shop)
    except WorkError as error:
        assert name in str(error) and "--follow-links" in str(error)
    else:
        assert SECRET not in str(samples)
        assert any("--follow-links" in item.reason.text for item in rejected)


def test_a_table_that_is_named_may_be_a_link(shop, tmp_path):
    table = put(tmp_path / "tables" / "t.csv", "image,caption\n0.jpg,c\n")
    samples, _ = read(link(shop / "mine.csv", table))
    assert [sample.image.is_file() for sample in samples] == [True]


# ---------------------------------------------------------------- folders that may not be read


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_said(shop):
    put(shop / "locked" / "b.jpg").parent.chmod(0)
    outcome = hostile.prepare(shop)
    (shop / "locked").chmod(0o755)
    assert outcome.code == 0 and "1 not read, folders" in outcome.text
    assert "locked" in outcome.text and "nobody knows how many" in outcome.reasons[0]


def test_any_error_of_a_folder_costs_it_and_no_other(shop, monkeypatch):
    from unidiff_cli.data.locations import LocalPath

    put(shop / "broken" / "b.jpg")
    whole = LocalPath.entries

    def entries(self):
        if self.name == "broken":
            raise OSError(5, "Input/output error", str(self))
        return whole(self)

    monkeypatch.setattr(LocalPath, "entries", entries)
    samples, (rejected,) = read(shop)
    assert len(samples) == 3 and isinstance(rejected, Rejected)
    assert rejected.reason.cause is Cause.UNREADABLE and "Input/output" in rejected.reason.text


# ---------------------------------------------------------------- replaced images


@pytest.mark.parametrize("how", ["written", "moved", "linked"])
def test_an_image_that_is_replaced_with_size_and_time_kept_is_noticed(shop, how):
    image, before = shop / "0.jpg", readers.choose(shop, Prepare()).extent()
    times, other = image.stat(), image.read_bytes()[::-1]
    if how == "written":
        image.write_bytes(other)
    else:
        put(shop.parent / "new", other)
        os.utime(shop.parent / "new", ns=(times.st_atime_ns, times.st_mtime_ns))
        (shop.parent / "new").replace(image) if how == "moved" else None
    if how == "linked":
        image.unlink()
        os.link(shop.parent / "new", image)
    os.utime(image, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert image.stat().st_mtime_ns == times.st_mtime_ns and image.stat().st_size == times.st_size
    assert readers.choose(shop, Prepare()).extent() != before
