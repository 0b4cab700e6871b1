"""evaluate on a tiny random base and a tiny random scorer: what it writes, refuses, repeats and leaves alone."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

from unidiff_cli import bases, metrics, sampling
from unidiff_cli.errors import EnvironmentProblem, UsageError, WorkError
from unidiff_cli.metrics import Evidence, HeldOut, _scorer
from unidiff_cli.metrics.recall import Recall
from unidiff_cli.project import Receipt, close
from unidiff_cli.shards import Shards
from unidiff_cli.stages.evaluate import evaluate

from .conftest import copy_project, load_recipe, write_base

SIDE = 32
KEYS = {"r1_t2i", "r5_t2i", "r10_t2i", "r1_i2t", "r5_i2t", "r10_i2t", "kid", "clip_score"}


@pytest.fixture(scope="module", autouse=True)
def scorer_folder(tmp_path_factory):
    """A random CLIP in the scorer's place, and one thread: models this small only wait for each other's."""
    folder = write_base(tmp_path_factory.mktemp("scorer"), seed=7) / "clip"
    threads, patch = torch.get_num_threads(), pytest.MonkeyPatch()
    torch.set_num_threads(1)
    patch.setattr(_scorer, "FOLDER", folder)
    metrics.scorer.cache_clear()
    yield folder
    patch.undo()
    metrics.scorer.cache_clear()
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def exported(tmp_path_factory, tiny_base, prepared):
    """A project with one export: another random base, as if it had been trained."""
    found = copy_project(prepared, tmp_path_factory.mktemp("exported"))
    folder = write_base(found.room("exports", "001-tiny"), seed=1)
    close(folder, Receipt("export", {"base": str(tiny_base), "image_size": SIDE}, {"runs/001-tiny": "x"}), 0)
    found.room("exports", "current").write_text("001-tiny\n")
    return found


@pytest.fixture
def project(exported, tmp_path):
    return copy_project(exported, tmp_path)


@pytest.fixture
def rows(project, recipe):
    return Shards.open(project.room("shards")).rows("test")


@pytest.fixture
def asking(tiny_base):
    """The shipped recipe on the tiny base with some of `evaluate` said otherwise."""

    def make(**options):
        said = {"images": 4, "examples": 3, **options}
        return load_recipe(
            tiny_base, "generate.steps=2", *(f"evaluate.{k}={json.dumps(v)}" for k, v in said.items())
        )

    return make


def test_the_report(project, asking, rows):
    seen = []
    receipt = evaluate(project, asking(), on_progress=lambda *what: seen.append(what))
    room = project.room("report")
    found = json.loads(
        (room / "report.json").read_text(), parse_constant=lambda text: pytest.fail(f"{text} in JSON")
    )
    assert set(receipt.figures) == {"base", "tuned"}
    assert set(receipt.figures["base"]) == set(receipt.figures["tuned"]) == KEYS
    assert {name: found[name] for name in ("base", "tuned")} == receipt.figures
    assert (
        receipt.inputs.keys() == {"shards", "exports/001-tiny"} and receipt.settings["export"] == "001-tiny"
    )
    assert found["counts"] == {
        "rows": len(rows),
        "captions": len({c for r in rows for c in r.captions}),
        "drawn": 4,
    }
    assert len(found["prompts"]) == len(found["seeds"]) == 4
    assert found["models"]["base"]["fingerprint"] != found["models"]["tuned"]["fingerprint"]
    assert found["chance"]["r1_t2i"] == pytest.approx(
        1 / found["counts"]["captions"]
    )  # as many pictures each
    assert "not Inception: comparable only within this report" in " ".join(found["notes"]["kid"])
    assert "neither the tuned model nor its base" in " ".join(found["notes"]["clip_score"])
    assert sorted(p.name for p in (room / "samples").iterdir()) == [
        f"{n}-{i:03d}.png" for n in ("base", "tuned") for i in range(3)
    ]
    assert Image.open(room / "samples" / "base-001.png").text["prompt"] == found["prompts"][1]
    assert {"base: drawing", "tuned: drawing", "base: real pictures"} <= {what for what, _, _ in seen}
    assert (
        "not a significance test" in found["verdict"] and f"{len(rows)} held-out pictures" in found["verdict"]
    )
    assert "| KID |" in (room / "report.md").read_text()


def test_the_page_is_one_file(project, asking):
    evaluate(project, asking())
    page = (project.room("report") / "report.html").read_text()
    assert not re.findall(r'(?:src|href)="(?!data:)', page) and "url(" not in page and "<script" not in page
    assert page.count("data:image/") == 3 * 3 + 3 * 2 * 5 and page.count("<svg") >= len(KEYS)
    assert "prefers-color-scheme: dark" in page and "@media print" in page


def test_a_second_evaluation_is_a_no_op(project, asking, monkeypatch):
    first = evaluate(project, asking(metrics=["recall"]))
    stamp = (project.room("report") / "report.json").stat().st_mtime_ns
    assert evaluate(project, asking(metrics=["recall"])).hash == first.hash
    assert (project.room("report") / "report.json").stat().st_mtime_ns == stamp
    again = evaluate(project, asking(metrics=["recall"]), force=True)
    assert (project.room("report") / "report.json").stat().st_mtime_ns != stamp
    assert again.hash == first.hash, "the same work gives the same figures"
    assert evaluate(project, asking(metrics=["recall"], seed=1)).hash != first.hash


def test_what_is_not_asked_is_not_made(project, asking, monkeypatch):
    monkeypatch.setattr(Evidence, "generated", property(lambda self: pytest.fail("drawn for nothing")))
    monkeypatch.setattr(metrics, "scorer", lambda: pytest.fail("loaded for nothing"))
    receipt = evaluate(project, asking(metrics=["recall"]))
    assert set(receipt.figures["base"]) == {k for k in KEYS if k[0] == "r"}
    assert list((project.room("report") / "samples").iterdir()) == []
    monkeypatch.undo()
    monkeypatch.setattr(Evidence, "image_embeds", property(lambda self: pytest.fail("embedded for nothing")))
    assert set(evaluate(project, asking(metrics=["clip_score"])).figures["base"]) == {"clip_score"}


def test_a_base_against_itself_changes_nothing(project, asking, tiny_base):
    made = Receipt.read(project.room("exports", "001-tiny"))
    twin = project.room("exports", "002-twin")
    shutil.copytree(tiny_base, twin)
    close(twin, made, 0)
    figures = evaluate(project, asking(), export="002-twin").figures
    assert figures["base"] == figures["tuned"]
    assert "Retrieval is about the same" in (project.room("report") / "report.md").read_text()


def test_evidence_is_made_once(project, asking, rows, tiny_base, monkeypatch):
    calls, draw = [], sampling.sample
    monkeypatch.setattr(sampling, "sample", lambda *a, **k: calls.append(1) or draw(*a, **k))
    held = HeldOut(Shards.open(project.room("shards")), rows, asking().evaluate, asking().generate)
    evidence = Evidence(bases.load(str(tiny_base), SIDE), held)
    assert evidence.generated_features.shape == (4, 32) and evidence.generated_embeds.shape == (4, 16)
    assert (
        evidence.real_features.shape == (len(rows), 32) and evidence.real_features is evidence.real_features
    )
    assert evidence.similarity.shape == (len(held.captions), len(rows)) and len(calls) == 1
    assert np.allclose(np.linalg.norm(evidence.real_embeds, axis=1), 1, atol=1e-5)


def test_the_scorer_is_transformers_clip(scorer_folder):
    """Both embeddings equal what CLIPModel gives; at the scorer's own size clean-fid's resize is the identity."""
    eye, clip = metrics.scorer(), CLIPModel.from_pretrained(scorer_folder)
    pixels = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)
    processor, words = (
        CLIPImageProcessor.from_pretrained(scorer_folder),
        CLIPTokenizer.from_pretrained(scorer_folder),
    )
    features, embeds = eye.embed_pictures([Image.fromarray(p) for p in pixels], batch_size=2)
    vision = clip.get_image_features(**processor([Image.fromarray(p) for p in pixels], return_tensors="pt"))
    theirs = torch.nn.functional.normalize(getattr(vision, "pooler_output", vision), dim=-1).detach().numpy()
    assert np.allclose(embeds, theirs, atol=1e-5) and features.shape == (3, 32)
    ids = words(["red dress", "hat"], padding=True, return_tensors="pt")
    text = clip.get_text_features(**ids)
    theirs = torch.nn.functional.normalize(getattr(text, "pooler_output", text), dim=-1).detach().numpy()
    mine = eye.embed_captions(["red dress", "hat"])
    assert np.allclose(mine, theirs, atol=1e-5) and not np.allclose(mine[0], mine[1])
    assert eye.cut(["hat", "a very long caption " * 5]) == 1


def test_pictures_of_other_shapes_are_cropped_then_resized():
    eye = metrics.scorer()
    wide = Image.new("RGB", (60, 30), "red")
    wide.paste("blue", (15, 0, 45, 30))
    assert np.allclose(
        eye.embed_pictures([wide])[0], eye.embed_pictures([Image.new("RGB", (30, 30), "blue")])[0], atol=1e-5
    )


# ---------------------------------------------------------------- what is refused


def test_an_empty_split_names_the_way_out(project, asking, monkeypatch):
    monkeypatch.setattr(Shards, "rows", lambda self, split=None: [])
    with pytest.raises(WorkError, match="no val pictures.*prepare.splits.*evaluate.split"):
        evaluate(project, asking(split="val"))
    assert not project.room("report").exists()


def test_unknown_export_and_missing_scorer(project, asking, monkeypatch, tmp_path):
    with pytest.raises(UsageError, match="Did you mean '001-tiny'"):
        evaluate(project, asking(), export="001-tin")
    monkeypatch.setattr(_scorer, "FOLDER", tmp_path / "nowhere")
    metrics.scorer.cache_clear()
    with pytest.raises(EnvironmentProblem):
        evaluate(project, asking(metrics=["clip_score"]))
    monkeypatch.undo()
    metrics.scorer.cache_clear()
    assert not project.room("report").exists()


def test_broken_weights_give_no_figure(project, asking, monkeypatch):
    evaluate(project, asking(metrics=["recall"]))
    monkeypatch.setattr(Recall, "compute", lambda self, evidence: {"r1_t2i": float("nan")})
    with pytest.raises(WorkError, match="r1_t2i of the base model is no number"):
        evaluate(project, asking(metrics=["recall"]), force=True)
    assert (project.room("report") / "report.json").exists(), "the old report stays"


def test_an_export_of_other_shards_is_said(project, asking):
    run = project.room("runs", "001-tiny")
    run.mkdir(parents=True)
    close(run, Receipt("train", {}, {"shards": "another"}), 0)
    evaluate(project, asking(metrics=["recall"]))
    assert "may have seen these pictures" in (project.room("report") / "report.html").read_text()


def test_a_trained_export_is_measured_against_its_base(finished, tmp_path, asking):
    """The seam to train and export: their receipts say which base, which size and which shards."""
    project = copy_project(finished, tmp_path)
    receipt = evaluate(project, asking())
    found = json.loads((project.room("report") / "report.json").read_text())
    made = Receipt.read(project.export())
    assert found["models"]["tuned"]["fingerprint"] == made.figures["fingerprint"]
    assert found["models"]["base"]["fingerprint"] != made.figures["fingerprint"]
    assert found["notes"]["data"] == [] and set(receipt.figures["tuned"]) == KEYS
