"""evaluate on a tiny random base and a tiny random scorer: what it writes, refuses, repeats and leaves alone."""

import copy
import io
import json
import re

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from tokenizers import pre_tokenizers
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionConfig,
)

from unidiff_cli import metrics, report, shards
from unidiff_cli.errors import EnvironmentProblem, UsageError, WorkError
from unidiff_cli.metrics import Evidence, HeldOut, _scorer
from unidiff_cli.project import Project, Receipt, close
from unidiff_cli.recipe import Evaluate, Generate, Recipe
from unidiff_cli.stages.evaluate import evaluate

SIDE, WORDS = 16, ("red", "blue", "green", "grey")
KEYS = {"r1_t2i", "r5_t2i", "r10_t2i", "r1_i2t", "r5_i2t", "r10_i2t", "kid", "clip_score"}


def make_tokenizer():
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    symbols = [*alphabet, *(s + "</w>" for s in alphabet), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer({s: i for i, s in enumerate(symbols)}, [], model_max_length=24)


def make_clip(seed, width=32):
    torch.manual_seed(seed)
    words = make_tokenizer()
    ids = {
        "bos_token_id": words.bos_token_id,
        "eos_token_id": words.eos_token_id,
        "pad_token_id": words.pad_token_id,
    }
    shape = {
        "hidden_size": width,
        "intermediate_size": width,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    text = CLIPTextConfig(
        vocab_size=len(words), max_position_embeddings=24, projection_dim=16, **shape, **ids
    )
    vision = CLIPVisionConfig(image_size=SIDE, patch_size=8, projection_dim=16, **shape)
    config = CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=16)
    return CLIPModel(config).eval()


def save_clip(clip, folder):
    clip.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    CLIPImageProcessor(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
    ).save_pretrained(folder)


def save_base(clip, folder, seed):
    torch.manual_seed(seed)
    text = CLIPTextModel(copy.deepcopy(clip.config.text_config))
    text.load_state_dict(
        {k: clip.text_model.state_dict()[k.removeprefix("text_model.")] for k in text.state_dict()}
    )
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderKL(block_out_channels=(8, 8), down_block_types=("DownEncoderBlock2D",) * 2,
                          up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4, norm_num_groups=4, sample_size=SIDE),
        unet=UNet2DConditionModel(sample_size=8, block_out_channels=(8, 16), layers_per_block=1, cross_attention_dim=32,
                                  down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), norm_num_groups=4,
                                  up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), attention_head_dim=2),
        text_encoder=text, tokenizer=make_tokenizer(), scheduler=DDIMScheduler(), safety_checker=None,
        feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.save_pretrained(folder)
    save_clip(clip, folder / "clip")


def square(color):
    stream = io.BytesIO()
    Image.new("RGB", (24, 20), color).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="module", autouse=True)
def scorer_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scorer") / "nano_scorer"
    save_clip(make_clip(7), folder)
    patch = pytest.MonkeyPatch()
    patch.setattr(_scorer, "FOLDER", folder)
    metrics.scorer.cache_clear()
    yield folder
    patch.undo()
    metrics.scorer.cache_clear()


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(("base", "tuned")):
        save_base(make_clip(seed), folder / name, seed)
    return folder


@pytest.fixture
def project(tmp_path, models):
    """A project with shards of eight test pictures, and one export."""
    found = Project(tmp_path / "shop")
    found.create()
    room = found.room("shards")
    room.mkdir()
    samples = [
        (
            shards.Row(
                key=f"{i:09d}",
                id=str(i),
                split="test",
                group=str(i),
                captions=(f"{w} dress {i % 6}",),
                attributes={},
            ),
            square(w),
        )
        for i, w in enumerate(WORDS * 2)
    ]
    rows, files = shards.write(room, "test", samples, 100)
    receipt = Receipt(
        "prepare", {"catalogue": {}}, files={**files, shards.INDEX: shards.write_index(room, rows)}
    )
    close(room, receipt, 0)
    made = Receipt("export", {"base": str(models / "base"), "image_size": SIDE}, {"runs/001-tiny": "x"})
    exported = found.room("exports", "001-tiny")
    exported.parent.mkdir()
    import shutil

    shutil.copytree(models / "tuned", exported)
    close(exported, made, 0)
    found.room("exports", "current").write_text("001-tiny\n")
    return found


