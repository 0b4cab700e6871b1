"""Tars written by others: read as webdataset reads them, never trusted, nothing lost in silence."""

import gzip
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.catalogue import jpeg, tar_entry, tar_of
from tests.support.reading import read
from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data import readers
from unidiff_cli.data.locations import LocalPath
from unidiff_cli.data.readers import webdataset
from unidiff_cli.data.readers.tars import keys
from unidiff_cli.data.readers.tars.tar_file import Member, members
from unidiff_cli.data.sample import Rejected, Sample

PAIRS = [(f"{n}.{kind}", data) for n in range(6) for kind, data in (("jpg", jpeg()), ("txt", b"c"))]


def all_members(path: Path) -> list[Member]:
    return list(members(LocalPath(path), lambda name: 1 << 20, inflation=100))


def reasons(rejected: list[Rejected]) -> list[str]:
    return [item.reason.text for item in rejected]


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize(("name", "mode"), [("x.tar", "w"), ("x.tar.gz", "w:gz")])
def test_others_tars_are_read(tmp_path, kind, name, mode):
    entries = [
        ("0.jpg", jpeg()),
        ("0.txt", b"red"),
        ("0.json", b'{"price": 1, "split": "test"}'),
        ("1.b.png", jpeg()),
        ("1.json", b'{"caption": "blue"}'),
    ]
    samples, rejected = read(tar_of(tmp_path / name, entries, mode, kind))
    assert not rejected and [s.captions[0] for s in samples] == ["red", "blue"]
    assert samples[0].attributes == {"price": 1, "split": "test"} and samples[0].split == "test"
    assert samples[0].image.read() == jpeg()


@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_are_read(tmp_path, kind):
    long = "deep/" * 30 + "é" * 60
    entries = [(f"{long}.jpg", jpeg()), (f"{long}.txt", b"long")]
    samples, _ = read(tar_of(tmp_path / "x.tar", entries, kind=kind))
    assert samples[0].row == f"x.tar:{long}"


def test_hostile_members_are_never_opened(tmp_path):
    outside, shop = tmp_path / "outside", tmp_path / "shop"
    shop.mkdir()
    pickle = b"cos\nsystem\n(S'touch " + str(outside).encode() + b"'\ntR."
    entries = [
        ("../escape.jpg", jpeg()),
        ("../escape.txt", b"x"),
        ("/abs.jpg", jpeg()),
        ("/abs.txt", b"x"),
        tar_entry("link.jpg", tarfile.SYMTYPE, "/etc/passwd"),
        tar_entry("hard.jpg", tarfile.LNKTYPE, "../x"),
        tar_entry("pipe.jpg", tarfile.FIFOTYPE),
        tar_entry("disk.jpg", tarfile.BLKTYPE),
        tar_entry("dir", tarfile.DIRTYPE),
        ("0.jpg", jpeg()),
        ("0.txt", b"fine"),
        ("0.pyd", pickle),
        ("0.pkl", pickle),
        ("1.jpg", jpeg()),
        ("2.txt", b"no image"),
        ("3.jpg", jpeg()),
        ("3.json", b"{NaN}"),
    ]
    reader = readers.choose(tar_of(shop / "x.tar", entries), Prepare())
    before = sorted(tmp_path.rglob("*"))
    items = list(reader)
    assert [s.captions for s in items if isinstance(s, Sample)] == [("fine",)]
    # Names that lead out, what is no file, and samples without caption, image or JSON.
    assert len([item for item in items if isinstance(item, Rejected)]) == 4 + 4 + 3
    assert reader.notes[webdataset.UNOPENED] == 2
    assert sorted(tmp_path.rglob("*")) == before and not outside.exists()


# ---------------------------------------------------------------- keys


def test_a_name_with_several_dots_is_one_key(tmp_path):
    """As webdataset has it; each image of the key is a sample, all of one product."""
    entries = [(f"img.v1.{n}.jpg", jpeg()) for n in range(3)]
    samples, rejected = read(tar_of(tmp_path / "x.tar", [*entries, ("img.txt", b"c")]))
    assert not rejected and [s.row for s in samples] == [f"x.tar:img.v1.{n}.jpg" for n in range(3)]
    assert {(s.captions, s.product) for s in samples} == {(("c",), "x.tar:img")}


