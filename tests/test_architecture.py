"""The house itself: light imports, floors, parts by convention, one writer a room, the same work twice."""

import ast
import hashlib
import os
import resource
import subprocess
import sys
import zipfile
from importlib import import_module
from pathlib import Path

import pytest
from pydantic import BaseModel

from tests.support.projects import copy_project, load_recipe
from unidiff_cli import evaluate, export, generate, index, prepare, registry, retrieve, train
from unidiff_cli.generation.record import read_record
from unidiff_cli.models import sources
from unidiff_cli.project.receipt import Receipt
from unidiff_cli.registry import KINDS

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "unidiff_cli"
HEAVY = {
    "torch",
    "torchvision",
    "transformers",
    "diffusers",
    "accelerate",
    "numpy",
    "PIL",
    "pyarrow",
    "pydantic",
}
PARTS = [(room, name) for room in KINDS for name in registry.names(room)]
MODULES = sorted(p.relative_to(ROOT) for p in PACKAGE.rglob("*.py"))


def python(code, *argv, **more):
    """The standard output of a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", code, *argv],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        **more,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---------------------------------------------------------------- light

HELP = """
import sys
sys.argv = ["unidiff", *sys.argv[1:]]
from unidiff_cli import cli
try:
    cli.main()
finally:
    sys.stderr.write(" ".join({name.split(".")[0] for name in sys.modules}))