def recipe(**options):
    return Recipe(
        evaluate=Evaluate(**{"images": 4, "examples": 3, **options}),
        generate=Generate(steps=2, guidance=2.0, batch_size=2),
    )


def test_the_report(project):
    seen = []
    receipt = evaluate(project, recipe(), on_progress=lambda *what: seen.append(what))
    room = project.room("report")
    found = json.loads(
        (room / "report.json").read_text(), parse_constant=lambda text: pytest.fail(f"{text} in JSON")
    )
    assert set(receipt.figures) == {"base", "tuned"}
    assert set(receipt.figures["base"]) == set(receipt.figures["tuned"]) == KEYS
    assert found["figures"] == receipt.figures
    assert (
        receipt.inputs.keys() == {"shards", "exports/001-tiny"} and receipt.settings["export"] == "001-tiny"
    )
    assert found["counts"] == {"rows": 8, "captions": 8, "drawn": 4}
    assert len(found["prompts"]) == len(found["seeds"]) == 4
    assert found["models"]["base"]["fingerprint"] != found["models"]["tuned"]["fingerprint"]
    assert found["chance"]["r1_t2i"] == pytest.approx(1 / 8)
    assert "not Inception: comparable only within this report" in " ".join(found["notes"]["kid"])
    assert "neither the tuned model nor its base" in " ".join(found["notes"]["clip_score"])
    assert sorted(p.name for p in (room / "samples").iterdir()) == [
        f"{n}-{i:03d}.png" for n in ("base", "tuned") for i in range(3)
    ]
    assert Image.open(room / "samples" / "base-001.png").text["prompt"] == found["prompts"][1]
    assert {"base: drawing", "tuned: drawing", "base: real pictures"} <= {what for what, _, _ in seen}
    assert "not a significance test" in found["verdict"] and "8 held-out pictures" in found["verdict"]
    assert "| KID |" in (room / "report.md").read_text()


def test_the_page_is_one_file(project):
    evaluate(project, recipe())
    page = (project.room("report") / "report.html").read_text()
    assert not re.findall(r'(?:src|href)="(?!data:)', page) and "url(" not in page and "<script" not in page
    assert page.count("data:image/") >= 3 * 3 + 6 * 2 * 5 and page.count("<svg") >= len(KEYS)
    assert "prefers-color-scheme: dark" in page and "@media print" in page


def test_captions_are_text_in_the_page(project):
    evil = "<script>alert(1)</script> & 'dress'"
    found = {
        "verdict": "",
        "described": {},
        "figures": {"base": {}, "tuned": {}},
        "margins": {},
        "chance": {},
        "real": {},
    }
    found |= {
        "export": "x",
        "split": "test",
        "images": 1,
        "notes": {"data": [evil]},
        "counts": {"rows": 1, "captions": 1, "drawn": 0},
    }
    found |= {"scorer": None, "models": {}, "versions": {}, "prompts": [evil]}
    white = Image.new("RGB", (8, 8), "white")
    page = report.page(found, [{"caption": evil, "answers": {"base": [(white, True)]}}], [])
    assert "<script" not in page and page.count("&lt;script&gt;") == 3


def test_a_second_evaluation_is_a_no_op(project, monkeypatch):
    first = evaluate(project, recipe(metrics=("recall",)))
    stamp = (project.room("report") / "report.json").stat().st_mtime_ns
    assert evaluate(project, recipe(metrics=("recall",))).hash == first.hash
    assert (project.room("report") / "report.json").stat().st_mtime_ns == stamp
    again = evaluate(project, recipe(metrics=("recall",)), force=True)
    assert (project.room("report") / "report.json").stat().st_mtime_ns != stamp
    assert again.hash == first.hash, "the same work gives the same figures"
    assert evaluate(project, recipe(metrics=("recall",), seed=1)).hash != first.hash


