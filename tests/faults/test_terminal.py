"""No text from outside commands the terminal, fakes a line, or writes Markdown of its own."""

import csv
import json
import logging
import re

import pytest

from tests.support.catalogue import jpeg
from tests.support.commands import unidiff, workplace  # noqa: F401
from tests.support.folders import finish
from tests.support.reports import report_of
from unidiff_cli.cli import console
from unidiff_cli.cli.bars import shown
from unidiff_cli.errors import RecipeError, WorkError
from unidiff_cli.reports import ablation, evaluation
from unidiff_cli.reports.ablation_schema import AblationCounts, AblationReport
from unidiff_cli.reports.markdown import escape

# Clear screen, clipboard, title, colour, 8-bit codes of the same, DEL, bell, backspace, carriage
# return, null, direction of text (override, embedding, isolate, marks), separators, half a pair.
HOSTILE = [
    "\x1b[2J",
    "\x1b]52;c;aGk=\x07",
    "\x1b]0;title\x1b\\",
    "\x9b31m",
    "\x9d52;c;aGk=\x9c",
    "\x90q\x9c",
    "\x7f",
    "\x08\x08",
    "\rerror: fake",
    "\x00",
    "\u202egnp.exe",
    "\u202a",
    "\u2066",
    "\u200f",
    "\u061c",
    "\u2028",
    "\udc80",
]
OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def shown_by(capsys):
    done = capsys.readouterr()
    return done.out + done.err


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_whatever_is_shown_commands_nothing(capsys, text):
    text = f"before{text}after"
    console.say(text)
    console.note(text)
    console.warn(text)
    console.show_table([text], [[text], [f"{text}\nsecond"]], title=text)
    console.show_error(WorkError(text, text))
    console.show_error(RecipeError([text, text]))
    console.show_traceback(ValueError(text))
    with shown() as bars:
        bars(text, 1, 1, text)
    output = shown_by(capsys)
    assert not OBEYED.search(output), ascii(output)
    assert output.count("before") >= 12 and "\\u" in output or "\\r" in output


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_json_is_still_the_same_json(capsys, text):
    console.show_json({"caption": text, "list": [text]})
    output = capsys.readouterr().out
    assert not OBEYED.search(output)
    assert json.loads(output) == {"caption": text, "list": [text]}


def test_a_line_break_in_a_value_begins_no_line(capsys):
    console.say("column a\nerror: fake")
    console.show_error(WorkError("No file x\nerror: fake."))
    assert not re.search("^error: fake", shown_by(capsys), re.MULTILINE)


def test_plain_text_of_any_language_is_shown_as_it_is(capsys):
    text = "Kleid «schön» 赤いドレス می‌خواهم 👗🏽 [bold] \\n 50 %"
    console.say(text)
    assert capsys.readouterr().out == f"{text}\n"


def test_what_libraries_log_is_printable(unidiff, workplace, capfd):  # noqa: F811
    unidiff("recipes", "list")
    handler = logging.StreamHandler()
    logger = logging.getLogger("a.library")
    logger.addHandler(handler)
    try:
        logger.error("config %s", "\x1b[2J\x9b31m")
        logging.getLogger("unidiff").warning("caption %s", "\x1b[2J")
    finally:
        logger.removeHandler(handler)
    err = capfd.readouterr().err
    assert "\\u001b[2J" in err and not OBEYED.search(err)


# ---------------------------------------------------------------- commands


def hostile_catalogue(folder):
    """A table whose columns, captions and file names hold codes."""
    folder.mkdir()
    names = [f"{i}\x1b[2J.jpg" for i in range(4)]
    for name in names:
        (folder / name).write_bytes(jpeg())
    with open(folder / "catalog.csv", "w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["image", "caption", "colour\x1b]52;c;aGk=\x07", "size\nerror: fake"])
        rows.writerows([name, f"dress \x9b31m\u202e{name}", "red", "1"] for name in names)
    return folder