"""


@pytest.mark.parametrize(
    "args",
    [["--help"], ["--version"], ["train", "--help"], ["nonsense"], ["recipes", "show", "fashion"]],
)
def test_what_needs_no_torch_loads_none(args):
    done = subprocess.run(
        [sys.executable, "-c", HELP, *args], capture_output=True, text=True, timeout=60, cwd=ROOT
    )
    loaded = set(done.stderr.splitlines()[-1].split())
    heavy = (
        HEAVY if args[0].startswith("--") else HEAVY - {"pydantic"}
    )  # typer reads arguments with it
    assert "unidiff_cli" in loaded and not loaded & heavy


def test_a_recipe_is_checked_without_torch():
    code = "from unidiff_cli.recipe import load\nload('fashion')\nimport sys\nprint(*sys.modules)"
    assert not {"torch", "diffusers", "transformers", "numpy"} & set(python(code).split())


def test_help_is_quick():
    """House rule: 0.3 s warm. What is held here is CPU time, since the machine may be busy with other things."""
    command = [str(Path(sys.executable).parent / "unidiff"), "--help"]
    spent = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, capture_output=True, check=True, timeout=60)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(spent) <= 0.5


@pytest.mark.parametrize("room", ["objectives", "readers", "metrics"])
def test_parts_load_without_torch(room):
    code = (
        "import sys\nfrom unidiff_cli import registry as plugins\n"
        f"for name in plugins.names({room!r}): plugins.load({room!r}, name)\n"
        "print(*(m for m in ('torch', 'diffusers', 'transformers', 'accelerate') if m in sys.modules))"
    )
    assert python(code).split() == []


# ---------------------------------------------------------------- the source


def test_floors_hold():
    pytest.importorskip("importlinter", reason="comes with the extra `dev`")
    done = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout


def test_no_drawer_for_odds_and_ends():
    words = ("util", "common", "helper", "manager", "misc", "legacy")
    assert [str(m) for m in MODULES if any(word in m.stem.lower() for word in words)] == []


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_every_module_says_what_it_is(module):
    tree = ast.parse((ROOT / module).read_text(encoding="utf-8"))
    said = ast.get_docstring(tree)
    assert said and len(said.splitlines()[0]) > 20


def test_the_help_page_is_what_the_commands_say():
    said = python(
        "from typer.__main__ import main\nmain()",
        "unidiff_cli.cli.app",
        "utils",
        "docs",
        "--name",
        "unidiff",
    )
    assert said.strip() == (ROOT / "docs" / "cli.md").read_text(encoding="utf-8").strip(), (
        "run: make docs"
    )


# ---------------------------------------------------------------- parts


def test_the_rooms_are_their_folders():
    for room, folder in KINDS.items():
        files = {
            p.stem
            for p in (PACKAGE / folder.replace(".", "/")).glob("*.py")
            if not p.stem.startswith("_")
        }
        assert files and files <= set(registry.names(room))
    with pytest.raises(
        Exception, match="no objective named 'contrastve'. Did you mean 'contrastive'"
    ):
        registry.load("objectives", "contrastve")


@pytest.mark.parametrize(("room", "name"), PARTS)
def test_a_part_is_a_file_with_a_class_of_its_name(room, name):
    part = registry.load(room, name)
    assert part.__name__ == "".join(word.capitalize() for word in name.split("_"))
    assert part.__module__ == f"unidiff_cli.{room}.{name}"
    assert part.__doc__ and part.__doc__.strip() and part.__doc__ != part.__mro__[1].__doc__
    assert sys.modules[part.__module__].__doc__


@pytest.mark.parametrize("name", registry.names("objectives"))
def test_a_recipe_key_of_a_part_says_what_it_is(name):
    part = registry.load("objectives", name)
    assert issubclass(part, BaseModel)
    base = import_module("unidiff_cli.objectives").Objective
    own = {key: field for key, field in part.model_fields.items() if key not in base.model_fields}
    assert [key for key, field in own.items() if not field.description] == []


@pytest.mark.parametrize(("room", "name"), PARTS)
def test_a_part_has_a_test_that_names_it(room, name):
    part = registry.load(room, name).__name__
    tests = [
        p.read_text(encoding="utf-8")
        for p in (ROOT / "tests").rglob("*.py")
        if p.name != Path(__file__).name
    ]
    assert any(name in text or part in text for text in tests)


def test_an_installed_part_comes_through_the_same_door(tmp_path):
    """Another package's objective is listed, loaded and checked like a built-in one."""
    (tmp_path / "theirs.py").write_text(
        "from typing import ClassVar\nfrom unidiff_cli.objectives import Objective\n"
        "class Triplet(Objective):\n    '''Theirs.'''\n    reads: ClassVar[frozenset[str]] = frozenset()\n"
        "    margin: float = 0.2\n    def loss(self, views): ...\n"
    )
    info = tmp_path / "theirs-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[unidiff.objectives]\ntriplet = theirs:Triplet\n")
    (tmp_path / "mine.yaml").write_text("objectives: {triplet: {margin: 0.5}}\n")
    code = (
        "import sys\nfrom unidiff_cli import registry as plugins, recipe\n"
        "print(*plugins.names('objectives'))\nprint(recipe.load(sys.argv[1]).active()['triplet'].margin)\n"
        "try: recipe.load(sys.argv[1], assignments=['objectives.triplet.margn=1'])\n"
        "except recipe.RecipeError as problem: print(problem)"
    )
    said = python(
        code, str(tmp_path / "mine.yaml"), env={**os.environ, "PYTHONPATH": str(tmp_path)}
    ).splitlines()
    assert "triplet" in said[0].split() and said[1] == "0.5" and "Did you mean 'margin'?" in said[2]


# ---------------------------------------------------------------- one writer a room


def contents(project):
    """Room -> a hash of every name, byte and time of change in it."""
    found = {}
    for room in sorted(p for p in project.root.iterdir() if not p.name.startswith(".lock")):
        files = [room] if room.is_file() else sorted(p for p in room.rglob("*") if p.is_file())
        files = [
            (p, 0 if p.name == "current" else p.stat().st_mtime_ns) for p in files
        ]  # a pointer may be written again
        lines = [
            f"{p} {changed} {hashlib.sha256(p.read_bytes()).hexdigest()}" for p, changed in files
        ]
        found[room.name] = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return found


def changed(project, stage, *args, **kwargs):
    """The rooms a stage changed, its cache aside, and what it gave back."""
    before = contents(project)
    given = stage(project, *args, **kwargs)
    after = contents(project)
    rooms = {room for room in before | after if before.get(room) != after.get(room)}
    return rooms - {"cache"}, given


@pytest.fixture(scope="module")
def whole(tmp_path_factory, finished):
    """A finished project of this module's own."""
    return copy_project(finished, tmp_path_factory.mktemp("house"))