def test_an_image_with_a_plain_ending_wins_and_the_others_are_counted(tmp_path):
    entries = [("0.mask.png", jpeg("blue")), ("0.jpg", jpeg("red")), ("0.txt", b"c")]
    reader = readers.choose(tar_of(tmp_path / "x.tar", entries), Prepare())
    (sample,) = list(reader)
    assert sample.image.read() == jpeg("red") and reader.notes == {webdataset.FURTHER: 1}


def test_a_second_member_of_one_name_is_refused(tmp_path):
    entries = [("0.jpg", jpeg("red")), ("0.jpg", jpeg("blue")), ("0.txt", b"c")]
    samples, rejected = read(tar_of(tmp_path / "x.tar", entries))
    assert samples[0].image.read() == jpeg("red")
    assert reasons(rejected) == ["a second member of this name in its sample"]


def test_members_without_a_key_do_not_tear_a_sample(tmp_path):
    """macOS's ._ files, and files without an ending."""
    entries = [("./0.jpg", jpeg()), ("./._0.jpg", b"Mac OS X"), ("README", b"x"), ("./0.txt", b"c")]
    reader = readers.choose(tar_of(tmp_path / "x.tar", entries), Prepare())
    (sample,) = list(reader)
    assert sample.captions == ("c",) and sample.row == "x.tar:0"
    assert reader.notes == {webdataset.KEYLESS: 2}


@given(st.text("ab./_", max_size=12))
@settings(deadline=None)
def test_keys_are_those_of_webdataset(name):
    from webdataset.tariterators import base_plus_ext

    key, ending = base_plus_ext(name)
    wanted = None if key is None or keys._META.match(name) else (key, ending)
    assert keys.split_name(name) == wanted


MEMBER = st.tuples(
    st.sampled_from(["0", "1", "a/0", "a.b/1", "__meta__"]),
    st.sampled_from(["jpg", "TXT", "json", "mask.png", "b.txt"]),
)


@given(st.lists(MEMBER, max_size=12, unique_by=lambda m: (m[0], m[1].lower())))
@settings(max_examples=60, deadline=None)
def test_samples_are_those_of_webdataset(tmp_path_factory, parts):
    """The same keys with the same members, in the same order."""
    import webdataset as library

    entries = [(f"{key}.{ending}", b"{}") for key, ending in parts]
    path = tar_of(tmp_path_factory.mktemp("tar") / "x.tar", entries)
    expected = [
        (sample["__key__"], sorted(k for k in sample if not k.startswith("__")))
        for sample in library.WebDataset(str(path), shardshuffle=False, empty_check=False)
    ]
    samples: list[tuple[str, list[str]]] = []
    for member in all_members(path):
        if names := keys.split_name(member.name):
            if not samples or samples[-1][0] != names[0]:
                samples.append((names[0], []))
            samples[-1][1].append(names[1].lower())
    assert [(key, sorted(endings)) for key, endings in samples] == expected


# ---------------------------------------------------------------- damage


@pytest.fixture
def whole(tmp_path) -> Path:
    return tar_of(tmp_path / "x.tar", PAIRS)


def test_a_damaged_header_is_said_and_the_rest_is_read(whole):
    data = bytearray(whole.read_bytes())
    with tarfile.open(whole) as tar:
        header = tar.getmembers()[4].offset
    data[header : header + 100] = b"\xff" * 100
    whole.write_bytes(data)
    samples, rejected = read(whole)
    assert len(samples) == 5 and any("damaged" in text for text in reasons(rejected))


def test_a_truncated_tar_is_said(whole):
    whole.write_bytes(whole.read_bytes()[: len(jpeg()) // 2 + 512])
    samples, rejected = read(whole)
    assert not samples and reasons(rejected) == ["the tar ends in the middle of this member"]


def test_a_truncated_archive_is_said(whole, tmp_path):
    packed = tmp_path / "y.tar.gz"
    packed.write_bytes(gzip.compress(whole.read_bytes())[:-300])
    assert any("cannot be read" in text for text in reasons(read(packed)[1]))


@given(st.integers(0, 511), st.binary(min_size=1, max_size=12))
@settings(max_examples=200, deadline=None)
def test_no_header_hangs_or_crashes(tmp_path_factory, offset, noise):
    """Headers with a right checksum and wrong sizes, negative ones too (CVE-2025-8194)."""
    path = tar_of(tmp_path_factory.mktemp("t") / "x.tar", [("0.jpg", jpeg()), ("0.txt", b"c")])
    data = bytearray(path.read_bytes())
    data[offset : offset + len(noise)] = noise
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    path.write_bytes(data)
    assert len(all_members(path)) < 20