@pytest.mark.parametrize("flags", [("--dry-run",), ()])
def test_a_catalogue_is_described_without_its_codes(unidiff, workplace, flags):  # noqa: F811
    folder = hostile_catalogue(workplace / "catalogue")
    code, out, err = unidiff("-C", "project", "prepare", folder, *flags)
    assert "colour" in out + err and not OBEYED.search(out + err), ascii(out + err)
    assert not re.search("^error: fake", out + err, re.MULTILINE)


def test_what_is_typed_is_shown_without_its_codes(unidiff, workplace):  # noqa: F811
    for arguments in (
        ("\x1b[2J",),
        ("train", "--\x1b[2J"),
        ("export", "--alpha", "\x9b31m"),
        ("recipes", "show", "\x1b[2J"),
        ("generate", "--prompts", "\x1b[2J.txt"),
        ("retrieve", "\u202e.jpg"),
        ("train", "--set", "train.\x1b[2J=1"),
    ):
        code, out, err = unidiff("-C", "project", *arguments)
        assert code == 2 and not OBEYED.search(out + err), ascii(out + err)


def test_names_of_folders_are_shown_without_their_codes(unidiff, workplace):  # noqa: F811
    from unidiff_cli import Project

    project = Project(workplace / "project")
    finish(project, "exports", "001-\x1b[2J")
    for arguments in (("status",), ("status", "--json"), ("generate", "dress", "--export", "002")):
        code, out, err = unidiff("-C", "project", *arguments)
        assert "001-" in out + err and not OBEYED.search(out + err), ascii(out + err)


def test_a_recipe_file_is_shown_without_its_codes(unidiff, workplace):  # noqa: F811
    (workplace / "own.yaml").write_text('description: "a" # \x9b31m\u202e\n', encoding="utf-8")
    for command in ("show", "validate"):
        code, out, err = unidiff("recipes", command, "own.yaml")
        assert not OBEYED.search(out + err), ascii(out + err)


# ---------------------------------------------------------------- Markdown

RAW = "<img src=x onerror=alert(1)>|*b*`c`[d](javascript:e)\n# f"


def only_text(markdown):
    """Whether a text that was RAW is nowhere Markdown or HTML."""
    return not re.search(r"<img|(?<!\\)\]\(|(?<!\\)`c|^# f|^f", markdown, re.MULTILINE)


def test_an_ablation_escapes_names_of_recipes():
    figures = {"base": {}, RAW: {}}
    report = AblationReport(
        counts=AblationCounts(recipes=1, seeds=1, folds=0, cells=1),
        split="test",
        steps=1,
        batch_size=2,
        recipes={},
        figures=figures,
        specs={"r1": {"label": RAW, "judges": "retrieval", "better": "higher"}},
        chance={},
        tests=[],
        curves={},
        plotted=[],
        tradeoffs=[],
        limits=[],
        notes=[RAW],
        left_out={RAW: RAW},
        versions={},
    )
    text = ablation.markdown(report)
    assert only_text(text), text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {5}


def test_a_report_escapes_titles_notes_and_warnings():
    report = report_of((0.3, 0.2, 25.0), (0.5, 0.1, 24.5), title=RAW, warnings=[RAW], verdict=RAW)
    report = report.model_copy(update={"notes": {"kid": [RAW]}})
    assert only_text(evaluation.markdown(report))


@pytest.mark.parametrize(
    "text",
    ["# h", "- item", "+ item", "1. one", "2) two", "> q", "*", "__x__", "~~x~~", "&lt;", "\\<b>"],
)
def test_a_text_begins_nothing(text):
    import html

    escaped = escape(text)
    assert escaped != text
    assert html.unescape(re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", escaped)) == text


@pytest.mark.parametrize("text", ["r1_t2i", "2.5 is more", "+0.3 points", "R@1 → 0.5 (a … b)"])
def test_a_plain_text_stays_as_it_is(text):
    assert escape(text) == text
