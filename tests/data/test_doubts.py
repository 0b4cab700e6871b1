"""What is doubtful stops or is said; who prepares decides by name."""

import logging

import pytest

from tests.support.catalogue import write_photos
from unidiff_cli import Project, Recipe, prepare
from unidiff_cli.data.doubts import Doubt, settle
from unidiff_cli.errors import Problems

WARNING = Doubt("Two captions are equal.", "Look at them.")
GUESS = Doubt("'x' may be a split.", "Say so.", stops=True)


@pytest.mark.parametrize(
    "doubts, yes, strict, refused",
    [
        ([WARNING], False, False, []),
        ([WARNING], False, True, [WARNING]),
        ([WARNING, GUESS], False, False, [GUESS]),
        ([WARNING, GUESS], True, False, []),
        ([WARNING, GUESS], True, True, [WARNING, GUESS]),
    ],
)
def test_what_is_doubtful_is_refused_or_said(caplog, doubts, yes, strict, refused):
    caplog.set_level(logging.WARNING, "unidiff")
    logging.getLogger("unidiff").propagate = True
    if refused:
        with pytest.raises(Problems) as caught:
            settle(doubts, yes, strict)
        assert caught.value.problems == [f"{d.fact} {d.action}" for d in refused]
    else:
        assert settle(doubts, yes, strict) == [d.fact for d in doubts]
    said = [record.getMessage() for record in caplog.records]
    assert said == [f"{d.fact} {d.action}" for d in doubts if d not in refused]


@pytest.mark.parametrize(
    "doubts, yes, strict, action",
    [
        ([GUESS], False, False, "Say what is meant, or accept all this with --yes."),
        ([WARNING], False, True, "Mend this, or leave out --strict."),
        ([WARNING, GUESS], True, True, "--strict accepts no guess; --yes without it does."),
    ],
)
def test_a_refusal_says_the_way_on(doubts, yes, strict, action):
    with pytest.raises(Problems) as caught:
        settle(doubts, yes, strict)
    assert caught.value.action.endswith(action)


def test_a_doubt_is_said_once():
    with pytest.raises(Problems) as caught:
        settle([GUESS, GUESS, WARNING, WARNING], yes=False, strict=True)
    assert len(caught.value.problems) == 2


@pytest.fixture
def seasons(tmp_path):
    """A catalogue whose split column says spring for three of 24 images, and train."""
    return write_photos(tmp_path / "shop", 24, split=lambda n: "spring" if n < 3 else "train")


def test_words_of_a_split_that_are_not_understood_stop(tmp_path, seasons):
    project = Project(tmp_path / "project")
    with pytest.raises(Problems, match=r"'spring' \(3 rows\)") as caught:
        prepare(project, Recipe(), seasons)
    assert "prepare.split_words.spring=train" in caught.value.problems[0]
    assert not project.path("shards").exists()


def test_the_recipe_says_what_a_word_means(tmp_path, seasons):
    recipe = Recipe.model_validate({"prepare": {"split_words": {"Spring": "test"}}})
    receipt = prepare(Project(tmp_path / "project"), recipe, seasons)
    assert receipt.counts["test"] == 3 and receipt.figures["warnings"] == []


def test_yes_reads_them_as_train_and_says_so(tmp_path, seasons):
    receipt = prepare(Project(tmp_path / "project"), Recipe(), seasons, yes=True)
    assert receipt.counts["samples"] == 24 and "'spring'" in receipt.figures["warnings"][0]


def test_a_check_writes_a_page_and_no_shards(tmp_path, seasons):
    project = Project(tmp_path / "project")
    receipt = prepare(project, Recipe(), seasons, yes=True, check=True)
    assert receipt.counts["samples"] == 24 and not project.path("shards").exists()
    left = sorted(file.name for file in project.path("cache", "prepare").iterdir())
    assert left == ["quarantine.jsonl", "report.html"]
    assert prepare(project, Recipe(), seasons, yes=True).counts == receipt.counts
