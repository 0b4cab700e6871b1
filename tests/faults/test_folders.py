"""Nothing that is not ours is moved, replaced or deleted, in any folder that a stage writes."""

import os

import pytest

from tests.support.catalogue import write_catalogue
from tests.support.folders import finish
from tests.support.projects import copy_project, load_recipe
from unidiff_cli import Project, evaluate, export, generate, index, prepare, train
from unidiff_cli.errors import WorkError
from unidiff_cli.project.folders import FOLDERS, MARK
from unidiff_cli.project.receipt import Receipt

# Every folder that a receipt closes, as a stage writes it.
CLOSED = [
    (name, "001-a") if spec.several else (name,) for name, spec in FOLDERS.items() if spec.receipt
]
MARKED = [name for name, spec in FOLDERS.items() if spec.several or not spec.receipt]


def by_name(names):
    return "/".join(names)


def tree(folder):
    """Every path below a folder, with the bytes of files and the targets of links."""
    return {
        str(path.relative_to(folder)): os.readlink(path)
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else None
        for path in folder.rglob("*")
    }


@pytest.fixture
def project(tmp_path):
    project = Project(tmp_path / "shop")
    project.create()
    return project


def photo(folder):
    (folder / "photo.jpg").write_bytes(b"mine")


def photos_below(folder):
    (folder / "summer" / "red").mkdir(parents=True)
    photo(folder / "summer" / "red")


def empty_below(folder):
    (folder / "notes").mkdir()


def link(folder):
    (folder / "link.txt").symlink_to("/etc/hostname")


def hidden(folder):
    (folder / ".album").write_text("mine")


STRANGERS = [photo, photos_below, empty_below, link, hidden]


@pytest.mark.parametrize("names", CLOSED, ids=by_name)
@pytest.mark.parametrize("put", STRANGERS, ids=lambda put: put.__name__)
@pytest.mark.parametrize("ours", [True, False], ids=["in-ours", "in-theirs"])
def test_a_folder_with_what_is_not_ours_is_refused_and_stays(project, names, put, ours):
    if ours:
        finish(project, *names)
    project.path(*names).mkdir(parents=True, exist_ok=True)
    put(project.path(*names))
    before = tree(project.root)
    with pytest.raises(WorkError) as caught:
        finish(project, *names, text="new")
    assert str(project.path(*names)) in str(caught.value) and "Move" in caught.value.action
    assert tree(project.root) == before


@pytest.mark.parametrize("names", CLOSED, ids=by_name)
def test_a_file_in_the_place_of_a_folder_is_refused(project, names):
    project.path(*names).parent.mkdir(exist_ok=True)
    project.path(*names).write_text("mine")
    with pytest.raises(WorkError, match="is a file"):
        finish(project, *names)
    assert project.path(*names).read_text() == "mine"


