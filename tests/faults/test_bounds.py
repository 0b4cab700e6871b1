"""One bad item of a catalogue costs one row: within 90 s and 2 GB, with its reason, no traceback.

Real files in a real `unidiff prepare`; three good images lie beside each hostile one.
"""

import gzip
import io
import json
import os
import struct
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from tests.support import hostile
from tests.support.catalogue import encoded, jpeg, photo, put, tar_of
from unidiff_cli.config.prepare import Limits, Prepare
from unidiff_cli.data import decode, near_duplicates
from unidiff_cli.data.captions import read_prompts
from unidiff_cli.data.executors import ProcessExecutor
from unidiff_cli.data.images import PreparedImage, prepare_image
from unidiff_cli.data.locations import LocalPath, locate
from unidiff_cli.data.perceptual_hash import fingerprint
from unidiff_cli.data.readers.rows import formats
from unidiff_cli.data.sample import Reason
from unidiff_cli.errors import UsageError, WorkError

ROWS = [{"image": f"{n}.jpg", "caption": f"thing {n}"} for n in range(3)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)
TABLE = "image,caption\n" + "".join(f"{n}.jpg,thing {n}\n" for n in range(3))


def shop(folder: Path, **files: bytes | str) -> Path:
    """Three good images with a text each, and other files; `x_txt` is x.txt."""
    for n in range(3):
        put(folder / f"{n}.jpg", encoded(photo(n)))
        put(folder / f"{n}.txt", f"thing {n}")
    for name, data in files.items():
        put(folder / name.replace("_", "."), data)
    return folder


def reasons_of(catalogue: Path, *options: str) -> list[str]:
    """The reasons of the rows that a catalogue of three good ones lost, within bounds."""
    outcome = hostile.prepare(catalogue, *options)
    hostile.assert_within_bounds(outcome)
    assert outcome.code == 0 and " 3 samples" in outcome.text, outcome.text
    return outcome.reasons


def rows_of(file: Path, **limits: int) -> list[dict | Reason]:
    options = Prepare(limits=Limits(**limits))
    return [cells for _, cells in formats.read(LocalPath(file), options)]


# ---------------------------------------------------------------- images


def many_scans(scans: int, side: int = 400) -> bytes:
    """A progressive JPEG whose last scan is there many times."""
    data = encoded(photo(1, (side, side)), progressive=True)
    start, end = data.rindex(b"\xff\xda"), data.rindex(b"\xff\xd9")
    return data[:end] + data[start:end] * scans + data[end:]


def tags(count: int, size: int) -> bytes:
    """A TIFF whose tags all hold the same large piece of it."""
    entries = (struct.pack("<HHLL", 40_000 + n, 7, size - 200, 100) for n in range(count))
    header = b"II*\0" + struct.pack("<LH", 8, count)
    return header + b"".join(entries) + bytes(4 + size)


