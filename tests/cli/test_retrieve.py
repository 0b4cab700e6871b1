"""`unidiff index` and `unidiff retrieve`."""

import csv
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from tests.support.cli import UNIDIFF
from tests.support.projects import copy_project
from unidiff_cli.cli import console
from unidiff_cli.project.folders import PREVIOUS_INDEX
from unidiff_cli.project.receipt import Receipt, close


def test_json_is_a_list_of_hits_and_nothing_else(exported, catalogue):
    query = next((catalogue / "images").iterdir())
    options = ("-k", "5", "--json")
    command = [UNIDIFF, "-C", exported.root, "retrieve", query, "red dress", *options]
    done = subprocess.run(map(str, command), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    hits = json.loads(done.stdout)
    assert [hit["rank"] for hit in hits] == [1, 2, 3, 4, 5]
    keys = {"rank", "score", "id", "caption", "path", "attributes", "views"}
    assert all(set(hit) == keys for hit in hits)
    assert Path(hits[0]["path"]).is_file() and hits[0]["attributes"]["color"]
    scores = [hit["score"] for hit in hits]
    assert scores == sorted(scores, reverse=True) and scores[0] <= 1


def test_it_prints_a_table_and_writes_a_sheet(unidiff, exported, tmp_path):
    sheet = tmp_path / "sheet.png"
    options = ("-k", "3", "--sheet", sheet)
    code, out, _ = unidiff("-C", exported.root, "retrieve", "red dress", *options)
    assert code == 0 and str(sheet) in out and Image.open(sheet).width > 0
    header = out.splitlines()[1]
    assert all(column in header for column in ("rank", "score", "caption", "path"))
    assert len([line for line in out.splitlines() if ".png" in line and "│" in line]) == 3


def test_a_hit_shows_its_file_in_80_columns(unidiff, exported, monkeypatch):
    options = {"width": 80, "soft_wrap": True, "color_system": None, **console.PLAIN}
    monkeypatch.setattr(console, "out", Console(force_terminal=True, **options))
    code, out, _ = unidiff(
        "-C", exported.root, "retrieve", "red dress", "-k", "60", "--group-by", "none"
    )
    names = re.findall(r"/(p\d{3}-\d\.png) *│", out)
    assert code == 0 and len(set(names)) == 60 and max(map(len, out.splitlines())) <= 80
    code, out, _ = unidiff("-C", exported.root, "status")
    assert code == 0 and "exports/001-fashion" in out and "shards" in out


@pytest.mark.parametrize(
    "text", ["a red dress " * 60, "black/white", "crème 赤い 👗", "[b] :dress:"]
)
def test_a_text_of_any_kind_is_answered(unidiff, exported, text):
    code, out, err = unidiff("-C", exported.root, "retrieve", text, "-k", "2", "--json")
    assert code == 0 and len(json.loads(out)) == 2, err
    assert ("--image" in err) is (text == "black/white")


def test_a_text_and_an_image_may_be_said_by_name(
    unidiff, exported, tmp_path, monkeypatch, catalogue
):
    monkeypatch.chdir(tmp_path)
    command = ("-C", exported.root, "retrieve", "--json", "-k", "3")
    shutil.copy(catalogue / "images" / "p007-1.png", "dress")
    by_image = json.loads(unidiff(*command, "dress")[1])
    assert by_image[0]["score"] == pytest.approx(1, abs=1e-3)
    assert json.loads(unidiff(*command, "--image", "dress")[1]) == by_image
    by_text = json.loads(unidiff(*command, "--text", "dress")[1])
    assert by_text != by_image and json.loads(unidiff(*command, "--text", "dress.jpg")[1])
    both = json.loads(unidiff(*command, "--image", "dress", "--text", "dress")[1])
    assert both not in (by_text, by_image)


def test_a_query_of_parts_with_a_filter_as_typed(unidiff, exported, catalogue):
    command = ("-C", exported.root, "retrieve", "dress", "--json", "-k", "9", "--group-by", "none")
    image = catalogue / "images" / "p007-1.png"
    options = ("--plus", f"{image}^0.5", "--minus", "blue", "--where", "color = 'red'")
    code, out, err = unidiff(*command, *options)
    assert code == 0, err
    assert {hit["attributes"]["color"] for hit in json.loads(out)} == {"red"}
    assert json.loads(unidiff(*command, "--plus", "in red")[1]) != json.loads(unidiff(*command)[1])
    for wrong, says in (
        (("--where", "colr = 'red'"), "Did you mean 'color'"),
        (("--where", "color ="), "is not complete"),
        (("--plus", "none.jpg"), "There is no image none.jpg"),
        (("--plus", "^2"), "part of the query is empty"),
        (("--group-by", "colr"), "Did you mean 'color'"),
    ):
        code, out, err = unidiff(*command, *wrong)
        assert code == 2 and out == "" and says in err, err
    code, out, err = unidiff(*command, "--where", "color = 'pink with dots'")
    assert code == 0 and json.loads(out) == [] and "No image passes the filter" in err


def test_many_queries_of_a_file_are_answered_as_each_by_itself(
    unidiff, exported, catalogue, tmp_path
):
    image = catalogue / "images" / "p007-1.png"
    file = tmp_path / "queries.txt"
    file.write_text(f"red dress\n\n{image}\nblue hat\nred dress\n", encoding="utf-8")
    command = ("-C", exported.root, "retrieve", "-k", "4")
    code, out, err = unidiff(*command, "--batch", file, "--json")
    assert code == 0, err
    answers = json.loads(out)
    assert [each["query"] for each in answers] == ["red dress", str(image), "blue hat"]
    for each in answers:
        alone = json.loads(unidiff(*command, each["query"], "--json")[1])
        assert [hit["id"] for hit in alone] == [hit["id"] for hit in each["hits"]]
    code, out, _ = unidiff(*command, "--batch", file, "--csv")
    rows = list(csv.DictReader(out.splitlines()))
    assert code == 0 and len(rows) == 12
    wanted = [(each["query"], hit["id"]) for each in answers for hit in each["hits"]]
    assert [(row["query"], row["id"]) for row in rows] == wanted
    assert Path(rows[0]["path"]).is_file() and rows[0]["rank"] == "1"
    code, out, _ = unidiff(*command, "--batch", file)
    assert code == 0 and "blue hat" in out


def test_a_batch_that_cannot_be_read_is_refused(unidiff, exported, tmp_path):
    command = ("-C", exported.root, "retrieve")
    (tmp_path / "empty").write_text("\n \n")
    (tmp_path / "odd").write_bytes(b"\xff\xfe\x00r")
    (tmp_path / "missing-image").write_text("red dress\nnone.jpg\n")
    for arguments, says in (
        (("--batch", tmp_path / "empty"), "holds no query"),
        (("--batch", tmp_path / "odd"), "it is no UTF-8 text"),
        (("--batch", tmp_path / "none"), "No such file"),
        (("--batch", tmp_path / "missing-image"), "There is no image none.jpg"),
        (("--batch", tmp_path / "empty", "dress"), "A query and --batch were given"),
        (("dress", "--json", "--csv"), "--json and --csv were given"),
    ):
        code, out, err = unidiff(*command, *arguments)
        assert code == 2 and out == "" and says in err, err


def test_a_k_above_the_catalogue_gives_all_of_it(unidiff, exported):
    out = unidiff(
        "-C", exported.root, "retrieve", "dress", "-k", "999", "--json", "--group-by", "none"
    )[1]
    assert len(json.loads(out)) == 60


def test_an_index_that_is_up_to_date_is_left(unidiff, exported):
    code, _, err = unidiff("-C", exported.root, "index")
    assert code == 0 and "Nothing to do: index is up to date" in err


def test_force_indexes_again_with_progress(unidiff, exported):
    code, out, err = unidiff("-C", exported.root, "index", "--force")
    assert code == 0 and "indexing: 60 of 60" in err and "60 images" in out


def test_the_kind_of_index_and_its_recall_are_printed(unidiff, copied):
    code, out, err = unidiff("-C", copied.root, "index", "--force")
    assert code == 0 and "kind: flat" in out and "recall" not in out
    assert "The index is of the kind flat, exact, as always below" in err
    code, out, err = unidiff("-C", copied.root, "index", "--set", "index.kind=ivf")
    assert code == 0 and "kind: ivf" in out and "as index.kind says" in err
    assert re.search(r"clip, recall@10: \d\.\d{3} for images, \d\.\d{3} for captions", out)
    again = unidiff("-C", copied.root, "index", "--set", "index.kind=ivf")
    assert "Nothing to do" in again[2] and again[1] == out


def test_one_step_back_and_forth_as_typed(unidiff, copied):
    shutil.rmtree(copied.path(PREVIOUS_INDEX), ignore_errors=True)
    code, out, err = unidiff("-C", copied.root, "index", "--rollback")
    assert code == 1 and out == "" and "holds no index from before" in err
    shutil.copytree(copied.path("exports", "001-fashion"), copied.path("exports", "002-other"))
    copied.make_current("002-other")
    assert unidiff("-C", copied.root, "index")[0] == 0
    code, out, err = unidiff("-C", copied.root, "index", "--rollback")
    assert code == 0 and "60 images" in out and "kind: flat" in out
    assert "It is of 001-fashion. --rollback again undoes this." in err
    code, out, err = unidiff("-C", copied.root, "retrieve", "dress", "--json")
    assert code == 0 and json.loads(out) and "rolled back, so that export 001-fashion" in err
    assert "rolled back" in unidiff("-C", copied.root, "status")[1]
    assert unidiff("-C", copied.root, "verify")[0] == 0
    assert "It is of 002-other." in unidiff("-C", copied.root, "index", "--rollback")[2]


def test_an_encoder_that_the_export_has_not_is_refused(unidiff, exported):
    command = ("retrieve", "red dress", "--encoder", "diffdis")
    code, out, err = unidiff("-C", exported.root, *command)
    assert code == 2 and out == "" and "no image encoder 'diffdis'" in err and "clip." in err


def test_diffdis_answers_otherwise_than_clip(unidiff, project, catalogue):
    """A run, an export and an index with DiffDis layers, as typed."""
    options = ("-C", project.root)
    code, out, err = unidiff(*options, "train", "--recipe", "diffdis", "--set", "train.steps=1")
    assert code == 0 and "exports/001-diffdis" in out, err
    query = (*options, "retrieve", "red dress", "-k", "60", "--group-by", "none", "--json")
    clip, diffdis = (
        json.loads(unidiff(*query, "--encoder", name)[1]) for name in ("clip", "diffdis")
    )
    assert len(diffdis) == 60
    assert [hit["id"] for hit in clip] != [hit["id"] for hit in diffdis]
    image = catalogue / "images" / "p007-1.png"
    code, out, err = unidiff(*options, "retrieve", image, "--encoder", "diffdis", "--json")
    assert code == 0, err
    assert json.loads(out)[0]["score"] == pytest.approx(1, abs=1e-3), "it is its own nearest"


# ---------------------------------------------------------------- a stale index


@pytest.fixture
def copied(exported, tmp_path):
    return copy_project(exported, tmp_path)


def test_an_index_of_another_export_names_the_command(unidiff, copied):
    shutil.copytree(copied.path("exports", "001-fashion"), copied.path("exports", "002-other"))
    code, _, err = unidiff("-C", copied.root, "retrieve", "dress", "--export", "002-other")
    assert code == 1 and "Run: unidiff index --export 002-other" in err
    copied.make_current("002-other")
    code, _, err = unidiff("-C", copied.root, "retrieve", "dress")
    assert code == 1 and "001-fashion, not with 002-other" in err and "Run: unidiff index" in err


def test_an_index_of_another_unidiff_is_made_again_by_the_command_it_names(unidiff, copied):
    receipt = Receipt.read(copied.path("index"))
    del receipt.settings["schema"]
    (copied.path("index") / "items.arrow").unlink()
    close(copied.path("index"), receipt, 0)
    code, _, err = unidiff("-C", copied.root, "retrieve", "dress")
    assert code == 1 and "built by another unidiff.\nRun: unidiff index\n" in err
    assert unidiff("-C", copied.root, "index")[0] == 0
    assert unidiff("-C", copied.root, "retrieve", "dress")[0] == 0


def test_an_index_of_other_shards_names_the_command(unidiff, copied):
    shards = Receipt.read(copied.path("shards"))
    shards.seed += 1
    close(copied.path("shards"), shards, 0)
    code, _, err = unidiff("-C", copied.root, "retrieve", "dress", "--json")
    assert code == 1 and "stale: shards changed" in err and "Run: unidiff index" in err


def test_a_missing_index_names_the_command(unidiff, copied):
    shutil.rmtree(copied.path("index"))
    code, out, err = unidiff("-C", copied.root, "retrieve", "dress", "--json")
    assert code == 1 and out == "" and "index is not there" in err and "Run: unidiff index" in err


def test_words_of_captions_come_first_unless_they_are_turned_off(unidiff, exported):
    def products(text, *options):
        options = ("--text", text, "--json", "-k", "60", "--group-by", "none", *options)
        code, out, _ = unidiff("-C", exported.root, "retrieve", *options)
        assert code == 0
        return [hit["attributes"]["product"] for hit in json.loads(out)]

    last = products("dress")[-1]
    named = [product == last for product in products(last)]
    assert named[0] and named == sorted(named, reverse=True)
    plain = [product == last for product in products(last, "--no-words")]
    assert plain != sorted(plain, reverse=True) and sum(plain) == sum(named)