@pytest.mark.parametrize("names", CLOSED, ids=by_name)
def test_a_listed_file_that_became_a_link_is_refused(project, names, tmp_path):
    finish(project, *names)
    (tmp_path / "mine.txt").write_text("mine")
    (project.path(*names) / "file.txt").unlink()
    (project.path(*names) / "file.txt").symlink_to(tmp_path / "mine.txt")
    with pytest.raises(WorkError, match=r"file\.txt"):
        finish(project, *names, text="new")
    assert (tmp_path / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("names", CLOSED, ids=by_name)
def test_what_is_put_into_a_folder_while_it_is_made_again_stays_there(project, names):
    finish(project, *names, text="old")
    closing = Receipt("stage", {})
    with project.writing(*names, receipt=closing) as fresh:
        (fresh / "file.txt").write_text("new")
        photos_below(project.path(*names))
    assert (project.path(*names) / "summer" / "red" / "photo.jpg").read_bytes() == b"mine"
    assert (project.path(*names) / "file.txt").read_text() == "new"
    assert not [p for p in project.path(*names).parent.iterdir() if p.name.endswith(".old")]


@pytest.mark.parametrize("names", CLOSED, ids=by_name)
def test_a_linked_folder_stays_linked(project, names, tmp_path):
    disk = tmp_path / "disk" / "elsewhere"
    disk.mkdir(parents=True)
    project.path(*names).parent.mkdir(exist_ok=True)
    project.path(*names).symlink_to(disk, target_is_directory=True)
    for text in ("old", "new"):
        with project.lock():
            finish(project, *names, text=text)
        assert project.path(*names).is_symlink() and (disk / "file.txt").read_text() == text
    assert [p.name for p in disk.parent.iterdir()] == ["elsewhere"]


def test_a_linked_folder_is_recovered_where_it_lies(project, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    finish(project, "index", text="old")
    os.rename(project.path("index"), disk / ".vectors.old")
    project.path("index").symlink_to(disk / "vectors", target_is_directory=True)
    with project.lock():
        pass
    assert (project.path("index") / "file.txt").read_text() == "old"


@pytest.mark.parametrize("name", MARKED)
def test_a_folder_of_another_by_the_name_of_ours_is_refused(project, name):
    project.path(name).mkdir()
    photo(project.path(name))
    with pytest.raises(WorkError, match=f"{name} was not made by unidiff"):
        project.folder(name)
    assert tree(project.path(name)) == {"photo.jpg": b"mine"}


@pytest.mark.parametrize("name", MARKED)
def test_an_empty_folder_of_the_name_is_taken(project, name):
    project.path(name).mkdir()
    assert (project.folder(name) / MARK).is_file()
    photo(project.path(name))
    assert project.folder(name) == project.path(name)


# ---------------------------------------------------------------- the stages


@pytest.fixture
def shop(tmp_path, finished):
    """A catalogue that is its own project, after prepare → train → export → index."""
    copied = copy_project(finished, tmp_path)
    return copied


@pytest.mark.parametrize(
    "names", [("shards",), ("index",), ("report",), ("exports", "001-fashion")]
)
def test_force_removes_no_file_of_another(shop, recipe, catalogue, names):
    small = load_recipe(recipe.base, "evaluate.metrics=[recall]")
    stages = {
        "shards": lambda: prepare(shop, recipe, catalogue, force=True),
        "index": lambda: index(shop, force=True),
        "report": lambda: evaluate(shop, small, force=True),
        "exports": lambda: export(shop, force=True),
    }
    shop.path(*names).mkdir(exist_ok=True)
    photo(shop.path(*names))
    before = tree(shop.path(*names))
    with pytest.raises(WorkError, match=r"photo\.jpg"):
        stages[names[0]]()
    assert tree(shop.path(*names)) == before


@pytest.mark.parametrize("name", ["index", "runs", "exports"])
def test_training_refuses_before_it_begins(shop, recipe, name):
    shop.path(name, MARK).unlink(missing_ok=True)
    for file in shop.path(name).rglob("receipt.json"):
        file.unlink()
    before = tree(shop.path("runs"))
    with pytest.raises(WorkError):
        train(shop, recipe, force=True)
    assert tree(shop.path("runs")) == before


def test_photos_in_a_folder_of_our_name_are_products(tmp_path, recipe):
    catalogue = write_catalogue(tmp_path / "shop" / "index").parent
    project = Project(catalogue)
    project.create()
    before = tree(catalogue / "index")
    receipt = prepare(project, recipe, catalogue)
    assert sum(receipt.counts[split] for split in ("train", "val", "test")) > 0
    assert tree(catalogue / "index") == before
    with pytest.raises(WorkError, match="index was not finished by unidiff"):
        train(project, recipe)
    assert tree(catalogue / "index") == before


def test_generate_leaves_a_folder_of_another_alone(shop):
    shop.path("outputs").mkdir()
    photo(shop.path("outputs"))
    with pytest.raises(WorkError, match="outputs was not made by unidiff"):
        generate(shop, ["red dress"], count=1)
    assert tree(shop.path("outputs")) == {"photo.jpg": b"mine"}


def test_a_failed_prepare_leaves_a_list_of_another_alone(tmp_path, recipe, catalogue):
    project = Project(tmp_path / "project")
    project.create()
    (project.root / "quarantine.jsonl").write_text("mine")
    (tmp_path / "bad").mkdir()
    for number in range(3):
        (tmp_path / "bad" / f"{number}.jpg").write_text("no image")
        (tmp_path / "bad" / f"{number}.txt").write_text("a dress")
    with pytest.raises(WorkError):
        prepare(project, recipe, tmp_path / "bad")
    prepare(project, recipe, catalogue)
    assert (project.root / "quarantine.jsonl").read_text() == "mine"


def test_files_are_readable_by_whom_the_umask_lets(shop):
    modes = {
        file.stat().st_mode & 0o777
        for name in ("exports", "index", "shards", "runs")
        for file in shop.path(name).rglob("*")
        if file.is_file()
    }
    umask = os.umask(0)
    os.umask(umask)
    assert modes == {0o666 & ~umask}
