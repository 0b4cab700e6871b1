"""The command line: what is typed, what is said and where, and the exit code; signals to a real process."""

import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.catalogue import write_catalogue
from tests.support.projects import copy_project
from unidiff_cli import Project
from unidiff_cli import __version__ as VERSION
from unidiff_cli.cli import console, program
from unidiff_cli.project import run_log
from unidiff_cli.project.receipt import Receipt, close

UNIDIFF = str(Path(sys.executable).parent / "unidiff")


@pytest.fixture
def unidiff(monkeypatch, capfd):
    """Runs the command in this process: (exit code, stdout, stderr)."""
    logger, before = logging.getLogger("unidiff"), signal.getsignal(signal.SIGTERM)
    handlers, propagate, level = logger.handlers, logger.propagate, logger.level
    monkeypatch.setattr(program, "QUIET", {})
    monkeypatch.delenv("UNIDIFF_PROJECT", raising=False)

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["unidiff", *map(str, args)])
        capfd.readouterr()
        with warnings.catch_warnings(), pytest.raises(SystemExit) as ended:
            program.main()
        said = capfd.readouterr()
        return ended.value.code, said.out, said.err

    yield run
    signal.signal(signal.SIGTERM, before)
    logger.handlers, logger.propagate = handlers, propagate
    logger.setLevel(level)
    console.hushed = False


def settle(project, base):
    """The project's own file names the tiny base, so that commands are typed as a person types them."""
    project.file.write_text(
        f"schema_version: 2\nrecipe: fashion\nbase: {base}\nprepare: {{near_duplicates: 0, workers: 1}}\n"
        "evaluate: {metrics: [recall]}\n"
    )
    return project


@pytest.fixture
def here(tmp_path, monkeypatch, tiny_base):
    """An empty place to work in, with an unsettled project file, a foreign image and a text."""
    monkeypatch.chdir(tmp_path)
    settle_at = Project(tmp_path / "project")
    settle_at.root.mkdir()
    settle(settle_at, tiny_base)
    Image.new("RGB", (8, 8)).save("foreign.png")
    Path("note.txt").write_text("hello")
    Path("empty").mkdir()
    return tmp_path


@pytest.fixture
def project(tmp_path, prepared, tiny_base):
    return settle(copy_project(prepared, tmp_path), tiny_base)


@pytest.fixture(scope="module")
def finished_here(tmp_path_factory, finished, tiny_base):
    return settle(copy_project(finished, tmp_path_factory.mktemp("cli")), tiny_base)


# ---------------------------------------------------------------- what is refused

