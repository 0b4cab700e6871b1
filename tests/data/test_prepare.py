"""Prepare: a folder that is all or nothing, every row counted, and the same work done once."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.catalogue import contents, encoded, photo, put, write_photos
from tests.support.preparing import is_whole, run
from unidiff_cli.config.prepare import Prepare
from unidiff_cli.config.schema import Recipe
from unidiff_cli.data import executors, kept_images, shard_folder, summary
from unidiff_cli.data.prepare import plan, prepare
from unidiff_cli.data.shards import Shards
from unidiff_cli.errors import EnvironmentProblem, UsageError, WorkError
from unidiff_cli.project.folders import FOLDERS
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import Receipt


def quarantined(file: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.fixture
def shop(tmp_path) -> Path:
    """A catalogue of 60 photos."""
    return write_photos(tmp_path / "shop", 60)


def spoil(source: Path) -> dict[str, str]:
    """Damages 5 % of 60 images: their paths and the words their reasons hold."""
    images = source / "images"
    (images / "5.jpg").write_bytes((images / "5.jpg").read_bytes()[:-300])
    (images / "20.jpg").write_bytes(b"<!doctype html><title>404")
    (images / "40.jpg").unlink()
    return {
        "images/5.jpg": "truncated",
        "images/20.jpg": "a web page",
        "images/40.jpg": "no such file",
    }


# ---------------------------------------------------------------- what is written


def test_a_catalogue_becomes_shards(tmp_path):
    source = write_photos(tmp_path / "shop", 30, price=lambda n: n / 2)
    receipt, folder = run(tmp_path, source, shard_size=10)
    counts = receipt.counts
    assert (counts["rows"], counts["samples"], counts["bad"], counts["groups"]) == (30, 30, 0, 10)
    assert (counts["train"], counts["val"], counts["test"]) == (24, 3, 3)
    assert Receipt.read(folder) == receipt and receipt.seconds > 0
    names = [
        "index.arrow",
        "index.parquet",
        "quarantine.jsonl",
        "receipt.json",
        "report.html",
        "test-00000.tar",
    ]
    names += ["train-00000.tar", "train-00001.tar", "train-00002.tar", "val-00000.tar"]
    assert sorted(p.name for p in folder.iterdir()) == names
    assert is_whole(folder)


def test_every_sample_is_a_row_of_the_catalogue(tmp_path):
    source = write_photos(tmp_path / "shop", 30, price=lambda n: n / 2)
    opened = Shards.open(run(tmp_path, source)[1])
    assert opened.receipt.settings["catalogue"]["path"] == str(source)
    assert len(opened.rows()) == 30
    for row in opened.rows():
        n = int(row.path.removeprefix("images/").removesuffix(".jpg"))
        assert (row.key, row.captions) == (row.content[:20], (f"thing {n}",))
        assert opened.image_bytes(row) == (source / row.path).read_bytes()
        assert row.attributes == {"product": f"p{n // 3}", "price": n / 2}
        assert row.group == f"p{n // 3}"


def test_the_catalogue_is_not_touched(tmp_path, shop):
    before = contents(shop)
    run(tmp_path, shop)
    assert contents(shop) == before


def test_progress_is_told(tmp_path, shop):
    calls = []
    prepare(
        Project(tmp_path / "project"),
        Recipe(prepare=Prepare(workers=1)),
        shop,
        on_progress=lambda *call: calls.append(call),
    )
    assert calls[-1] == ("shards", 60, 60) and ("images", 60, 60) in calls


def test_a_plan_says_how_a_catalogue_would_be_read(shop):
    description, doubts, _ = plan(Recipe(), shop)
    assert description[0].startswith("captions.jsonl") and not doubts


def test_ids_that_are_used_twice_name_nothing(tmp_path):
    source = write_photos(tmp_path / "shop", 6, id=lambda n: "twice" if n < 2 else f"sku-{n}")
    rows = {row.path: row for row in Shards.open(run(tmp_path, source)[1]).rows()}
    first, _, third = (rows[f"images/{n}.jpg"] for n in range(3))
    assert (first.id, third.id) == (first.key, "sku-2")


def test_workers_change_nothing(tmp_path):
    source = write_photos(tmp_path / "shop", executors.FEW + 40)
    for n in (3, 50, 90):
        (source / f"images/{n}.jpg").write_bytes(b"<html>")
    alone, several = (
        run(tmp_path, source, project=f"p{n}", workers=n, shard_size=16)[1] for n in (1, 2)
    )
    for path in sorted(alone.iterdir()):
        if path.name != "receipt.json":
            assert path.read_bytes() == (several / path.name).read_bytes(), path.name
    assert Receipt.read(alone).hash == Receipt.read(several).hash


SCRIPT = """
print('once')
from unidiff_cli.project.project import Project
from unidiff_cli.config.prepare import Prepare
from unidiff_cli.config.schema import Recipe
from unidiff_cli.data.prepare import prepare
print(prepare(Project('p'), Recipe(prepare=Prepare(workers=2)), {source!r}).counts['samples'])
"""


def test_a_script_without_a_guard_runs_once(tmp_path):
    source = write_photos(tmp_path / "shop", executors.FEW + 8)
    script = put(tmp_path / "script.py", SCRIPT.format(source=str(source)))
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["once", str(executors.FEW + 8)], done.stderr


def test_preparing_tars_loads_no_torch(tmp_path, shop):
    """`import webdataset` would: 3 s that prepare does not need."""
    _, folder = run(tmp_path, shop)
    code = (
        "import sys\n"
        "from unidiff_cli.project.project import Project\n"
        "from unidiff_cli.config.schema import Recipe\n"
        "from unidiff_cli.data.prepare import prepare\n"
        f"prepare(Project('p'), Recipe(), {str(folder)!r})\n"
        "print(*sys.modules)"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    loaded = set(done.stdout.split())
    assert "unidiff_cli.data.readers.webdataset" in loaded and "torch" not in loaded, done.stderr


# ---------------------------------------------------------------- groups and splits


def with_copies(source: Path, count: int) -> Path:
    """Adds photos of other products again: with the same bytes, and smaller."""
    lines = (source / "captions.jsonl").read_text().splitlines()
    for n in range(count):
        whole = photo(n, (160, 120))
        put(source / f"images/{n}.jpg", encoded(whole))
        shutil.copy(source / f"images/{n}.jpg", source / f"images/copy{n}.jpg")
        put(source / f"images/small{n}.jpg", encoded(whole.resize((120, 90)), quality=85))
        for kind in ("copy", "small"):
            row = {"image": f"images/{kind}{n}.jpg", "caption": "x", "product": f"{kind}{n}"}
            lines.append(json.dumps(row))
    (source / "captions.jsonl").write_text("\n".join(lines))
    return source


def test_no_group_leaks_between_splits(tmp_path):
    source = with_copies(write_photos(tmp_path / "shop", 40), 10)
    receipt, folder = run(tmp_path, source)
    assert receipt.counts["duplicates"] == 10 and receipt.counts["near_duplicates"] == 10
    assert receipt.counts["groups_in_several_splits"] == 0
    split_of = {}
    for row in Shards.open(folder).rows():
        assert split_of.setdefault(row.group, row.split) == row.split
        assert split_of.setdefault(row.content, row.split) == row.split


def test_near_duplicates_are_not_joined_where_that_is_off(tmp_path):
    source = with_copies(write_photos(tmp_path / "shop", 40), 10)
    joined, _ = run(tmp_path, source)
    alone, _ = run(tmp_path, source, project="other", near_duplicates=0)
    assert alone.counts["near_duplicates"] == 0
    assert alone.counts["groups"] > joined.counts["groups"]


def test_mapped_splits_are_honoured_and_torn_groups_counted(tmp_path):
    source = write_photos(tmp_path / "shop", 30, split=lambda n: "test" if n % 10 == 0 else "train")
    with pytest.raises(UsageError) as caught:
        run(tmp_path, source)
    (problem,) = caught.value.problems
    assert problem.startswith("3 products have rows in several splits, such as p0.")
    receipt, folder = run(tmp_path, source, yes=True)
    rows = Shards.open(folder).rows()
    assert all((row.split == "test") == row.path.endswith("0.jpg") for row in rows)
    assert receipt.counts["groups_in_several_splits"] == 3
    # Nobody named a val, so it is taken from train.
    assert receipt.counts["val"] > 0
    receipt, _ = run(tmp_path, source, columns={"split": ""})
    assert receipt.counts["groups_in_several_splits"] == 0


def test_equal_images_in_several_splits_are_said(tmp_path):
    for n in range(12):
        split = "test" if n > 8 else "train"
        put(tmp_path / f"shop/{split}/{'dress' if n % 2 else 'hat'}/{n}.jpg", encoded(photo(n % 9)))
    receipt, _ = run(tmp_path, tmp_path / "shop")
    (warning,) = [w for w in receipt.figures["warnings"] if "several splits" in w]
    assert warning.startswith("3 groups have equal images in several splits")
    receipt, _ = run(tmp_path, tmp_path / "shop", columns={"split": ""})
    assert receipt.counts["groups_in_several_splits"] == 0


@pytest.mark.parametrize("there", [0, 4, 8])
def test_a_plan_refuses_what_names_images_that_are_not_there(tmp_path, there):
    """As prepare would, and without opening an image."""
    source = write_photos(tmp_path / "shop", 10)
    for n in range(there, 10):
        (source / f"images/{n}.jpg").unlink()
    recipe = Recipe(prepare=Prepare(columns={"image": "image"}))
    problem = plan(recipe, source).problem
    assert problem and f"{10 - there} of 10 rows are bad" in problem.fact
    assert "no such file" in problem.fact
    with pytest.raises(WorkError) as again:
        run(tmp_path, source)
    assert again.value.fact == problem.fact


def test_a_plan_refuses_the_wrong_column(tmp_path):
    source = write_photos(tmp_path / "shop", 10, sku=lambda n: f"S{n}")
    problem = plan(Recipe(prepare=Prepare(columns={"image": "sku"})), source).problem
    assert problem and "10 of 10 rows are bad" in problem.fact


# ---------------------------------------------------------------- bad rows


def test_bad_images_are_quarantined_and_the_work_goes_on(tmp_path, shop):
    spoiled = spoil(shop)
    receipt, folder = run(tmp_path, shop)
    assert (receipt.counts["bad"], receipt.counts["samples"], receipt.counts["rows"]) == (3, 57, 60)
    items = quarantined(folder / "quarantine.jsonl")
    assert [item["row"] for item in items] == [f"captions.jsonl:{n}" for n in (6, 21, 41)]
    assert all(spoiled[item["path"]] in item["reason"] for item in items)
    paths = {row.path for row in Shards.open(folder).rows()}
    assert paths == {f"images/{n}.jpg" for n in range(60)} - set(spoiled)


def test_too_many_bad_rows_fail_and_keep_the_old_shards_and_the_list(tmp_path, shop):
    _, folder = run(tmp_path, shop)
    before = contents(folder)
    spoil(shop)
    with pytest.raises(WorkError) as error:
        run(tmp_path, shop, max_bad=0.04)
    assert error.value.exit_code == 1
    assert "3 of 60 rows are bad (5.0%, allowed 4.0%)" in error.value.fact
    listed = tmp_path / "project" / "cache" / "prepare" / "quarantine.jsonl"
    assert str(listed) in error.value.action and len(quarantined(listed)) == 3
    assert contents(folder) == before


def test_the_list_of_a_failed_try_goes_with_the_next_success(tmp_path, shop):
    spoil(shop)
    with pytest.raises(WorkError):
        run(tmp_path, shop, max_bad=0.04)
    _, folder = run(tmp_path, shop)
    assert not (tmp_path / "project" / "cache" / "prepare" / "quarantine.jsonl").exists()
    assert Receipt.read(folder).counts["bad"] == 3
    left = [p for p in (tmp_path / "project").iterdir() if p.name.endswith((".new", ".old"))]
    assert not left


def test_few_captions_is_a_misreading(tmp_path):
    for n in range(10):
        folder = "dresses" if n < 8 else "images"
        put(tmp_path / "shop" / folder / f"{n}.jpg", encoded(photo(n)))
    with pytest.raises(WorkError, match="Only 8 of 10 images have a caption.*--max-bad 20%"):
        run(tmp_path, tmp_path / "shop", max_bad=0.19)
    receipt, _ = run(tmp_path, tmp_path / "shop", max_bad=0.2)
    assert (receipt.counts["samples"], receipt.counts["bad"]) == (8, 2)


def test_a_catalogue_that_is_not_there_is_a_wrong_command(tmp_path):
    with pytest.raises(UsageError, match="no catalogue") as error:
        run(tmp_path, tmp_path / "missing")
    assert error.value.exit_code == 2


def test_a_catalogue_without_images_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(WorkError, match="holds no images") as error:
        run(tmp_path, tmp_path / "empty")
    assert error.value.exit_code == 1 and not (tmp_path / "project").exists()


def test_a_filter_that_keeps_nothing_is_named(tmp_path):
    source = write_photos(tmp_path / "shop", 3, view=lambda n: "back")
    with pytest.raises(WorkError, match="None of the 3 rows .* has view=main"):
        run(tmp_path, source, where={"view": "main"})


# ---------------------------------------------------------------- again, beside, and interrupted


def test_the_same_work_is_not_done_twice(tmp_path, shop):
    first, folder = run(tmp_path, shop)
    before = contents(folder)
    again, _ = run(tmp_path, shop, workers=2)
    assert again == first and contents(folder) == before


def test_forced_work_is_the_same(tmp_path, shop):
    first, folder = run(tmp_path, shop)
    before = contents(folder)
    forced, _ = run(tmp_path, shop, force=True)
    assert forced.hash == first.hash and contents(folder) != before


def test_other_options_and_other_images_are_other_work(tmp_path, shop):
    first, _ = run(tmp_path, shop)
    scaled, _ = run(tmp_path, shop, max_side=32)
    assert scaled.hash != first.hash and scaled.counts["resized"] == 60
    (shop / "images/0.jpg").write_bytes(encoded(photo(99)))
    assert run(tmp_path, shop, max_side=32)[0].hash != scaled.hash


def test_a_missing_file_of_the_shards_is_made_again(tmp_path, shop):
    _, folder = run(tmp_path, shop)
    (folder / "train-00000.tar").unlink()
    run(tmp_path, shop)
    assert is_whole(folder)


def test_the_shards_of_a_project_are_no_catalogue_of_its_own(tmp_path, shop):
    _, folder = run(tmp_path, shop)
    with pytest.raises(UsageError, match="which prepare replaces"):
        run(tmp_path, folder)


def test_our_own_shards_are_a_catalogue(tmp_path, shop):
    _, folder = run(tmp_path, shop)
    other, copy = run(tmp_path, folder, project="other")
    assert other.counts["samples"] == 60
    first, second = (
        sorted((r.captions, r.group, r.split, r.content) for r in Shards.open(f).rows())
        for f in (folder, copy)
    )
    assert first == second


def photos_of(source: Path, count: int = 4) -> Path:
    for n in range(count):
        put(source / "dresses" / f"{n}.jpg", encoded(photo(n)))
    return source


def test_a_project_inside_the_catalogue_is_no_part_of_it(tmp_path):
    source = photos_of(tmp_path / "shop")
    before = contents(source)
    first, _ = run(source, source, project="unidiff-project")
    again, _ = run(source, source, project="unidiff-project")
    assert again.finished == first.finished and first.counts["rows"] == 4
    ours = "unidiff-project/"
    assert {k: v for k, v in contents(source).items() if not k.startswith(ours)} == before


def test_a_catalogue_that_is_its_own_project_does_not_read_what_we_wrote(tmp_path):
    """With the project in the catalogue's folder, whatever the folder's stages wrote."""
    source = photos_of(tmp_path / "shop")
    first, _ = run(tmp_path, source, project="shop")
    project = Project(source)
    for name, spec in FOLDERS.items():
        if name == "shards":
            continue
        if spec.receipt and not spec.several:
            with project.writing(name, receipt=Receipt("stage", {})) as fresh:
                put(fresh / "samples" / "base-000.png", encoded(photo(90), "PNG"))
        else:
            put(project.folder(name) / "001" / "0.png", encoded(photo(90), "PNG"))
    again, folder = run(tmp_path, source, project="shop")
    assert again == first
    forced, _ = run(tmp_path, source, project="shop", force=True)
    assert forced.counts["rows"] == 4
    assert sum(forced.figures["notes"].values()) == len(FOLDERS)
    assert {row.path.split("/")[0] for row in Shards.open(folder).rows()} == {"dresses"}


def test_a_full_disk_is_refused_before_anything_is_written(tmp_path, shop, monkeypatch):
    _, folder = run(tmp_path, shop)
    before = contents(folder)
    usage = shutil.disk_usage(tmp_path)._replace(free=1 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(EnvironmentProblem, match="1 MiB free, and prepare needs") as error:
        run(tmp_path, shop, force=True)
    assert error.value.exit_code == 3 and contents(folder) == before


@pytest.mark.parametrize("method", ["put", "read"])
def test_a_disk_that_fills_up_is_a_sentence_and_leaves_the_shards(
    tmp_path, shop, monkeypatch, method
):
    _, folder = run(tmp_path, shop)
    before = contents(folder)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(kept_images.KeptImages, method, full)
    with pytest.raises(
        EnvironmentProblem, match=r"No space left on device\..*Prepare needs up to 64"
    ):
        run(tmp_path, shop, force=True)
    assert contents(folder) == before


def test_an_interrupt_leaves_the_shards(tmp_path, shop, monkeypatch):
    _, folder = run(tmp_path, shop)
    before = contents(folder)

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(shard_folder, "write_index", stop)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, shop, force=True)
    assert contents(folder) == before and not list((tmp_path / "project").glob(".*.new"))


@pytest.mark.parametrize(
    "others, taken", [("train", "val, test"), ("test", "val"), ("val", "test"), (None, "")]
)
def test_splits_that_are_taken_from_train_are_said(tmp_path, others, taken):
    """The first row is in train, as far as rows say anything."""
    shop = write_photos(
        tmp_path / "shop", 20, split=lambda n: "train" if others and not n else others
    )
    # One product is in both, which is asked for.
    receipt = prepare(Project(tmp_path / "p"), Recipe(), shop, yes=True)
    assert dict(summary.table(receipt)).get("taken from train by share", "") == taken
