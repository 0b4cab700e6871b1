"""The stage: which weights are exported, how they are blended, and what is refused."""

import pytest

from tests.support.plugins import installed
from tests.support.projects import copy_project, load_recipe
from unidiff_cli import evaluate, export, generate, index, retrieve
from unidiff_cli.errors import NotReady, UsageError
from unidiff_cli.evaluation.alpha import ChosenAlpha, MeasuredAlpha
from unidiff_cli.exporters import export as export_stage
from unidiff_cli.generation.record import read_record
from unidiff_cli.models import loading, sources
from unidiff_cli.project.files import files_below
from unidiff_cli.project.receipt import RECEIPT, Receipt


@pytest.fixture
def project(finished, tmp_path):
    return copy_project(finished, tmp_path)


def weights(source):
    return loading.load_base(str(source), 32).state_dict()


@pytest.mark.parametrize("alpha", [0, 0.25, 0.5])
def test_alpha_blends_every_weight_of_base_and_tuned(project, tiny_base, alpha):
    base, tuned = weights(tiny_base), weights(project.export("001-fashion"))
    assert any((base[key] != tuned[key]).any() for key in base)
    name, _ = export(project, alpha=alpha)
    assert name == f"001-fashion-a{alpha:g}"
    for key, weight in weights(project.export(name)).items():
        expected = (1 - alpha) * base[key].double() + alpha * tuned[key].double()
        assert abs(weight.double() - expected).max() <= 1e-7 * (1 + abs(expected).max()), key


@pytest.mark.parametrize(("clip", "denoiser"), [(0.5, 1), (1, 0), (0.25, 0.75)])
def test_towers_are_blended_apart(project, tiny_base, clip, denoiser):
    base, tuned = weights(tiny_base), weights(project.export("001-fashion"))
    name, receipt = export(project, alpha_clip=clip, alpha_denoiser=denoiser)
    assert name == f"001-fashion-c{clip:g}-d{denoiser:g}"
    moved = set()
    for key, weight in weights(project.export(name)).items():
        alpha = denoiser if key.startswith("unet.") else clip
        expected = (1 - alpha) * base[key].double() + alpha * tuned[key].double()
        assert abs(weight.double() - expected).max() <= 1e-7 * (1 + abs(expected).max()), key
        moved |= {key.split(".")[0]} if (base[key] != tuned[key]).any() else set()
    assert {"unet", "clip"} <= moved
    assert receipt.remake.startswith(f"unidiff export 001-fashion --alpha-clip {clip:g}")


def test_one_share_is_that_of_both(project):
    half = export(project, alpha=0.5)
    assert export(project, alpha_clip=0.5, alpha_denoiser=0.5)[1].finished == half[1].finished
    assert export(project, alpha=0.5, alpha_clip=1)[0] == "001-fashion-c1-d0.5"


def test_alpha_0_is_the_base_bit_for_bit(project, tiny_base):
    name, receipt = export(project, alpha=0)
    assert receipt.figures["weights_hash"] == loading.load_base(str(tiny_base), 32).weights_hash


def test_alpha_1_is_the_plain_export_and_does_nothing_again(project):
    plain = Receipt.read(project.export())
    assert export(project, alpha=1)[1].finished == plain.finished


def test_a_blend_is_another_work_than_the_plain_export(project):
    plain, half = Receipt.read(project.export()), export(project, alpha=0.5)[1]
    assert half.hash != plain.hash
    assert (half.settings["alpha_clip"], plain.settings["alpha_clip"]) == (0.5, 1)
    assert half.figures["weights_hash"] != plain.figures["weights_hash"]
    assert export(project, alpha=0.5)[1].finished == half.finished


def test_a_blend_is_indexed_generated_with_and_measured_by_its_name(project, recipe):
    name, _ = export(project, alpha=0.5)
    index(project, export=name)
    assert retrieve(project, "red dress", k=1, export=name)
    [folder] = generate(project, ["red dress"], count=1, export=name)
    assert read_record(folder / "0.png").export == name
    measured = evaluate(project, load_recipe(recipe.base, "evaluate.metrics=[recall]"), export=name)
    assert measured.settings["export"] == name


def test_the_last_export_that_was_asked_for_is_the_current_one(project):
    name, _ = export(project, alpha=0.5)
    assert project.export().name == name == "001-fashion-a0.5"
    assert export(project)[0] == "001-fashion" == project.export().name


def test_the_receipt_lists_the_files_of_the_format(project):
    receipt = Receipt.read(project.export())
    names = {p.relative_to(project.export()).as_posix() for p in files_below(project.export())}
    assert {"model_index.json", "unet/diffusion_pytorch_model.safetensors"} <= set(receipt.files)
    assert {*receipt.files, *receipt.changing, RECEIPT} == names


# ---------------------------------------------------------------- chosen by validation