WRONG = [
    ("nope", 2, "No such command 'nope'"),
    ("--nope", 2, "No such option"),
    ("prepare", 2, "Missing argument"),
    ("prepare missing", 2, "missing"),
    ("prepare empty", 1, "holds no images"),
    ("prepare foreign.png --recipe fashon", 2, "no recipe named 'fashon'. Did you mean 'fashion'?"),
    ("prepare empty --recipe no/such.yaml", 2, "no recipe file no/such.yaml"),
    (
        "prepare empty --set prepare.capton=x",
        2,
        "--set: no key in prepare named 'capton'. Did you mean 'caption'?",
    ),
    ("prepare empty --set train.steps", 2, "not of the form key=value"),
    ("prepare empty --set train.steps=-5", 2, "train.steps is -5"),
    ("train --set base=nanoo", 2, "no base 'nanoo'"),
    ("train --set base={difusion:x}", 2, "no key in base named"),
    ("prepare empty --max-bad lots", 2, "Write 5% or 0.05"),
    ("train", 1, "Run: unidiff prepare CATALOG"),
    ("train --dry-run", 1, "Run: unidiff prepare CATALOG"),
    ("train --resume", 1, "Run: unidiff"),
    ("train --resume --set train.steps=5", 2, "its own recipe"),
    ("train --resume --recipe joint", 2, "its own recipe"),
    ("train --run 001-x", 2, "Add --resume"),
    ("export", 1, "Run: unidiff train"),
    ("export 009-x", 2, "no run '009-x'"),
    ("export --alpha 1.5", 2, "--alpha"),
    ("export --alpha nan", 2, "--alpha"),
    ("index", 1, "Run: unidiff prepare CATALOG"),
    ("evaluate", 1, "Run: unidiff prepare CATALOG"),
    ("generate dress", 1, "Run: unidiff train"),
    ("generate", 2, "takes one of"),
    ("generate dress --prompts note.txt", 2, "takes one of"),
    ("generate dress --from foreign.png", 2, "takes one of"),
    ("generate --from foreign.png", 2, "does not say how it was drawn"),
    ("generate --from note.txt", 2, "does not say how it was drawn"),
    ("generate --from missing.png", 2, "no image missing.png"),
    ("generate --prompts missing.txt", 2, "missing.txt cannot be read"),
    ("generate --prompts foreign.png", 2, "foreign.png cannot be read as text"),
    ("generate dress -n 0", 2, "-n"),
    ("generate dress --guidance nan", 2, "guidance"),
    ("generate dress --seed -1", 2, "seed"),
    ("generate dress --seed 99999999999999999999", 2, "seed"),
    ("generate dress --steps x", 2, "steps"),
    ("retrieve", 2, "Missing argument"),
    ("retrieve query.jpg", 2, "There is no image query.jpg"),
    ("retrieve photos/query", 2, "There is no image photos/query"),
    ("retrieve foreign.png foreign.png", 2, "2 images"),
    ("retrieve dress", 1, "Run: unidiff prepare CATALOG"),
    ("retrieve dress --sheet out.txt", 2, "does not end in"),
    ("retrieve dress --sheet no/such/out.png", 2, "there is no folder"),
    ("retrieve dress -k 0", 2, "-k"),
    ("recipes", 2, "List, show, copy"),
    ("recipes show fashon", 2, "Did you mean 'fashion'?"),
    ("recipes validate missing.yaml", 2, "no recipe file missing.yaml"),
    ("recipes copy fashion note.txt", 2, "note.txt is there already"),
    ("sample-catalog project", 2, "project"),
    ("sample-catalog shop --images 5", 2, "300"),
]


@pytest.mark.parametrize(("line", "code", "text"), WRONG, ids=[line for line, _, _ in WRONG])
def test_what_is_refused(unidiff, here, line, code, text):
    got, out, err = unidiff("-C", "project", *line.split())
    assert (got, out) == (code, ""), err
    assert " ".join(text.split()) in " ".join(err.split())
    assert "Traceback" not in err
    assert {p.name for p in Path("project").iterdir()} <= {
        "unidiff.yaml",
        ".gitignore",
        ".lock",
    }  # nothing was made


def test_no_arguments_is_the_help(unidiff, here):
    code, out, err = unidiff()
    assert code == 2 and "Commands:" in out + err


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help(unidiff, here, flag):
    code, out, err = unidiff(flag)
    assert code == 0 and "Commands:" in out and err == ""
    assert "  --resume " in unidiff("train", flag)[1]


def test_version(unidiff, here):
    assert unidiff("--version") == (0, f"{VERSION}\n", "")


def test_an_unknown_key_is_named_with_its_file_and_line(unidiff, here):
    Path("project/unidiff.yaml").write_text(
        "schema_version: 2\nrecipe: fashion\ntrain:\n  stepz: 5\n  emma: 0.9\n"
    )
    code, out, err = unidiff("-C", "project", "train")
    assert code == 2 and out == ""
    assert "unidiff.yaml:4: no key in train named 'stepz'. Did you mean 'steps'?" in err
    assert "unidiff.yaml:5: no key in train named 'emma'. Did you mean 'ema'?" in err


def test_debug_shows_where_and_keeps_the_exit_code(unidiff, here):
    code, _, err = unidiff("--debug", "-C", "project", "generate", "dress")
    assert code == 1 and "Traceback" in err and "NotReady" in err and "Run: unidiff train" in err


def test_a_project_that_cannot_be_made_is_the_environments(unidiff, here, tiny_base, catalogue):
    code, _, err = unidiff("-C", "note.txt", "prepare", catalogue, "--set", f"base={tiny_base}")
    assert code == 3 and "note.txt" in err and "Traceback" not in err


