"""`unidiff train` and `unidiff export`."""

from types import SimpleNamespace

import pytest

from tests.support.cli import on_tiny_base
from tests.support.projects import FASHION, copy_project, load_recipe


def test_a_dry_run_writes_nothing_and_shows_the_recipe_in_force(unidiff, project, monkeypatch):
    before = sorted(project.root.rglob("*"))
    monkeypatch.setenv("UNIDIFF_TRAIN__WARMUP", "1")
    options = ("--dry-run", "--set", "train.steps=7", "--recipe", "joint")
    options += ("--set", "objectives.prior.images=6")
    code, out, err = unidiff("-C", project.root, "train", *options)
    assert "the base generates 6 general images before, those that cache/ lacks" in out
    assert code == 0 and "steps: 7" in out and "warmup: 1" in out and "plan: run 001-joint" in out
    assert "consistency:" not in out and "recipe joint" in err
    assert sorted(project.root.rglob("*")) == before
    assert f"recipe: {FASHION}" in project.file.read_text()


def test_a_dry_run_shows_what_steps_auto_is_and_why(unidiff, project, tiny_base):
    options = ("--dry-run", "--set", f"base={tiny_base}", "--set", "train.steps=auto")
    code, out, _ = unidiff("-C", project.root, "train", *options)
    assert code == 0 and "\n  steps: 329\n" in out and "329 steps of 8" in out
    # 12 √(1000 · 48) / 8
    assert (
        "  steps 329: 54.8 passes over 48 " in out
        and "training images, 8 a step (train.pace: 12 passes" in out
    )


def test_the_same_training_again_does_nothing(unidiff, finished, tiny_base, tmp_path):
    project = copy_project(finished, tmp_path)
    recipe = load_recipe(tiny_base).yaml().replace("name: fashion\n", f"recipe: {FASHION}\n")
    project.file.write_text(recipe)
    code, out, err = unidiff("-C", project.root, "train")
    assert code == 0 and "Nothing to do: run 001-fashion" in err and "001-fashion: 6 steps" in out
    assert project.runs() == ["001-fashion"]


@pytest.fixture
def trained(finished, tmp_path, tiny_base):
    return on_tiny_base(copy_project(finished, tmp_path), tiny_base)


def test_a_blend_stands_beside_the_plain_export(unidiff, trained):
    code, out, err = unidiff("-C", trained.root, "export", "--alpha", "0.5")
    assert code == 0 and "exports/001-fashion-a0.5" in out and "Next: unidiff index" in err
    assert trained.exports() == ["001-fashion", "001-fashion-a0.5"]


def test_the_same_export_again_does_nothing(unidiff, trained):
    unidiff("-C", trained.root, "export", "--alpha", "0.5")
    code, _, err = unidiff("-C", trained.root, "export", "001-fashion", "--alpha", "0.5")
    assert code == 0 and "Nothing to do: exports/001-fashion-a0.5" in err


def test_a_share_is_a_number_or_auto(unidiff, trained):
    code, _, err = unidiff("-C", trained.root, "export", "--alpha", "half")
    assert code == 2 and "--alpha is 'half'; it is a share of the tuned weights, or auto." in err
    code, out, err = unidiff("-C", trained.root, "export", "--alpha-clip", "auto")
    assert code == 0 and "exports/001-fashion-auto" in out and "of CLIP's towers:" in err


def test_a_format_by_its_name_is_the_default_one(unidiff, trained):
    code, _, err = unidiff("-C", trained.root, "export", "--format", "diffusers")
    assert code == 0 and "Nothing to do: exports/001-fashion is" in err


def test_progress_shows_terms_speed_memory_and_the_time_left(monkeypatch, capsys):
    from unidiff_cli.cli import bars

    clock = iter([100.0, 100.0, 112.0, 112.0, 124.0, 124.0])
    monkeypatch.setattr(bars, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    show = bars.Bars().step(11, ["contrastive", "denoise"])
    figures = {"loss": 2.5, "contrastive": 1.5, "lr": 1.0}
    for step in (1, 2, 3):
        show({"step": step, "samples_per_second": 8.0, "memory_mb": 1536.0, **figures})
    last = capsys.readouterr().err.splitlines()[-1]
    assert "3 of 11  loss 2.5000 (contrastive 1.500)  8.0 samples/s  1.5 GB  2 min left" in last


def test_on_a_narrow_terminal_nothing_is_cut_off(monkeypatch):
    import io

    from rich.console import Console

    from unidiff_cli.cli import bars

    screen = Console(file=io.StringIO(), force_terminal=True, width=60, soft_wrap=True)
    monkeypatch.setattr(bars, "err", screen)
    names = ["anchor", "consistency", "contrastive", "denoise", "image_contrast"]
    line = {"step": 3, "loss": 2.5, "samples_per_second": 8.0, "memory_mb": 1536.0}
    with bars.shown() as shown:
        shown.step(11, names)({**line, **dict.fromkeys(names, 1.5)})
    text = " ".join(screen.file.getvalue().split())
    assert "3/11" in text and "image_contrast 1.500) 8.0 samples/s 1.5 GB" in text


def test_flags_after_the_dashes_are_accelerate_s(unidiff, project):
    asked = ("-C", project.root, "train", "--dry-run", "--set", "train.precision=auto")
    code, out, _ = unidiff(*asked, "--", "--mixed_precision", "bf16")
    assert code == 0 and "precision: bf16" in out
    code, _, err = unidiff("-C", project.root, "train", "--dry-run", "nonsense")
    assert code == 2 and "'nonsense' is no flag of accelerate launch" in err