CHOSEN = ChosenAlpha(0.4, "the smallest", True, [MeasuredAlpha(0.4, 0.5, {"map_t2i": 0.5}, 0, 0)])


@pytest.fixture
def chooses(monkeypatch):
    """What stands in for the measuring, and how often it was asked."""
    calls = []

    def choose(*arguments):
        calls.append(arguments)
        return CHOSEN

    monkeypatch.setattr(export_stage, "choose_alpha", choose)
    return calls


def test_the_chosen_share_is_blended_recorded_and_said(project, chooses, caplog):
    caplog.set_level("INFO", "unidiff")
    name, receipt = export(project, alpha="auto")
    assert name == "001-fashion-auto" == project.export().name
    assert "alpha 0.4 of CLIP's towers: the smallest" in caplog.text
    assert receipt.settings["alpha_clip"] == "auto" and receipt.settings["alpha_denoiser"] == 1
    assert receipt.figures["alpha"]["alpha"] == 0.4
    assert receipt.figures["alpha"]["measured"][0]["map"] == 0.5
    fixed = export(project, alpha_clip=0.4, alpha_denoiser=1)[1]
    assert receipt.figures["weights_hash"] == fixed.figures["weights_hash"]
    card = (project.path("exports", name) / "README.md").read_text()
    assert (
        "It is\n0.4: the smallest." in card
        and "| 0.4 | 0.5000 | 0.0000 | 0.0000 | 0.5000 |" in card
    )
    assert "0.4 of\nCLIP's towers and 1 of the denoiser are tuned" in card
    assert "--alpha-clip auto --alpha-denoiser 1" in receipt.remake
    # Finished work is not measured again.
    assert export(project, alpha="auto")[1].finished == receipt.finished and len(chooses) == 1


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, "001-fashion"),
        ({"alpha": 1}, "001-fashion-a1"),
        ({"alpha_clip": 0.7}, "001-fashion-c0.7-d1"),
        ({"alpha_denoiser": 0.5}, "001-fashion-auto-d0.5"),
    ],
)
def test_a_share_that_is_given_wins_over_the_recipe(project, monkeypatch, chooses, options, name):
    run_recipe = export_stage.read_run_recipe(project.path("runs", "001-fashion"))
    train = run_recipe.train.model_copy(update={"alpha": "auto"})
    auto = run_recipe.model_copy(update={"train": train})
    monkeypatch.setattr(export_stage, "read_run_recipe", lambda folder: auto)
    written, receipt = export(project, **options)
    assert written == name
    assert (
        ("alpha" in receipt.figures) == bool(chooses) == (receipt.settings["alpha_clip"] == "auto")
    )


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_an_alpha_that_is_no_share_is_refused(finished, alpha):
    with pytest.raises(UsageError, match="alpha is"):
        export(finished, alpha=alpha)


def test_other_base_weights_than_the_run_began_with_are_refused(project, monkeypatch):
    monkeypatch.setattr(sources, "files_hash", lambda base: "another")
    with pytest.raises(NotReady, match="The base's weights changed since run 001-fashion began"):
        export(project, alpha=0.5)


def test_an_unknown_format_is_refused_with_the_nearest_name(finished):
    with pytest.raises(UsageError, match="no exporter named 'difusers'. Did you mean 'diffusers'"):
        export(finished, format="difusers")


# ---------------------------------------------------------------- another format

NAMES = """
    from typing import ClassVar
    from unidiff_cli.errors import UsageError
    from unidiff_cli.exporters import Exporter

    class Names(Exporter):
        '''The names of all weights.'''
        description: ClassVar[str] = "a list of names"
        refuses: ClassVar[bool] = False

        def check(self, base):
            if self.refuses:
                raise UsageError("It cannot be listed.")

        def write(self, base, folder):
            (folder / "names.txt").write_text("\\n".join(base.state_dict()))
"""


@pytest.fixture
def names(monkeypatch, tmp_path):
    """The class of an exporter that is no base, from another package."""
    folder = tmp_path / "package"
    folder.mkdir()
    with installed(monkeypatch, folder, "exporters", "names", NAMES) as exporter:
        yield exporter


def test_another_format_stands_in_its_own_folder_and_is_not_current(project, names):
    before = project.exports()
    name, receipt = export(project, format="names")
    folder = project.path("exports", name)
    assert name == "names/001-fashion" and project.export().name == "001-fashion"
    assert project.exports() == before
    assert list(receipt.files) == ["names.txt"]
    assert sorted(p.name for p in folder.iterdir()) == ["README.md", "names.txt", "receipt.json"]
    assert "This folder is a list of names." in (folder / "README.md").read_text()
    assert export(project, format="names")[1].finished == receipt.finished


def test_a_format_refuses_before_anything_is_written(project, names, monkeypatch):
    monkeypatch.setattr(names, "refuses", True)
    with pytest.raises(UsageError, match="It cannot be listed"):
        export(project, format="names")
    assert not project.path("exports", "names").exists()