def test_errors_of_the_system_are_sentences(unidiff, here, monkeypatch):
    def refuse(*args):
        raise problem

    monkeypatch.setattr("unidiff_cli.project.status.folders", refuse)
    problem = PermissionError(13, "Permission denied", "/somewhere")
    code, _, err = unidiff("status")
    assert code == 3 and "/somewhere: Permission denied." in err and "Traceback" not in err
    problem = OSError(28, "No space left on device", "/somewhere")
    code, _, err = unidiff("status")
    assert code == 3 and "The disk is full. /somewhere" in err
    problem = KeyboardInterrupt()
    code, _, err = unidiff("status")
    assert code == 130 and "Interrupted" in err


# ---------------------------------------------------------------- the project and the recipe


def test_the_project_is_named_three_ways(unidiff, project, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    assert unidiff("-C", project.root, "status")[1].splitlines()[0] == str(project.root)
    monkeypatch.setenv("UNIDIFF_PROJECT", str(project.root))
    assert json.loads(unidiff("status", "--json")[1])["project"] == str(project.root)
    assert unidiff("-C", tmp_path, "status")[1].splitlines()[0] == str(tmp_path)  # -C wins
    monkeypatch.delenv("UNIDIFF_PROJECT")
    monkeypatch.chdir(project.root / "shards")
    assert unidiff("status")[1].splitlines()[0] == str(project.root)


def test_status_says_what_comes_next(unidiff, project, finished_here):
    code, out, err = unidiff("-C", project.root, "status", "--json")
    found = json.loads(out)
    assert code == 0 and err == "" and found["next"] == "unidiff train"
    assert {r["room"]: r["state"] for r in found["rooms"]}["shards"] == "ready"
    code, out, _ = unidiff("-C", finished_here.root, "status")
    assert (
        code == 0
        and "001-fashion" in out
        and "(current)" in out
        and "Next: unidiff evaluate" in out
    )


def test_status_shows_a_comparison_folds_and_an_ablation_where_they_are(unidiff, project):
    def shown():
        found = json.loads(unidiff("-C", project.root, "status", "--json")[1])
        return {r["room"]: (r["state"], r["holds"]) for r in found["rooms"]}, found["next"]

    rooms = ("comparison", "folds", "ablation")
    assert not set(rooms) & shown()[0].keys()
    shards = Receipt.read(project.path("shards"))
    for room in rooms:
        project.path(room, "cells").mkdir(parents=True)  # as ablate leaves it when it is stopped
    assert {shown()[0][room][0] for room in rooms} == {"unfinished"}
    for room in rooms:
        made = Receipt(room, {}, {"shards": shards.hash}, counts={"rows": 60, "folds": 0})
        close(project.path(room), made, 0)
    found, then = shown()
    assert [found[room] for room in rooms] == [("ready", "60 rows")] * 3 and list(found)[
        -3:
    ] == list(rooms)
    shards.seed += 1
    close(project.path("shards"), shards, 0)  # as if prepared otherwise
    assert [shown()[0][room] for room in rooms] == [("stale", "shards changed since")] * 3
    assert then == shown()[1] == "unidiff train", "nobody has to make them"


def test_train_dry_run_writes_nothing_and_shows_the_recipe_in_force(unidiff, project, monkeypatch):
    before = sorted(p for p in project.root.rglob("*"))
    monkeypatch.setenv("UNIDIFF_TRAIN__WARMUP", "1")
    code, out, err = unidiff(
        "-C", project.root, "train", "--dry-run", "--set", "train.steps=7", "--recipe", "joint"
    )
    assert code == 0 and "steps: 7" in out and "warmup: 1" in out and "plan: run 001-joint" in out
    assert "consistency:" not in out and "recipe joint" in err
    assert sorted(p for p in project.root.rglob("*")) == before
    assert "recipe: fashion" in project.file.read_text()


def test_prepare_dry_run_writes_nothing(unidiff, here, catalogue):
    code, out, _ = unidiff(
        "-C", "new", "prepare", catalogue, "--dry-run", "--set", "prepare.max_side=64"
    )
    assert code == 0 and "max_side: 64" in out and "caption" in out and not Path("new").exists()


def test_recipes(unidiff, here, tiny_base):
    code, out, err = unidiff("recipes", "list")
    assert code == 0 and "fashion" in out and "sd-only" in out and err == ""
    assert {"name", "description"} == set(json.loads(unidiff("recipes", "list", "--json")[1])[0])
    shown = unidiff("recipes", "show", "fashion")[1]
    assert shown == Path(program.__file__).parents[1].joinpath("recipes/fashion.yaml").read_text()
    resolved = unidiff("recipes", "show", "fashion", "--resolved", "--set", f"base={tiny_base}")[1]
    assert "checkpoint_every: 3" in resolved and "image_size: 32" in resolved
    assert unidiff("recipes", "copy", "fashion", "mine.yaml")[:2] == (0, "mine.yaml\n")
    assert Path("mine.yaml").read_text() == shown
    code, out, _ = unidiff("recipes", "validate", "mine.yaml", "--set", f"base={tiny_base}")
    assert code == 0 and "mine: valid. Objectives: consistency, contrastive, denoise." in out
    Path("mine.yaml").write_text(shown.replace("denoise:", "denose:"))
    code, out, err = unidiff("recipes", "validate", "mine.yaml", "--set", f"base={tiny_base}")
    assert code == 2 and "mine.yaml:8: no objective named 'denose'. Did you mean 'denoise'?" in err
    assert json.loads(unidiff("recipes", "schema")[1])["properties"]["train"]


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("unidiff recipes show fa", ["fashion"]),
        ("unidiff train --recipe sd", ["sd-only"]),
        ("unidiff generate dress --export 0", ["001-fashion"]),
        ("unidiff export 0", ["001-fashion"]),
        ("unidiff re", ["retrieve", "recipes"]),
    ],
)
def test_completion_knows_recipes_runs_and_exports(finished_here, typed, offered):
    words = typed.split()
    env = {
        "_UNIDIFF_COMPLETE": "complete_bash",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(words) - 1),
    }
    done = subprocess.run(
        [UNIDIFF],
        env={**os.environ, **env},
        cwd=finished_here.root,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert sorted(done.stdout.split()) == sorted(offered) and done.stderr == ""


@pytest.mark.parametrize("embedded", [True, False])
def test_doctor(unidiff, here, monkeypatch, embedded):
    bases = {"nano": Path("x")} if embedded else {}
    monkeypatch.setattr("unidiff_cli.cli.doctor.embedded", lambda: bases)
    code, out, err = unidiff("-C", "project", "doctor", "--json")
    found = json.loads(out)
    assert code == (0 if embedded else 3) and err == ""
    assert {"versions", "device", "memory", "disk", "offline", "problems"} == set(found)
    assert bool(found["problems"]) is not embedded
    code, out, err = unidiff("-C", "project", "doctor")
    assert "torch" in out and err == "" and ("No embedded base" in out) is not embedded


# ---------------------------------------------------------------- catalogues


def test_a_table_without_captions_names_its_columns(unidiff, here):
    write_catalogue(here / "shop", products=4)
    table = here / "shop" / "catalog.csv"
    lines = [line.split(",") for line in table.read_text().splitlines()]
    table.write_text("".join(f"{row[0]},{row[2]},{row[3]}\n" for row in lines))
    code, out, err = unidiff("-C", "project", "prepare", "shop")
    assert code == 2 and all(name in err for name in ("caption", "image", "product", "color")), err


@pytest.fixture
def damaged(here):
    """60 images, of which 5 % are damaged: one cut short, one a text by another name, one of noise."""
    shop = write_catalogue(here / "shop")
    images = sorted((shop / "images").iterdir())
    assert len(images) == 60
    images[7].write_bytes(images[7].read_bytes()[:100])
    images[20].write_text("not an image at all")
    images[33].write_bytes(random.Random(0).randbytes(2000))
    return shop


def test_a_catalogue_with_damaged_images_goes_through_with_a_list(unidiff, here, damaged):
    code, out, err = unidiff("-C", "project", "prepare", "shop")
    assert code == 0, err
    assert "57 samples" in out and "3 bad" in out
    listed = [
        json.loads(line)
        for line in Path("project/shards/quarantine.jsonl").read_text().splitlines()
    ]
    assert {Path(item["path"]).name for item in listed} == {
        "p003-1.png",
        "p010-0.png",
        "p016-1.png",
    }
    assert all(item["reason"] and item["row"] for item in listed)


def test_more_damage_than_allowed_fails(unidiff, here, damaged):
    code, out, err = unidiff("-C", "project", "prepare", "shop", "--max-bad", "1%")
    assert code == 1 and "3 of 60" in err and "--max-bad" in err and out == ""
    assert not Path("project/shards").exists()


def test_quiet_and_the_two_streams(unidiff, here, catalogue):
    code, out, err = unidiff("-q", "-C", "project", "prepare", catalogue)
    assert code == 0 and "samples" in out and err == ""
    code, out, err = unidiff("-C", "project", "prepare", catalogue)  # there already
    assert code == 0 and "Nothing to do" in err and "samples" in out and "recipe fashion" in err
    code, out, err = unidiff("-C", "project", "prepare", catalogue, "--force", "--recipe", "joint")
    assert (
        code == 0
        and "images: 60 of 60" in err
        and "images: 60" not in out
        and "Next: unidiff train" in err
    )
    assert "recipe: joint" in Path("project/unidiff.yaml").read_text()  # kept


# ---------------------------------------------------------------- after the training


def test_train_again_is_a_no_op_that_says_so(unidiff, finished, tiny_base, recipe, tmp_path):
    from tests.support.projects import load_recipe

    project = copy_project(finished, tmp_path)
    project.file.write_text(
        load_recipe(tiny_base).yaml().replace("name: fashion\n", "recipe: fashion\n")
    )
    code, out, err = unidiff("-C", project.root, "train")
    assert code == 0 and "Nothing to do: run 001-fashion" in err and "001-fashion: 6 steps" in out
    assert project.runs() == ["001-fashion"]
    code, out, err = unidiff("-C", project.root, "index")
    assert code == 0 and "Nothing to do: index is up to date" in err


def test_retrieve_json_is_a_list_of_hits_and_nothing_else(finished_here, catalogue):
    query = next((catalogue / "images").iterdir())
    command = [
        UNIDIFF,
        "-C",
        str(finished_here.root),
        "retrieve",
        str(query),
        "red dress",
        "-k",
        "5",
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    hits = json.loads(done.stdout)
    assert [hit["rank"] for hit in hits] == [1, 2, 3, 4, 5]
    assert all(set(hit) == {"rank", "score", "id", "caption", "path", "attributes"} for hit in hits)
    assert (
        Path(hits[0]["path"]).is_file() and hits[0]["attributes"]["color"] and hits[0]["score"] <= 1
    )
    assert sorted((h["score"] for h in hits), reverse=True) == [h["score"] for h in hits]


def test_a_reader_that_leaves_early_is_no_error(finished_here):
    """`unidiff recipes schema | head -1`."""
    code = f"{UNIDIFF} recipes schema | head -c 1; {UNIDIFF} recipes list | head -c 1"
    done = subprocess.run(["bash", "-c", code], capture_output=True, timeout=60)
    assert done.stdout[:1] == b"{" and done.stderr == b""


def test_retrieve_prints_a_table_and_draws_a_sheet(unidiff, finished_here, catalogue, tmp_path):
    sheet = tmp_path / "sheet.png"
    code, out, err = unidiff(
        "-C", finished_here.root, "retrieve", "red dress", "-k", "3", "--sheet", sheet
    )
    assert code == 0 and str(sheet) in out and Image.open(sheet).size[0] > 0
    header, rows = (
        out.splitlines()[1],
        [line for line in out.splitlines() if ".png" in line and "│" in line],
    )
    assert [word for word in ("rank", "score", "caption", "path") if word in header] and len(
        rows
    ) == 3
    assert (
        unidiff("-C", finished_here.root, "retrieve", "dress", "-k", "999")[0] == 0
    )  # all of them


def test_retrieve_with_diffdis(unidiff, project, finished_here, catalogue):
    """A run, an export and an index of DiffDis as typed: what its images' vectors answer is not what CLIP's do."""
    args = ("-C", project.root)
    code, out, err = unidiff(*args, "train", "--recipe", "diffdis", "--set", "train.steps=1")
    assert code == 0 and "exports/001-diffdis" in out, err
    clip, diffdis = (
        json.loads(unidiff(*args, "retrieve", "red dress", "-k", "60", "--json", "--with", by)[1])
        for by in ("clip", "diffdis")
    )
    assert len(diffdis) == 60 and [h["id"] for h in clip] != [h["id"] for h in diffdis]
    code, out, err = unidiff(
        *args, "retrieve", catalogue / "images/p007-1.png", "--with", "diffdis", "--json"
    )
    assert code == 0 and json.loads(out)[0]["score"] == pytest.approx(1, abs=1e-3), err  # itself
    code, out, err = unidiff("-C", finished_here.root, "retrieve", "red dress", "--with", "diffdis")
    assert code == 2 and out == "" and "no DiffDis" in err


def test_generate_and_again(unidiff, finished_here, tmp_path):
    args = ("-C", finished_here.root, "generate")
    code, out, err = unidiff(*args, "red dress", "-n", "2", "--seed", "5", "--json")
    [made] = json.loads(out)
    assert code == 0 and len(made["images"]) == 2 and Path(made["folder"], "sheet.png").is_file()
    code, out, err = unidiff(*args, "--from", made["images"][1])
    again = Path(out.strip()).parent / "0.png"
    assert code == 0 and "another model" not in err
    mine, its = (Image.open(file) for file in (again, made["images"][1]))
    assert mine.info == its.info  # alone in its batch: the same up to rounding
    assert np.abs(np.asarray(mine, int) - np.asarray(its, int)).max() <= 1
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("# mine\nred dress\n\nblue hat\n")
    code, out, _ = unidiff(*args, "--prompts", prompts, "-n", "1")
    assert code == 0 and [Path(line).name for line in out.splitlines()] == ["sheet.png"] * 2
    code, _, err = unidiff(*args, "red dress", "-n", "4", "--best-of", "3")
    assert code == 2 and "--best-of 3 is fewer than the 4" in err
    code, out, _ = unidiff(*args, "red dress", "-n", "1", "--best-of", "3", "--json")
    [best] = json.loads(out)
    assert code == 0 and len(best["images"]) == 1


def test_an_export_by_another_name(unidiff, finished_here):
    for command in (("generate", "dress"), ("retrieve", "dress"), ("index",), ("evaluate",)):
        code, _, err = unidiff("-C", finished_here.root, *command, "--export", "001-fashon")
        assert code == 2 and "Did you mean '001-fashion'?" in err, command


def test_a_blend_stands_beside_the_plain_export(unidiff, finished_here, tmp_path):
    project = copy_project(finished_here, tmp_path)
    code, out, err = unidiff("-C", project.root, "export", "--alpha", "0.5")
    assert code == 0 and "exports/001-fashion-a0.5" in out and "Next: unidiff index" in err
    code, _, err = unidiff("-C", project.root, "export", "001-fashion", "--alpha", "0.5")
    assert code == 0 and "Nothing to do: exports/001-fashion-a0.5" in err
    assert project.exports() == ["001-fashion", "001-fashion-a0.5"]
    code, _, err = unidiff("-C", project.root, "retrieve", "dress", "--export", "001-fashion-a0.5")
    assert code == 1 and "Run: unidiff index --export 001-fashion-a0.5" in err


def test_a_stale_index_names_the_command(unidiff, finished_here, tmp_path):
    project = copy_project(finished_here, tmp_path)
    shutil.copytree(project.path("exports", "001-fashion"), project.path("exports", "002-other"))
    code, _, err = unidiff("-C", project.root, "retrieve", "dress", "--export", "002-other")
    assert code == 1 and "Run: unidiff index --export 002-other" in err
    project.path("exports", "current").write_text("002-other\n")
    code, _, err = unidiff("-C", project.root, "retrieve", "dress")
    assert code == 1 and "001-fashion, not with 002-other" in err and "Run: unidiff index" in err
    project.path("exports", "current").write_text("001-fashion\n")
    shards = Receipt.read(project.path("shards"))
    shards.seed += 1
    close(project.path("shards"), shards, 0)  # as if prepared otherwise
    code, _, err = unidiff("-C", project.root, "retrieve", "dress", "--json")
    assert code == 1 and "stale: shards changed" in err and "Run: unidiff index" in err
    shutil.rmtree(project.path("index"))
    code, out, err = unidiff("-C", project.root, "retrieve", "dress", "--json")
    assert code == 1 and out == "" and "index is not there" in err and "Run: unidiff index" in err


def test_evaluate_prints_base_against_tuned(unidiff, finished_here):
    code, out, err = unidiff("-C", finished_here.root, "evaluate")
    assert code == 0 and "r1_t2i" in out and "tuned" in out, err
    code, out, err = unidiff("-C", finished_here.root, "evaluate", "--json")
    found = json.loads(out)
    assert code == 0 and all(
        {"r1_t2i", "r10_i2t"} <= set(found["figures"][who]) for who in ("base", "tuned")
    )


def test_a_gate_decides_the_exit_code(unidiff, finished_here):
    root = finished_here.root
    code, out, err = unidiff("-C", root, "evaluate", "--gate", "r1_t2i>=0, medr_i2t<1e9")
    assert code == 0 and "The gate is met" in out, err
    code, out, err = unidiff("-C", root, "evaluate", "--gate", "r1_t2i>=1.1")
    assert code == 1 and "The gate is not met: r1_t2i is" in err and "asked >= 1.1" in err
    assert (finished_here.path("report") / "report.html").exists(), "the report is there to look at"
    assert unidiff("-C", root, "evaluate", "--gate", "r1>=0.5")[0] == 2
    assert unidiff("-C", root, "evaluate", "--gate", "kid<=0.5")[0] == 2, "not computed here"
    assert unidiff("-C", root, "evaluate", "--alphas", "a,b")[0] == 2
    assert unidiff("-C", root, "evaluate", "--folds", "1")[0] == 2


def test_evaluate_in_folds(unidiff, project):
    args = (
        "-C",
        project.root,
        "evaluate",
        "--folds",
        "2",
        "--recipe",
        "clip-only",
        "--set",
        "train.steps=1",
    )
    code, out, err = unidiff(*args, "--json")
    found = json.loads(out)
    assert code == 0 and list(found["figures"]) == ["base", "tuned"], err
    assert (
        found["split"] == "2 folds"
        and found["counts"]["rows"] == 60
        and found["counts"]["folds"] == 2
    )
    assert project.path("folds", "report.html").is_file() and not project.path("report").exists()
    code, out, err = unidiff(*args, "--gate", "r1_t2i>=1.1")
    assert code == 1 and "Nothing to do: folds" in err and "The gate is not met" in err
    assert "folds" in unidiff("-C", project.root, "status")[1]


def test_ablate_prints_its_table(unidiff, project):
    args = (
        "-C",
        project.root,
        "ablate",
        "--recipes",
        "clip-only, sd-only",
        "--seeds",
        "0",
        "--steps",
        "1",
    )
    code, out, err = unidiff(*args)
    assert code == 0 and "| base | clip-only | sd-only |" in out and "Next: open" in err, err
    code, out, err = unidiff(*args, "--json")
    found = json.loads(out)
    assert code == 0 and list(found["figures"]) == ["base", "clip-only", "sd-only"], err
    assert found["steps"] == 1 and found["counts"] == {
        "recipes": 2,
        "seeds": 1,
        "folds": 0,
        "cells": 3,
    }
    assert "ablation" in unidiff("-C", project.root, "status")[1]
    for wrong, text in (
        (("--recipes", "joint,joint"), "Two recipes are named 'joint'"),
        (("--recipes", "joint", "--seeds", "0,x"), "--seeds cannot read 'x'"),
        (("--recipes", "joint", "--folds", "1"), "--folds needs 2 or more"),
        (("--recipes", "joint", "--seeds", "0,0"), "seeds that differ"),
    ):
        code, out, err = unidiff("-C", project.root, "ablate", *wrong)
        assert code == 2 and out == "" and text in " ".join(err.split()), wrong


def wrong_inception(unidiff, root, *command):
    code, _, err = unidiff(
        "-C",
        root,
        *command,
        "--inception",
        root / "unidiff.yaml",
        "--set",
        "evaluate.metrics=[kid]",
    )
    return code == 3 and "is not inception-2015-12-05.pt" in " ".join(err.split())


def test_compare_names_exports(unidiff, finished_here):
    names = finished_here.exports()
    assert unidiff("-C", finished_here.root, "export", "--alpha", "0.5")[0] == 0
    code, out, err = unidiff("-C", finished_here.root, "compare", names[0], f"{names[0]}-a0.5")
    assert code == 0 and f"{names[0]}-a0.5" in " ".join(out.split()), err
    assert unidiff("-C", finished_here.root, "compare", names[0])[0] == 2
    assert wrong_inception(unidiff, finished_here.root, "compare", names[0], f"{names[0]}-a0.5")
    assert wrong_inception(unidiff, finished_here.root, "evaluate")


# ---------------------------------------------------------------- signals

LONG = (
    "train.steps=5000",
    "train.checkpoint_every=5000",
    "train.validate_every=5000",
    "train.warmup=1",
)


class Training:
    """`unidiff train` in a process of its own."""

    def __init__(self, project, *args):
        self.run = project.path("runs", "001-fashion")
        # the second argument is Python's own handler again, where a shell started us with SIGINT ignored
        code = (
            "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
            "from unidiff_cli.cli import main; main()"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, "-C", str(project.root), "train", *args],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def steps(self):
        return [line["step"] for line in run_log.read(self.run) if "loss" in line]

    def until_step(self, step):
        deadline = time.monotonic() + 150
        while max(self.steps(), default=0) < step:
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline, "no step in time"
            time.sleep(0.05)

    def send(self, signum):
        """Sends a signal and gives the exit code and what was said."""
        self.process.send_signal(signum)
        out, err = self.process.communicate(timeout=90)
        return self.process.returncode, out, err

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


def test_ctrl_c_saves_resume_continues_and_sigterm_saves_again(project):
    sets = [word for assignment in LONG for word in ("--set", assignment)]
    with Training(project, *sets) as training:
        training.until_step(2)
        code, out, err = training.send(signal.SIGINT)
    assert code == 130 and out == "", err
    stopped = training.steps()[-1]
    assert (
        f"Stopped at step {stopped}" in err
        and "unidiff train --resume" in err
        and "Traceback" not in err
    )
    checkpoint = training.run / "checkpoints" / f"step-{stopped:06d}"
    assert (checkpoint / "state.json").is_file()
    assert Receipt.read(training.run) is None and project.exports() == []

    project.file.write_text(
        project.file.read_text() + "train: {stepz: broken since}\n"
    )  # the run has its own recipe
    with Training(project, "--resume") as training:
        training.until_step(stopped + 2)
        code, out, err = training.send(signal.SIGTERM)
    assert code == 143, err
    assert f"goes on from step {stopped}" in err and "Traceback" not in err
    assert training.steps() == list(range(1, training.steps()[-1] + 1))  # none lost, none twice
    assert (
        training.run / "checkpoints" / f"step-{training.steps()[-1]:06d}" / "state.json"
    ).is_file()


def test_a_kill_before_any_checkpoint_starts_over_and_says_so(project):
    sets = [word for assignment in LONG for word in ("--set", assignment)]
    with Training(project, *sets) as training:
        training.until_step(2)
        assert training.send(signal.SIGKILL)[0] == -signal.SIGKILL
    assert not list((training.run / "checkpoints").glob("step-*"))
    before = training.steps()[-1]
    with open(training.run / run_log.FILE, "a") as stream:
        stream.write('{"step": 999, "lo')  # what a kill may leave

    with Training(project, "--resume") as training:
        deadline = time.monotonic() + 150
        while training.steps()[-1:] in ([], [before]) and time.monotonic() < deadline:
            time.sleep(0.02)  # until the log was cut
        training.until_step(1)
        code, _, err = training.send(signal.SIGINT)
    assert code == 130 and "has no checkpoint yet and starts over" in err
    assert training.steps() == list(range(1, training.steps()[-1] + 1))