@pytest.fixture(scope="module")
def small(tiny_base):
    """A recipe whose evaluation needs no scorer."""
    return load_recipe(tiny_base, "evaluate.metrics=[recall]")


@pytest.fixture
def stages(whole, small, catalogue):
    """Stage -> the room it writes and a call of it."""
    return {
        "prepare": ("shards", lambda p, **k: prepare(p, small, catalogue, **k)),
        "train": ("runs", lambda p, **k: train(p, small, **k)[1]),
        "export": ("exports", lambda p, **k: export(p, **k)[1]),
        "index": ("index", lambda p, **k: index(p, **k)),
        "evaluate": ("report", lambda p, **k: evaluate(p, small, **k)),
    }


def test_each_stage_writes_one_room_and_a_second_run_does_nothing(whole, stages):
    project = whole
    evaluate_room, evaluate_call = stages["evaluate"]
    assert changed(project, evaluate_call)[0] == {evaluate_room}
    for name, (room, call) in stages.items():
        rooms, receipt = changed(project, call)
        assert rooms == set(), f"a second {name} changed {rooms}"
        assert isinstance(receipt, Receipt)
        if name != "train":  # which starts a run of its own; below
            rooms, again = changed(project, call, force=True)
            assert rooms == {room}, name
            assert again.hash == receipt.hash, f"{name} is not the same twice"


def test_generate_writes_outputs_and_retrieve_nothing(whole):
    rooms, [first] = changed(whole, generate, ["red dress"], count=2, seed=3)
    assert rooms == {"outputs"}
    rooms, [second] = changed(whole, generate, ["red dress"], count=2, seed=3)
    assert rooms == {"outputs"} and first != second
    for name in ("0.png", "1.png"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    assert read_record(first / "1.png").seed == 4
    rooms, hits = changed(whole, retrieve, "red dress", k=3)
    assert rooms == set() and [hit.rank for hit in hits] == [1, 2, 3]


def test_train_starts_a_new_run_and_leaves_the_finished_one(whole, stages):
    known = {name: contents_of(whole.path("runs", name)) for name in whole.runs()}
    rooms, again = changed(whole, stages["train"][1], force=True)
    assert rooms == {"runs"} and len(whole.runs()) == len(known) + 1
    assert {name: contents_of(whole.path("runs", name)) for name in known} == known
    first, second = (
        Receipt.read(whole.path("runs", name)) for name in (whole.runs()[0], whole.runs()[-1])
    )
    assert first.figures["best"] == second.figures["best"]
    best = [
        whole.path("runs", n, "checkpoints", "best", "averaged.safetensors")
        for n in (min(known), whole.runs()[-1])
    ]
    assert best[0].read_bytes() == best[1].read_bytes()  # the same weights, bit for bit


def contents_of(folder):
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*")}


def test_the_same_training_has_the_same_receipt(whole, small):
    train(whole, small, force=True)
    first, last = (
        Receipt.read(whole.path("runs", name)) for name in (whole.runs()[0], whole.runs()[-1])
    )
    assert first.hash == last.hash


# ---------------------------------------------------------------- the wheel


@pytest.mark.slow
def test_the_wheel_holds_what_it_should(tmp_path):
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--quiet",
        "--wheel-dir",
        str(tmp_path),
        str(ROOT),
    ]
    done = subprocess.run(build, capture_output=True, text=True, timeout=300)
    if done.returncode and "hatchling" in done.stderr:
        pytest.skip("the build backend cannot be fetched here")
    assert done.returncode == 0, done.stderr
    [wheel] = tmp_path.glob("unidiff_cli-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    held = set(names)
    assert len(names) == len(held)
    for file in (ROOT / "recipes").glob("*.yaml"):
        assert f"unidiff_cli/recipes/{file.name}" in held
    for file in (*MODULES, *(p.relative_to(ROOT) for p in (PACKAGE / "templates").iterdir())):
        assert file.as_posix() in held
    for folder in sources.embedded_bases().values():
        for file in folder.rglob("*"):
            assert not file.is_file() or file.relative_to(ROOT).as_posix() in held
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"unidiff_cli"}
    assert not [
        name for name in names if "__pycache__" in name or name.endswith((".pt", ".pkl", ".ckpt"))
    ]