def deflated(pixels: tuple[int, int]) -> bytes:
    """A small PNG of many pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    row = bytes(pixels[0] * 4 + 1)
    packer = zlib.compressobj(1)
    body = b"".join(packer.compress(row) for _ in range(pixels[1])) + packer.flush()
    head = struct.pack(">IIBBBBB", *pixels, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def test_a_jpeg_of_many_scans_is_refused_before_it_is_decoded(tmp_path):
    (reason,) = reasons_of(shop(tmp_path / "shop", x_jpg=many_scans(5000), x_txt="x"))
    assert "prepare.limits.image_scans" in reason


def test_scans_may_be_allowed(tmp_path):
    options = "--set", "prepare.limits.image_scans=300"
    outcome = hostile.prepare(shop(tmp_path / "shop", x_jpg=many_scans(200), x_txt="x"), *options)
    assert outcome.code == 0 and not outcome.reasons


def test_a_query_of_many_scans_is_refused(tmp_path):
    # It imports torch, which the processes that import this module do not need.
    from unidiff_cli.retrieval.query import open_query

    with pytest.raises(UsageError, match="scans"):
        open_query(many_scans(5000))
    with pytest.raises(UsageError, match="a pipe"):
        os.mkfifo(tmp_path / "query.jpg")
        open_query(tmp_path / "query.jpg")


@pytest.mark.parametrize("kind", [np.uint16, np.float32])
@pytest.mark.slow
def test_a_tiff_of_many_bits_takes_twice_its_size(tmp_path, kind):
    pixels = np.arange(10**8, dtype=np.float32).reshape(10**4, 10**4) % 60_000
    Image.fromarray(pixels.astype(kind)).save(shop(tmp_path / "shop", x_txt="x") / "x.tif")
    outcome = hostile.prepare(tmp_path / "shop")
    hostile.assert_within_bounds(outcome)
    assert outcome.code == 0 and not outcome.reasons and outcome.resident < 1.2e9


def test_grey_of_many_bits_is_the_same_in_strips(monkeypatch):
    from unidiff_cli.data import images

    pixels = np.random.default_rng(0).normal(20_000, 20_000, (50, 30)).astype(np.float32)
    pixels[3, 4], pixels[5, 6] = np.nan, np.inf
    whole = np.asarray(images._eight_bits(Image.fromarray(pixels)))
    monkeypatch.setattr(images, "STRIP", 70)
    assert (np.asarray(images._eight_bits(Image.fromarray(pixels))) == whole).all()
    assert whole[3, 4] == whole[5, 6] == 0 and len(np.unique(whole)) > 100


def test_a_tiff_whose_tags_hold_gigabytes_costs_itself(tmp_path):
    assert len(reasons_of(shop(tmp_path / "shop", x_tif=tags(5000, 4 << 20), x_txt="x"))) == 1


@pytest.mark.slow
def test_large_images_of_few_bytes_stay_within_bounds(tmp_path):
    files = {f"{name}_png": deflated((9_999, 9_999)) for name in "xyz"}
    catalogue = shop(tmp_path / "shop", **files, x_txt="x", y_txt="y", z_txt="z")
    outcome = hostile.prepare(catalogue)
    hostile.assert_within_bounds(outcome)
    assert outcome.code == 0


def spin(number: int) -> str:
    while number == 70:
        pass
    return str(number)


def swell(number: int) -> str:
    try:
        return str(len(bytes(1 << 30))) if number == 70 else str(number)
    except MemoryError:
        return "too large"


@pytest.mark.parametrize("count", [71, pytest.param(200, marks=pytest.mark.slow)])
def test_work_that_does_not_end_costs_its_source(count):
    executor = ProcessExecutor(2, seconds=1)
    results = list(executor.map(spin, range(count), "crashed"))
    assert results == ["crashed" if n == 70 else str(n) for n in range(count)]


def test_work_that_takes_too_much_memory_costs_its_source():
    executor = ProcessExecutor(1, memory=256 << 20)
    results = list(executor.map(swell, range(80), "crashed"))
    assert results == ["too large" if n == 70 else str(n) for n in range(80)]


def test_even_one_image_that_is_not_light_is_decoded_elsewhere(tmp_path, monkeypatch):
    """A scan of a JPEG may be slow: nothing but its header is looked at in this process."""
    started = []
    pool = decode.executor_of(Prepare()).map.__globals__["_pool"]
    monkeypatch.setitem(
        decode.executor_of(Prepare()).map.__globals__,
        "_pool",
        lambda workers: started.append(workers) or pool(workers),
    )
    assert isinstance(decode.decode_query(locate(put(tmp_path / "a.jpg"))), PreparedImage)
    assert started == []
    slow = put(tmp_path / "b.jpg", many_scans(60))
    assert isinstance(decode.decode_query(locate(slow)), PreparedImage) and started == [1]


# ---------------------------------------------------------------- what is no file


@pytest.mark.parametrize("name", ["x.jpg", "x.txt", "x.caption", "0.jpg.txt"])
def test_a_pipe_is_never_opened(tmp_path, name):
    catalogue = shop(tmp_path / "shop", x_jpg=jpeg(), x_txt="x")
    (catalogue / name).unlink(missing_ok=True)
    os.mkfifo(catalogue / name)
    outcome = hostile.prepare(catalogue)
    assert outcome.code == 0 and outcome.seconds < 60
    assert all("a pipe" in reason for reason in outcome.reasons)


@pytest.mark.parametrize("target", ["/dev/zero", "/dev/stdin", "/proc/self/environ", "/proc/kmsg"])
def test_devices_and_files_of_the_kernel_are_never_read(tmp_path, target):
    for name in ("x.jpg", "x.csv", "prompts.txt"):
        (tmp_path / name).symlink_to(target)
    result = prepare_image(locate(tmp_path / "x.jpg"), 64, decode.bounds_of(Prepare()))
    assert "no plain file" in result.text
    with pytest.raises(UsageError, match="no plain file"):
        read_prompts(tmp_path / "prompts.txt")
    with pytest.raises(WorkError, match="no plain file"):
        rows_of(tmp_path / "x.csv")


def test_prompts_from_a_pipe_are_refused(tmp_path):
    os.mkfifo(tmp_path / "prompts")
    with pytest.raises(UsageError, match="a pipe"):
        read_prompts(tmp_path / "prompts")


def test_a_pipe_that_takes_the_place_of_a_file_is_not_waited_for(tmp_path, monkeypatch):
    from unidiff_cli.data import plain_files

    place, before = tmp_path / "x.txt", os.stat(put(tmp_path / "file", "x"))
    os.mkfifo(place)
    monkeypatch.setattr(plain_files.os, "stat", lambda path: before)
    with pytest.raises(OSError, match="a pipe"):
        plain_files.open_plain(place)


def test_a_catalogue_of_the_kernel_is_nothing_to_read(tmp_path):
    for place in ("/proc/self", "/sys/kernel"):
        command = hostile.run("-C", str(tmp_path / "p"), "prepare", place)
        assert command.returncode == 2 and "Traceback" not in command.stderr, command.stderr


# ---------------------------------------------------------------- tables


def test_a_table_of_a_million_columns_is_refused_by_name(tmp_path):
    names = ",".join(f"c{n}" for n in range(1_000_000))
    text = f"image,caption,{names}\n0.jpg,x\n"
    outcome = hostile.prepare(shop(tmp_path / "shop", captions_csv=text))
    assert outcome.code == 2 and "prepare.limits.columns=1000002" in outcome.text
    assert outcome.seconds < 60


def test_rows_of_many_columns_cost_themselves(tmp_path):
    wide = json.dumps(ROWS[0] | {f"c{n}": n for n in range(3000)})
    (reason,) = reasons_of(shop(tmp_path / "shop", captions_jsonl=LINES + wide))
    assert "prepare.limits.columns" in reason
    (reason,) = reasons_of(shop(tmp_path / "shop2", captions_csv=TABLE + ",x" * 500_000))
    assert "500,001 cells" in reason


def test_a_quote_that_is_never_closed_costs_its_line(tmp_path):
    text = f'{TABLE}0.jpg,"{"x" * 15_500_000}\n' + '1.jpg,"fine"\n' * 3000
    rows = rows_of(put(tmp_path / "captions.csv", text))
    assert len(rows) == 3004 and [n for n, row in enumerate(rows) if isinstance(row, Reason)] == [3]


def test_lines_of_quotes_take_time_in_proportion(tmp_path):
    text = TABLE + '0.jpg,"' + ('x" y,"' * 2000 + "\n") * 500
    assert len(rows_of(put(tmp_path / "captions.csv", text))) == 503


@pytest.mark.parametrize("depth", [33, 600, 100_000])
def test_json_that_nests_deep_costs_its_row(tmp_path, depth):
    deep = '{"image": "0.jpg", "caption": "x", "deep": ' + "[" * depth + "]" * depth + "}"
    files = {"captions_jsonl": LINES + deep, "list_json": f"[{deep}, {json.dumps(ROWS[0])}]"}
    catalogue = shop(tmp_path / "shop", **files)
    for name, good in (("captions.jsonl", 3), ("list.json", 1)):
        rows = rows_of(catalogue / name)
        assert len(rows) == good + 1 and sum(isinstance(row, Reason) for row in rows) == 1
    assert len(reasons_of(catalogue)) == 1


def test_a_json_table_loses_no_good_row(tmp_path):
    rows = ', {"image": NaN}, {"a": [1, -Infinity], "b": "]"}, 3, "x", NaN, ' + "9" * 5000
    text = f"[{json.dumps(ROWS[0])}{rows}, {json.dumps(ROWS[1])}]"
    read = rows_of(put(tmp_path / "t.json", text))
    good = [ROWS[0], {"image": None}, {"a": [1, None], "b": "]"}, ROWS[1]]
    assert [row for row in read if isinstance(row, dict)] == good and len(read) == 8
    named = '{"a.jpg": {"caption": "x", "n": NaN}, "b.jpg": "y", "c.jpg": {"image": "d.jpg"}}'
    read = rows_of(put(tmp_path / "n.json", named))
    assert read[0] == {"image": "a.jpg", "caption": "x", "n": None}
    assert read[1:] == [{"image": "b.jpg", "caption": "y"}, {"image": "d.jpg"}]


@pytest.mark.parametrize(
    "text", ["", "{", "[1", "[1}", "[1,]", "[1 2]", '{"a" 1}', "{1: 2}", "[1]]"]
)
def test_a_json_table_that_is_none_is_named(tmp_path, text):
    with pytest.raises(WorkError, match="not JSON, or no table"):
        rows_of(put(tmp_path / "t.json", text + " "))


def test_lone_surrogates_are_mended_wherever_they_stand(tmp_path):
    lone = '{"image": "0.jpg", "caption": "a \\ud83d", "sku": "\\udc00", "\\ud800": ["\\ud900"]}'
    lost = '{"image": "\\ud800.jpg", "caption": "x", "product": "\\ud800", "split": "\\ud800"}'
    both = "\n".join((lone, lost)) + "\n"
    # The split that is no word is asked for.
    outcome = hostile.prepare(shop(tmp_path / "shop", captions_jsonl=LINES + both), "--yes")
    assert outcome.code == 0 and " 4 samples" in outcome.text and len(outcome.reasons) == 1


def test_numbers_that_json_has_not_cost_a_cell(tmp_path):
    entries = [
        ("0.jpg", jpeg()),
        ("0.json", b'{"caption": "x", "price": 1e999, "\\ud800": "\\ud8"}'),
    ]
    entries += [("1.jpg", jpeg()), ("1.json", b'{"caption": "x", "price": 1e999, "s": "\\ud800"}')]
    (tmp_path / "shop").mkdir()
    tar_of(tmp_path / "shop" / "a.tar", entries)
    outcome = hostile.prepare(tmp_path / "shop")
    assert outcome.code == 0 and len(outcome.reasons) == 1 and "not JSON" in outcome.reasons[0]


# ---------------------------------------------------------------- parquet


def write_parquet(folder: Path, columns: dict, **options) -> Path:
    table = pyarrow.table({"image": [f"{n}.jpg" for n in range(3)], **columns})
    pyarrow.parquet.write_table(table, shop(folder) / "captions.parquet", **options)
    return folder


CAPTION = {"caption": ["a", "b", "c"]}


def test_parquet_values_without_a_type_of_python_leave_their_cell_empty(tmp_path):
    stamps = pyarrow.array([1, 2**62, -(2**62)], pyarrow.timestamp("us"))
    days = pyarrow.array([1, 2**31 - 1, -(2**31)], pyarrow.date32())
    fine = pyarrow.array([1, 123_456_789_123_456_789, None], pyarrow.timestamp("ns"))
    nested = pyarrow.array([[("k", 1)]] * 3, pyarrow.map_(pyarrow.string(), pyarrow.duration("ns")))
    broken = pyarrow.array([b"a", b"\xff", b"c"]).view(pyarrow.string())
    columns = {"stamp": stamps, "day": days, "fine": fine, "nested": nested, "broken": broken}
    assert reasons_of(write_parquet(tmp_path / "shop", CAPTION | columns)) == []


@pytest.mark.parametrize("dictionary", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_parquet_that_grows_to_gigabytes_is_refused(tmp_path, dictionary):
    schema = pyarrow.schema([(name, pyarrow.string()) for name in ("image", "caption", "note")])
    note = pyarrow.array(["x" * 40_000_000])
    rows = pyarrow.table({"image": ["0.jpg"], "caption": ["a"], "note": note}, schema=schema)
    file = shop(tmp_path / "shop") / "captions.parquet"
    with pyarrow.parquet.ParquetWriter(
        file, schema, compression="zstd", use_dictionary=dictionary
    ) as writer:
        writer.write_table(pyarrow.table(ROWS_TABLE, schema=schema))
        writer.write_table(pyarrow.concat_tables([rows] * 40))
    assert file.stat().st_size < 1 << 20
    reasons = reasons_of(tmp_path / "shop")
    assert len(reasons) == 40 and all("prepare.limits" in reason for reason in reasons)


ROWS_TABLE = {
    "image": [row["image"] for row in ROWS],
    "caption": [row["caption"] for row in ROWS],
    "note": ["", "", ""],
}


def test_a_damaged_row_group_costs_its_rows(tmp_path):
    folder = write_parquet(tmp_path / "shop", CAPTION, row_group_size=1)
    file = folder / "captions.parquet"
    metadata = pyarrow.parquet.ParquetFile(file).metadata
    start = metadata.row_group(1).column(0).data_page_offset
    data = bytearray(file.read_bytes())
    data[start : start + 4] = b"\xff" * 4
    file.write_bytes(data)
    rows = rows_of(file)
    assert [isinstance(row, Reason) for row in rows] == [False, True, False]


# ---------------------------------------------------------------- tars and texts


def pairs(count: int = 3) -> list[tuple[str, bytes]]:
    return [
        member
        for n in range(count)
        for member in ((f"{n}.jpg", encoded(photo(n))), (f"{n}.txt", b"thing"))
    ]


@pytest.mark.parametrize("name", ["9.txt", "9.json", "9.caption"])
def test_a_text_of_200_megabytes_in_a_tar_costs_its_sample(tmp_path, name):
    (tmp_path / "shop").mkdir()
    entries = [*pairs(), ("9.jpg", jpeg()), (name, b"x" * (200 << 20))]
    tar_of(tmp_path / "shop" / "a.tar", entries)
    outcome = hostile.prepare(tmp_path / "shop", "--set", "prepare.caption=null")
    hostile.assert_within_bounds(outcome)
    assert "larger than 1,048,576 bytes" in outcome.reasons[0] and outcome.seconds < 60


def test_a_packed_tar_that_grows_without_end_costs_its_rest(tmp_path):
    file = put(tmp_path / "shop" / "a.tar.gz", b"x")
    with gzip.open(file, "wb", compresslevel=1) as stream:
        for name, data in [*pairs(), *((f"b{n}.jpg", bytes(200 << 20)) for n in range(6))]:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            stream.write(info.tobuf() + data + bytes(-len(data) % 512))
    outcome = hostile.prepare(tmp_path / "shop", "--set", "prepare.limits.inflation=50")
    hostile.assert_within_bounds(outcome)
    assert any("prepare.limits.inflation" in reason for reason in outcome.reasons)


def test_members_without_end_of_one_sample_are_refused(tmp_path):
    members = [(f"9.{n}.txt", b"x") for n in range(500)]
    (tmp_path / "shop").mkdir()
    tar_of(tmp_path / "shop" / "a.tar", [*pairs(), *members])
    outcome = hostile.prepare(tmp_path / "shop")
    assert sum("too many members" in reason for reason in outcome.reasons) == 400


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x" * (2 << 20), "prepare.limits.text_bytes"),
        ("x" * 900_000, "longer than 20,000 characters"),
        (
            "\n".join(f"A hat with {n} red bands." for n in range(2000)),
            "prepare.limits.captions",
        ),
    ],
)
def test_texts_beside_images_are_bounded(tmp_path, text, words):
    (reason,) = reasons_of(shop(tmp_path / "shop", x_jpg=jpeg(), x_txt=text))
    assert words in reason


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_text_costs_its_row(tmp_path):
    catalogue = shop(tmp_path / "shop", x_jpg=jpeg(), x_txt="x")
    (catalogue / "x.txt").chmod(0)
    assert reasons_of(catalogue) == ["x.txt cannot be read: Permission denied"]


# ---------------------------------------------------------------- folders, and many images


def test_folders_a_thousand_deep_are_read_to_their_end(tmp_path):
    catalogue = shop(tmp_path / "shop")
    folder = os.open(catalogue, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("up", dir_fd=folder)
        inner = os.open("up", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    try:
        file = os.open("x.jpg", os.O_WRONLY | os.O_CREAT, dir_fd=folder)
        os.write(file, jpeg())
        os.close(file)
        outcome = hostile.prepare(catalogue)
        assert outcome.code == 0 and " 4 samples" in outcome.text
    finally:
        os.close(folder)
        os.system(f"rm -rf '{catalogue}'")


def test_a_path_too_long_for_the_system_costs_its_folder(tmp_path):
    catalogue = shop(tmp_path / "shop")
    folder = os.open(catalogue, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=folder)
        inner = os.open("d" * 250, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.close(folder)
    (reason,) = reasons_of(catalogue)
    assert "nobody knows how many images" in reason


def test_thousands_of_soft_images_are_compared_in_seconds():
    """Low frequencies only, so that they share most of a hash, in every colour."""
    noise = np.random.default_rng(0)
    bits = np.zeros((6000, 256), np.uint8)
    bits[:, :50] = noise.integers(0, 2, (6000, 50))
    bits[:1500] = bits[0]
    colours = noise.integers(0, 256, (6000, 48), dtype=np.uint8)
    hashes = np.packbits(bits, axis=1)
    # Before, this took minutes.
    with hostile.seconds(30):
        pairs = near_duplicates.near_pairs(hashes, colours, np.zeros(6000, bool), 10)
    # The colours of no two are alike.
    assert pairs == []


def test_images_smaller_than_their_hash_are_no_near_duplicates():
    flat = [fingerprint(photo(0, (side, side))).flat for side in (15, 16)]
    assert flat == [True, False]


@pytest.mark.slow
def test_fifty_thousand_tiny_images(tmp_path):
    noise = np.random.default_rng(0)
    for n in range(50_000):
        data = io.BytesIO()
        Image.fromarray(noise.integers(0, 256, (2, 2, 3), dtype=np.uint8)).save(data, "PNG")
        put(tmp_path / "shop" / "class" / f"{n}.png", data.getvalue())
    small = ("--set", "prepare.min_side=1")
    outcome = hostile.prepare(tmp_path / "shop", *small, limit=600)
    assert outcome.code == 0 and outcome.resident < hostile.RESIDENT