def test_what_is_not_asked_is_not_made(project, monkeypatch):
    monkeypatch.setattr(Evidence, "generated", property(lambda self: pytest.fail("drawn for nothing")))
    monkeypatch.setattr(metrics, "scorer", lambda: pytest.fail("loaded for nothing"))
    receipt = evaluate(project, recipe(metrics=("recall",)))
    assert set(receipt.figures["base"]) == {k for k in KEYS if k[0] == "r"}
    assert list((project.room("report") / "samples").iterdir()) == []
    monkeypatch.undo()
    monkeypatch.setattr(Evidence, "image_embeds", property(lambda self: pytest.fail("embedded for nothing")))
    assert set(evaluate(project, recipe(metrics=("clip_score",))).figures["base"]) == {"clip_score"}


def test_a_base_against_itself_changes_nothing(project, models):
    import shutil

    made = Receipt.read(project.room("exports", "001-tiny"))
    twin = project.room("exports", "002-twin")
    shutil.copytree(models / "base", twin)
    close(twin, made, 0)
    figures = evaluate(project, recipe(), export="002-twin").figures
    assert figures["base"] == figures["tuned"]
    assert "Retrieval is about the same" in (project.room("report") / "report.md").read_text()


def test_evidence_is_made_once(project, models, monkeypatch):
    from unidiff_cli import bases, sampling

    calls, draw = [], sampling.sample
    monkeypatch.setattr(sampling, "sample", lambda *a, **k: calls.append(1) or draw(*a, **k))
    found = shards.Shards.open(project.room("shards"))
    held = HeldOut(found, found.rows("test"), recipe().evaluate, recipe().generate)
    evidence = Evidence(bases.load(str(models / "base"), SIDE), held)
    assert evidence.generated_features.shape == (4, 32) and evidence.generated_embeds.shape == (4, 16)
    assert evidence.real_features.shape == (8, 32) and evidence.real_features is evidence.real_features
    assert evidence.similarity.shape == (8, 8) and len(calls) == 1
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


def test_an_empty_split_names_the_way_out(project):
    with pytest.raises(WorkError, match="no val pictures.*prepare.splits.*evaluate.split"):
        evaluate(project, recipe(split="val"))
    assert not project.room("report").exists()


def test_unknown_export_and_missing_scorer(project, monkeypatch, tmp_path):
    with pytest.raises(UsageError, match="Did you mean '001-tiny'"):
        evaluate(project, recipe(), export="001-tin")
    monkeypatch.setattr(_scorer, "FOLDER", tmp_path / "nowhere")
    metrics.scorer.cache_clear()
    with pytest.raises(EnvironmentProblem):
        evaluate(project, recipe(metrics=("clip_score",)))
    monkeypatch.undo()
    metrics.scorer.cache_clear()
    assert not project.room("report").exists()


def test_broken_weights_give_no_figure(project, monkeypatch):
    evaluate(project, recipe(metrics=("recall",)))
    from unidiff_cli.metrics.recall import Recall

    monkeypatch.setattr(Recall, "compute", lambda self, evidence: {"r1_t2i": float("nan")})
    with pytest.raises(WorkError, match="r1_t2i of the base model is no number"):
        evaluate(project, recipe(metrics=("recall",)), force=True)
    assert (project.room("report") / "report.json").exists(), "the old report stays"


def test_an_export_of_other_shards_is_said(project):
    run = project.room("runs", "001-tiny")
    run.mkdir(parents=True)
    close(run, Receipt("train", {}, {"shards": "another"}), 0)
    evaluate(project, recipe(metrics=("recall",)))
    assert "may have seen these pictures" in (project.room("report") / "report.html").read_text()
