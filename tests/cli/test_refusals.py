"""What is typed wrong: a sentence, the exit code, and nothing written."""

from pathlib import Path

import pytest

from tests.support.cli import words
from unidiff_cli.project.project import LOCK

# Command, exit code, and a part of what it says.
WRONG = [
    ("nope", 2, "No such command 'nope'"),
    ("--nope", 2, "No such option"),
    ("prepare", 2, "Missing argument"),
    ("prepare missing", 2, "missing"),
    ("prepare empty", 1, "holds no images"),
    ("prepare ~nobody-of-this-name", 2, "There is no catalogue at ~nobody-of-this-name"),
    ("prepare empty --check --dry-run", 2, "Give one of them"),
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
    ("train --set base=~nobody-of-this-name", 2, "nobody-of-this-name"),
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
    ("export --format difusers", 2, "no exporter named 'difusers'. Did you mean 'diffusers'?"),
    ("index", 1, "Run: unidiff prepare CATALOG"),
    ("index --rollback", 1, "project holds no index from before"),
    ("index --rollback --force", 2, "Give --rollback alone"),
    ("index --rollback --engine ray", 2, "Give --rollback alone"),
    ("index --engine ray --part 1/2", 2, "--part and --engine ray were given"),
    ("index --engine spark", 2, "The engines are local and ray"),
    ("index --address auto", 2, "Add --engine ray"),
    ("index --set index.kind=flatt", 2, "no index named 'flatt'. Did you mean 'flat'?"),
    ("evaluate", 1, "Run: unidiff prepare CATALOG"),
    ("evaluate --alphas a,b", 2, "--alphas cannot read 'a,b'"),
    ("evaluate --folds 1", 2, "folds needs 2 or more"),
    ("evaluate --gate r1>=0.5", 2, "r1"),
    ("generate dress", 1, "Run: unidiff train"),
    ("generate", 2, "takes one of"),
    ("generate dress --prompts note.txt", 2, "takes one of"),
    ("generate dress --from foreign.png", 2, "takes one of"),
    ("generate --from foreign.png", 2, "does not hold how it was generated"),
    ("generate --from note.txt", 2, "does not hold how it was generated"),
    ("generate --from missing.png", 2, "no image missing.png"),
    ("generate --prompts missing.txt", 2, "missing.txt cannot be read"),
    ("generate --prompts foreign.png", 2, "foreign.png cannot be read as text"),
    ("generate dress -n 0", 2, "-n"),
    ("generate dress --guidance nan", 2, "guidance"),
    ("generate dress --seed -1", 2, "seed"),
    ("generate dress --seed 99999999999999999999", 2, "seed"),
    ("generate dress --steps x", 2, "steps"),
    ("retrieve", 2, "There is nothing to search for"),
    ("retrieve query.jpg", 2, "There is no image query.jpg"),
    ("retrieve ./photos/query", 2, "There is no image ./photos/query. If it is a text: --text"),
    ("retrieve black/white", 1, "'black/white' is read as a text, since there is no such file."),
    ("retrieve foreign.png --image foreign.png", 2, "2 images"),
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
    ("ablate --recipes joint,joint", 2, "Two recipes are named 'joint'"),
    ("ablate --recipes joint --seeds 0,x", 2, "--seeds cannot read 'x'"),
    ("ablate --recipes joint --folds 1", 2, "folds needs 2 or more"),
    ("ablate", 2, "ablate needs a plan, or --recipes"),
    ("ablate --recipes ,", 2, "ablate needs a plan, or --recipes"),
    ("ablate no-plan.yaml", 2, "no-plan.yaml cannot be read"),
    ("ablate plan.yaml --seeds 1", 2, "--seeds stands beside the plan plan.yaml"),
]


@pytest.mark.parametrize(("line", "code", "text"), WRONG, ids=[line for line, _, _ in WRONG])
def test_a_wrong_command_is_refused_in_a_sentence(unidiff, workplace, line, code, text):
    ended, out, err = unidiff("-C", "project", *line.split())
    assert (ended, out) == (code, ""), err
    assert words(text) in words(err)
    assert "Traceback" not in err
    files = {path.name for path in Path("project").iterdir()}
    assert files <= {"unidiff.yaml", ".gitignore", LOCK}, "something was written"


def test_an_unknown_key_is_named_with_its_file_and_line(unidiff, workplace):
    Path("project/unidiff.yaml").write_text(
        "schema_version: 2\nrecipe: fashion\ntrain:\n  stepz: 5\n  emma: 0.9\n"
    )
    code, out, err = unidiff("-C", "project", "train")
    assert code == 2 and out == ""
    assert "unidiff.yaml:4: no key in train named 'stepz'. Did you mean 'steps'?" in err
    assert "unidiff.yaml:5: no key in train named 'emma'. Did you mean 'ema'?" in err


# What a variable of the shell that is not set leaves of a command.
EMPTY = [
    ("prepare", ""),
    ("prepare", " "),
    ("prepare", "\u3000\t"),
    ("prepare", "empty", "--recipe", ""),
    ("prepare", "empty", "--max-bad", ""),
    ("prepare", "empty", "--set="),
    ("sample-catalog", ""),
    ("retrieve", " "),
    ("retrieve", "foreign.png", ""),
    ("retrieve", "--text", ""),
    ("retrieve", "dress", "--sheet", ""),
    ("generate", ""),
    ("generate", "\n"),
    ("generate", "--prompts", ""),
    ("generate", "--from", ""),
    ("index", "--export", " "),
    ("train", "--resume", "--run", ""),
    ("evaluate", "--alphas="),
    ("recipes", "copy", "fashion", ""),
    ("",),
]


@pytest.mark.parametrize("command", EMPTY, ids=repr)
def test_an_empty_argument_is_refused(unidiff, workplace, command):
    before = sorted(workplace.rglob("*"))
    code, out, err = unidiff("-C", "project", *command)
    assert (code, out) == (2, "") and "is empty" in err and "A variable of the shell" in err
    assert sorted(workplace.rglob("*")) == before


@pytest.mark.parametrize("project", ["", " "])
def test_an_empty_project_is_refused(unidiff, workplace, project):
    for option in (("-C", project), ("--project", project), (f"--project={project}",)):
        code, out, err = unidiff(*option, "prepare", "empty")
        assert (code, out) == (2, "") and "is empty" in err


def test_an_empty_negative_prompt_is_one(unidiff, workplace):
    for negative in (("--negative", ""), ("--negative=",)):
        code, _, err = unidiff("-C", "project", "generate", "dress", *negative)
        assert code == 1 and "Run: unidiff train" in err


@pytest.mark.parametrize("catalogue", ["/", "//", "/usr/..", "/."])
def test_the_whole_machine_is_no_catalogue(unidiff, workplace, catalogue):
    code, out, err = unidiff("-C", "project", "prepare", catalogue)
    assert (code, out) == (2, "") and "holds all files of this machine" in err


@pytest.mark.parametrize(
    "command", [("generate", "dress"), ("retrieve", "dress"), ("index",), ("evaluate",)]
)
def test_an_unknown_export_is_refused_with_the_nearest_name(unidiff, exported, command):
    code, _, err = unidiff("-C", exported.root, *command, "--export", "001-fashon")
    assert code == 2 and "Did you mean '001-fashion'?" in err
