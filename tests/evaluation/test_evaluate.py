"""evaluate on a tiny random base and a tiny random scorer: what it writes, refuses, repeats and leaves alone."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

from tests.support.base import write_base
from tests.support.projects import copy_project, load_recipe
from unidiff_cli import export, train
from unidiff_cli.data.shards import Shards
from unidiff_cli.errors import EnvironmentProblem, Interrupted, UsageError, WorkError
from unidiff_cli.evaluation import array_cache, extractors
from unidiff_cli.evaluation.array_cache import ArrayCache
from unidiff_cli.evaluation.eval_set import EvalSet
from unidiff_cli.evaluation.evaluate import compare, evaluate
from unidiff_cli.evaluation.extractors import nano_scorer
from unidiff_cli.evaluation.measure import named
from unidiff_cli.evaluation.metrics.diversity import Diversity
from unidiff_cli.evaluation.metrics.near_copies import NearCopies
from unidiff_cli.evaluation.metrics.recall import Recall
from unidiff_cli.evaluation.metrics.retention import Retention
from unidiff_cli.evaluation.model_under_test import ModelUnderTest
from unidiff_cli.evaluation.outputs import ModelOutputs
from unidiff_cli.models import loading, sampler, sources
from unidiff_cli.project.receipt import Receipt, close
from unidiff_cli.project.status import folders

SIDE = 32
THREE = ("recall", "kid", "clip_score")
KEYS = {
    f"{figure}_{way}" for figure in ("r1", "r5", "r10", "map", "medr") for way in ("t2i", "i2t")
} | {
    "kid",
    "clip_score",
}


@pytest.fixture(scope="module", autouse=True)
def scorer_folder(tmp_path_factory):
    """A random CLIP in the scorer's place, and one thread: models this small only wait for each other's."""
    folder = write_base(tmp_path_factory.mktemp("scorer"), seed=7) / "clip"
    threads, patch = torch.get_num_threads(), pytest.MonkeyPatch()
    torch.set_num_threads(1)
    patch.setattr(nano_scorer, "FOLDER", folder)
    extractors.scorer.cache_clear()
    yield folder
    patch.undo()
    extractors.scorer.cache_clear()
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def exported(tmp_path_factory, tiny_base, prepared):
    """A project with one export: another random base, as if it had been trained."""
    found = copy_project(prepared, tmp_path_factory.mktemp("exported"))
    folder = write_base(found.path("exports", "001-tiny"), seed=1)
    close(
        folder,
        Receipt("export", {"base": str(tiny_base), "image_size": SIDE}, {"runs/001-tiny": "x"}),
        0,
    )
    found.path("exports", "current").write_text("001-tiny\n")
    return found


@pytest.fixture
def project(exported, tmp_path):
    return copy_project(exported, tmp_path)


@pytest.fixture
def rows(project, recipe):
    return Shards.open(project.path("shards")).rows("test")


@pytest.fixture
def asking(tiny_base):
    """The shipped recipe on the tiny base with some of `evaluate` said otherwise."""

    def make(**options):
        said = {"images": 4, "examples": 3, "metrics": THREE, **options}
        return load_recipe(
            tiny_base,
            "generate.steps=2",
            *(f"evaluate.{k}={json.dumps(v)}" for k, v in said.items()),
        )

    return make


def test_the_report(project, asking, rows):
    seen = []
    receipt = evaluate(project, asking(), on_progress=lambda *what: seen.append(what))
    room = project.path("report")
    found = json.loads(
        (room / "report.json").read_text(),
        parse_constant=lambda text: pytest.fail(f"{text} in JSON"),
    )
    assert set(receipt.figures) == {"base", "tuned"}
    assert set(receipt.figures["base"]) == set(receipt.figures["tuned"]) == KEYS
    values = {
        name: {k: f["value"] for k, f in found["figures"][name].items()}
        for name in ("base", "tuned")
    }
    assert values == receipt.figures
    assert (
        receipt.inputs.keys() == {"shards", "exports/001-tiny"}
        and receipt.settings["export"] == "001-tiny"
    )
    captions = len({c for r in rows for c in r.captions})
    assert found["counts"] == {
        "rows": len(rows),
        "groups": len({r.group for r in rows}),
        "captions": captions,
        "drawn": 4,
    }
    assert len(found["prompts"]) == len(found["seeds"]) == 4
    assert found["models"]["base"]["weights"] != found["models"]["tuned"]["weights"]
    assert found["references"]["chance"]["r1_t2i"] == pytest.approx(
        1 / found["counts"]["captions"]
    )  # as many images each
    assert "not Inception: comparable only within this report" in " ".join(found["notes"]["kid"])
    assert "neither the tuned model nor its base" in " ".join(found["notes"]["clip_score"])
    assert sorted(p.name for p in (room / "samples").iterdir()) == [
        f"{n}-{i:03d}.png" for n in ("base", "tuned") for i in range(3)
    ]
    assert Image.open(room / "samples" / "base-001.png").text["prompt"] == found["prompts"][1]
    assert {"base: drawing", "tuned: drawing", "base: real images"} <= {what for what, _, _ in seen}
    assert (
        f"{len(rows)} held-out images" in found["verdict"]
        and "seeds are not in these" in found["verdict"]
    )
    tested = {test["figure"]: test for test in found["tests"]}
    assert {"r1_t2i", "map_i2t", "kid", "clip_score"} <= set(tested) and "medr_t2i" not in tested
    r1 = found["figures"]["tuned"]["r1_t2i"]
    assert r1["low"] <= r1["value"] <= r1["high"] and r1["items"] == captions
    kid = tested["kid"]
    assert kid["groups"] == 2 and kid["items"] == 4
    assert kid["verdict"] == "not distinguishable" and kid["low"] is None, (
        "two products say nothing"
    )
    assert "low" not in found["figures"]["tuned"]["kid"] and "in 2 groups" in kid["sentence"]
    assert "| KID |" in (room / "report.md").read_text()


def test_status_knows_a_fresh_report_from_a_stale_one(project, asking):
    def report():
        return next(row for row in folders(project) if row.folder == "report")

    evaluate(project, asking(metrics=["recall"]))
    assert report().state == "ready"
    made = Receipt.read(project.path("exports", "001-tiny"))
    made.seed += 1
    close(project.path("exports", "001-tiny"), made, 0)
    assert report().state == "stale" and report().contents == "exports/001-tiny changed since"


def test_the_page_is_one_file(project, asking):
    evaluate(project, asking())
    page = (project.path("report") / "report.html").read_text()
    assert (
        not re.findall(r'(?:src|href)="(?!data:|#)', page)
        and not re.findall(r"url\((?!#)", page)
        and "<script" not in page
    )
    assert page.count("data:image/") == 3 * 3 + 3 * 2 * 5 and page.count("<svg") >= 2
    assert page.count('id="') == len(set(re.findall(r'id="([^"]+)"', page))), (
        "an id names one thing"
    )
    assert "prefers-color-scheme: dark" in page and "@media print" in page


def test_a_second_evaluation_is_a_no_op(project, asking, monkeypatch):
    first = evaluate(project, asking(metrics=["recall"]))
    stamp = (project.path("report") / "report.json").stat().st_mtime_ns
    assert evaluate(project, asking(metrics=["recall"])).hash == first.hash
    assert (project.path("report") / "report.json").stat().st_mtime_ns == stamp
    again = evaluate(project, asking(metrics=["recall"]), force=True)
    assert (project.path("report") / "report.json").stat().st_mtime_ns != stamp
    assert again.hash == first.hash, "the same work gives the same figures"
    assert evaluate(project, asking(metrics=["recall"], seed=1)).hash != first.hash
    drawn = evaluate(project, asking())
    monkeypatch.setattr(extractors.scorer(), "fingerprint", "another")
    assert evaluate(project, asking()).hash != drawn.hash, "another eye is other work"


def test_what_is_not_asked_is_not_made(project, asking, monkeypatch):
    monkeypatch.setattr(ModelOutputs, "draw", lambda self, *a: pytest.fail("drawn for nothing"))
    monkeypatch.setattr(extractors, "scorer", lambda: pytest.fail("loaded for nothing"))
    receipt = evaluate(project, asking(metrics=["recall"]))
    assert set(receipt.figures["base"]) == KEYS - {"kid", "clip_score"}
    assert list((project.path("report") / "samples").iterdir()) == []
    monkeypatch.undo()
    monkeypatch.setattr(
        ModelOutputs, "image_embeds", property(lambda self: pytest.fail("embedded for nothing"))
    )
    assert set(evaluate(project, asking(metrics=["clip_score"])).figures["base"]) == {"clip_score"}


def test_a_base_against_itself_changes_nothing(project, asking, tiny_base):
    made = Receipt.read(project.path("exports", "001-tiny"))
    twin = project.path("exports", "002-twin")
    shutil.copytree(tiny_base, twin)
    close(twin, made, 0)
    figures = evaluate(project, asking(), export="002-twin").figures
    assert figures["base"] == figures["tuned"]
    assert (
        "Retrieval: not distinguishable from before"
        in (project.path("report") / "report.md").read_text()
    )


def test_evidence_is_made_once(project, asking, rows, tiny_base, monkeypatch):
    calls, draw = [], sampler.generate_images
    monkeypatch.setattr(
        sampler, "generate_images", lambda *a, **k: calls.append(1) or draw(*a, **k)
    )
    eval_set = EvalSet(
        Shards.open(project.path("shards")), rows, asking().evaluate, asking().generate
    )
    outputs = ModelOutputs(
        ModelUnderTest("base", str(tiny_base), str(tiny_base), SIDE, "x"), eval_set
    )
    assert outputs.generated_features.shape == (4, 32) and outputs.generated_embeds.shape == (
        4,
        16,
    )
    assert (
        outputs.real_features.shape == (len(rows), 32)
        and outputs.real_features is outputs.real_features
    )
    assert len(outputs.found["t2i"].rank) == len(eval_set.captions) and len(
        outputs.found["i2t"].rank
    ) == len(rows)
    assert len(calls) == 1
    assert np.allclose(np.linalg.norm(outputs.real_embeds, axis=1), 1, atol=1e-5)


def test_the_scorer_is_transformers_clip(scorer_folder):
    """Both embeddings equal what CLIPModel gives; at the scorer's own size clean-fid's resize is the identity."""
    eye, clip = extractors.scorer(), CLIPModel.from_pretrained(scorer_folder)
    pixels = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)
    processor, words = (
        CLIPImageProcessor.from_pretrained(scorer_folder),
        CLIPTokenizer.from_pretrained(scorer_folder),
    )
    features, embeds = eye.embed_images([Image.fromarray(p) for p in pixels], batch_size=2)
    vision = clip.get_image_features(
        **processor([Image.fromarray(p) for p in pixels], return_tensors="pt")
    )
    theirs = (
        torch.nn.functional.normalize(getattr(vision, "pooler_output", vision), dim=-1)
        .detach()
        .numpy()
    )
    assert np.allclose(embeds, theirs, atol=1e-5) and features.shape == (3, 32)
    ids = words(["red dress", "hat"], padding=True, return_tensors="pt")
    text = clip.get_text_features(**ids)
    theirs = (
        torch.nn.functional.normalize(getattr(text, "pooler_output", text), dim=-1).detach().numpy()
    )
    mine = eye.embed_captions(["red dress", "hat"])
    assert np.allclose(mine, theirs, atol=1e-5) and not np.allclose(mine[0], mine[1])
    assert eye.cut(["hat", "a very long caption " * 5]) == 1


def test_images_of_other_shapes_are_cropped_then_resized():
    eye = extractors.scorer()
    wide = Image.new("RGB", (60, 30), "red")
    wide.paste("blue", (15, 0, 45, 30))
    assert np.allclose(
        eye.embed_images([wide])[0],
        eye.embed_images([Image.new("RGB", (30, 30), "blue")])[0],
        atol=1e-5,
    )


def held_of(project, asked, rows=None, **options):
    shards = Shards.open(project.path("shards"))
    return EvalSet(
        shards,
        shards.rows("test") if rows is None else rows,
        asked.evaluate,
        asked.generate,
        **options,
    )


def test_a_killed_drawing_goes_on_and_a_broken_file_is_made_again(
    project, asking, tiny_base, tmp_path, monkeypatch
):
    monkeypatch.setattr(array_cache, "CHUNK", 2)
    asked, subject = (
        asking(images=5),
        ModelUnderTest("base", str(tiny_base), str(tiny_base), SIDE, "x"),
    )
    calls, draw = [], sampler.generate_images

    def killed(base, prompts, *a, **k):
        calls.append(len(prompts))
        if len(calls) == 3:
            raise Interrupted(15, "Killed.")
        return draw(base, prompts, *a, **k)

    def outputs(**options):
        return ModelOutputs(subject, held_of(project, asked, **options))

    monkeypatch.setattr(sampler, "generate_images", killed)
    with pytest.raises(Interrupted):
        outputs(cache=tmp_path).generated  # noqa: B018
    images = np.array(outputs(cache=tmp_path).generated)
    assert calls == [2, 2, 1, 1], "the two chunks that were whole are not drawn again"
    [file] = (tmp_path / "x").iterdir()
    assert images.shape == (5, SIDE, SIDE, 3) and (images == outputs().generated).all()
    file.write_bytes(file.read_bytes()[:-1])
    assert (outputs(cache=tmp_path).generated == images).all() and [file] == list(
        (tmp_path / "x").iterdir()
    )


def test_what_is_kept_depends_on_the_version(tmp_path, monkeypatch):
    kept, made = ArrayCache(tmp_path), []
    for schema in (1, 1, 2):
        monkeypatch.setattr(array_cache, "SCHEMA", schema)
        kept.array("x", [1], lambda: made.append(1) or np.zeros((0, 3)))
    assert len(made) == 2


def test_images_are_looked_at_as_they_come(project, asking):
    alive = []

    class Image(np.ndarray):
        def __del__(self):
            alive.remove(1)

    def images():
        for _ in range(40):
            alive.append(1)
            assert len(alive) <= 10, "a batch of 4, and not all"
            yield np.zeros((SIDE, SIDE, 3), np.uint8).view(Image)

    assert len(held_of(project, asking(batch_size=4)).seen(images(), [], ArrayCache(None))[0]) == 40


def test_a_stamp_changes_with_all_that_decides_what_a_base_makes(tmp_path, tiny_base):
    folder = tmp_path / "base"
    shutil.copytree(tiny_base, folder)
    said = {"diffusion": str(folder), "clip": str(folder / "clip")}
    assert sources.files_hash(str(folder)) == sources.files_hash(
        str(tiny_base)
    ) and sources.files_hash(said) == sources.files_hash(str(folder))
    stamps = {
        sources.files_hash(said),
        sources.files_hash(said | {"text": "clip"}),
        sources.files_hash(said | {"text": "diffusion"}),
    }
    for part in (
        "scheduler/scheduler_config.json",
        "tokenizer/tokenizer_config.json",
        "clip/preprocessor_config.json",
    ):
        (folder / part).write_text((folder / part).read_text() + " ")
        stamps.add(sources.files_hash(str(folder)))
    assert len(stamps) == 6


# ---------------------------------------------------------------- what is refused


def test_what_has_nothing_to_look_at_is_refused(project, asking, rows):
    one = held_of(project, asking(), [row for row in rows if row.captions == rows[0].captions][:1])
    with pytest.raises(WorkError, match="two prompts that differ"):
        Diversity().check(one)
    eval_set = held_of(project, asking())
    NearCopies().check(eval_set)
    eval_set.trained = []
    with pytest.raises(WorkError, match="training images, and the catalogue has none"):
        NearCopies().check(eval_set)


def test_a_gate_on_what_the_catalogue_does_not_allow_is_refused_before_anything_is_drawn(
    project, asking, monkeypatch
):
    monkeypatch.setattr(ModelUnderTest, "load", lambda self: pytest.fail("loaded for nothing"))
    with pytest.raises(WorkError, match="FID over 4 images would mislead"):
        evaluate(project, asking(metrics=[]), needs=["r1_t2i", "fid"])


@pytest.mark.parametrize("split", ["train", "val"])
def test_images_that_training_saw_are_named_so(project, asking, split):
    evaluate(project, asking(metrics=["recall"], split=split))
    found = json.loads((project.path("report") / "report.json").read_text())
    word, warning = {"train": ("training", "trained on"), "val": ("validation", "picked by")}[split]
    assert f"{word} images" in found["verdict"] and warning in found["warnings"][0]


def test_an_empty_split_names_the_way_out(project, asking, monkeypatch):
    monkeypatch.setattr(Shards, "rows", lambda self, split=None: [])
    with pytest.raises(WorkError, match="no val images.*prepare.splits.*evaluate.split"):
        evaluate(project, asking(split="val"))
    assert not project.path("report").exists()


def test_unknown_export_and_missing_scorer(project, asking, monkeypatch, tmp_path):
    with pytest.raises(UsageError, match="Did you mean '001-tiny'"):
        evaluate(project, asking(), export="001-tin")
    monkeypatch.setattr(nano_scorer, "FOLDER", tmp_path / "nowhere")
    extractors.scorer.cache_clear()
    with pytest.raises(EnvironmentProblem):
        evaluate(project, asking(metrics=["clip_score"]))
    monkeypatch.undo()
    extractors.scorer.cache_clear()
    assert not project.path("report").exists()


def test_broken_weights_give_no_figure(project, asking, monkeypatch):
    evaluate(project, asking(metrics=["recall"]))
    monkeypatch.setattr(Recall, "compute", lambda self, outputs: {"r1_t2i": float("nan")})
    with pytest.raises(WorkError, match="r1_t2i of the base model is no number"):
        evaluate(project, asking(metrics=["recall"]), force=True)
    assert (project.path("report") / "report.json").exists(), "the old report stays"


def test_an_export_of_other_shards_is_said(project, asking):
    run = project.path("runs", "001-tiny")
    run.mkdir(parents=True)
    close(run, Receipt("train", {}, {"shards": "another"}), 0)
    evaluate(project, asking(metrics=["recall"]))
    assert "may have seen these images" in (project.path("report") / "report.html").read_text()


def test_a_trained_export_is_measured_against_its_base(finished, tmp_path, asking):
    """The seam to train and export: their receipts say which base, which size and which shards."""
    project = copy_project(finished, tmp_path)
    receipt = evaluate(project, asking())
    found = json.loads((project.path("report") / "report.json").read_text())
    made = Receipt.read(project.export())
    assert (
        found["models"]["tuned"]["source"] == project.export().name and made.figures["fingerprint"]
    )
    assert found["warnings"] == [] and set(receipt.figures["tuned"]) == KEYS
    assert set(found["losses"]["tuned"]) == {"step", *made.settings["objectives"]}


# ---------------------------------------------------------------- all of it, blends, gates, comparisons, folds


def test_asked_for_nothing_in_particular_it_measures_all_that_the_catalogue_allows(
    project, asking, monkeypatch
):
    base_told = np.zeros(210)  # at chance or below: it has nothing to keep
    told = lambda self, outputs: base_told if outputs.before is None else base_told + 1  # noqa: E731
    monkeypatch.setattr(Retention, "_hits", told)
    receipt = evaluate(project, asking(metrics=[]))
    assert "retention" not in receipt.figures["base"] | receipt.figures["tuned"]
    found = json.loads((project.path("report") / "report.json").read_text())
    assert found["left_out"]["fid"].startswith("FID over 4 images would mislead")
    assert {
        "kid",
        "cmmd",
        "probe_accuracy",
        "text_drift",
        "effective_rank_image",
        "near_copies",
    } <= set(receipt.figures["tuned"])
    assert receipt.figures["base"]["text_drift"] == pytest.approx(0, abs=1e-9)
    assert (
        receipt.figures["tuned"]["text_drift"] > 0.01
        and receipt.figures["tuned"]["denoiser_drift"] > 0.01
    )
    raised = {flag["meter"] for flag in found["flags"]["tuned"] if flag["raised"]}
    assert "text_drift" in raised, "another random model is another model"
    page = (project.path("report") / "report.html").read_text()
    assert (
        "<h2>Collapse meters of tuned</h2>" in page
        and "it has nothing to keep, and no ρ is given" in page
    )


def test_what_a_model_made_is_not_made_again(project, asking, monkeypatch):
    first = evaluate(project, asking())
    monkeypatch.setattr(ModelUnderTest, "load", lambda self: pytest.fail("loaded for nothing"))
    monkeypatch.setattr(
        nano_scorer.Scorer, "embed_images", lambda *a, **k: pytest.fail("looked for nothing")
    )
    assert evaluate(project, asking(), force=True).figures == first.figures
    recall = evaluate(project, asking(metrics=["recall", "cmmd"]))
    assert recall.figures["tuned"]["r1_t2i"] == first.figures["tuned"]["r1_t2i"]


def test_blends_lie_between_base_and_tuned(project, asking, tiny_base):
    receipt = evaluate(project, asking(metrics=["recall"]), alphas=[0, 0.5, 1])
    assert list(receipt.figures) == ["base", "alpha 0.5", "tuned"]
    made = Receipt.read(project.path("exports", "001-tiny"))
    tuned = loading.load_base(str(project.path("exports", "001-tiny")), SIDE)
    half = ModelUnderTest(
        "half", str(project.path("exports", "001-tiny")), made.settings["base"], SIDE, "h", 0.5
    ).load()
    one = loading.load_base(str(tiny_base), SIDE)
    for mine, a, b in zip(half.parameters(), one.parameters(), tuned.parameters(), strict=True):
        assert torch.allclose(mine, (a + b) / 2, atol=1e-6)
    assert "between base and tuned" in (project.path("report") / "report.html").read_text()
    with pytest.raises(UsageError, match="1.5 is no share"):
        evaluate(project, asking(), alphas=[1.5])


def test_a_blend_is_kept_by_both_its_ends(project, asking, tiny_base, tmp_path):
    base, export = tmp_path / "base", project.path("exports", "001-tiny")
    shutil.copytree(tiny_base, base)
    made = Receipt.read(export)
    close(export, replace(made, settings=made.settings | {"base": str(base)}), 0)

    def stamps():
        return evaluate(project, asking(metrics=["recall"]), alphas=[0.5]).settings["models"]

    before, file = stamps(), base / "scheduler" / "scheduler_config.json"
    file.write_text(file.read_text() + " ")
    after = stamps()
    assert {name for name in after if after[name] != before[name]} == {"base", "alpha 0.5"}


def test_compare_puts_exports_in_one_report(project, asking):
    twin = project.path("exports", "002-twin")
    shutil.copytree(project.path("exports", "001-tiny"), twin)
    receipt = compare(project, asking(metrics=["recall"]), ["001-tiny", "002-twin"])
    assert list(receipt.figures) == ["base", "001-tiny", "002-twin"]
    assert receipt.figures["001-tiny"] == receipt.figures["002-twin"]
    assert (project.path("comparison") / "report.html").exists() and not project.path(
        "report"
    ).exists()
    found = json.loads((project.path("comparison") / "report.json").read_text())
    assert {(t["model"], t["against"]) for t in found["tests"]} == {
        ("001-tiny", "base"), ("002-twin", "base"), ("002-twin", "001-tiny")
    }  # fmt: skip
    assert "002-twin against 001-tiny: Retrieval: not distinguishable" in found["verdict"]
    assert receipt.inputs.keys() == {"shards", "exports/001-tiny", "exports/002-twin"}
    with pytest.raises(UsageError, match="two exports or more"):
        compare(project, asking(), ["001-tiny", "001-tiny"])
    made = Receipt.read(twin)
    for other in ({"image_size": 64}, {"base": str(project.path("exports", "001-tiny"))}):
        close(twin, replace(made, settings=made.settings | other), 0)
        with pytest.raises(UsageError, match="have not the same base and image size"):
            compare(project, asking(metrics=["recall"]), ["001-tiny", "002-twin"])


def test_folds_and_comparisons_measure_what_diffdis_finds(prepared, tmp_path, asking_folds):
    """Its CLIP is the base's: without its own line such a recipe would be said to have learned nothing."""
    from unidiff_cli.experiments.cross_validation import evaluate_folds

    project = copy_project(prepared, tmp_path)
    asked = asking_folds('evaluate.metrics=["recall"]', name="diffdis")
    figures = evaluate_folds(project, asked, 2).figures
    assert (
        list(figures) == ["base", "tuned", "diffdis"]
        and figures["base"] == figures["tuned"] != figures["diffdis"]
    )
    name, _ = train(project, asked)
    export(project, name)
    shutil.copytree(project.path("exports", name), project.path("exports", "002-twin"))
    models = compare(project, asked, [name, "002-twin"]).figures
    assert list(models) == ["base", name, f"{name}, diffdis", "002-twin", "002-twin, diffdis"]
    assert (
        models["base"] == models[name] != models[f"{name}, diffdis"] == models["002-twin, diffdis"]
    )


def test_a_base_of_two_sources_is_named_by_both():
    assert (
        named({"diffusion": "/models/sd15", "clip": "openai/clip", "text": None}) == "sd15 + clip"
    )
    assert named("/models/nano") == "nano"


@pytest.fixture
def asking_folds(tiny_base):
    def make(*more, name="fashion"):
        small = (
            "train.steps=2",
            "train.batch_size=4",
            "train.checkpoint_every=1",
            "generate.steps=1",
        )
        measured = ("evaluate.images=4", 'evaluate.metrics=["recall","kid"]')
        return load_recipe(tiny_base, *small, *measured, *more, name=name)

    return make


def test_folds_test_every_product_once(prepared, tmp_path, asking_folds):
    from unidiff_cli.experiments.cross_validation import evaluate_folds

    project, asked = copy_project(prepared, tmp_path), asking_folds()
    rows = Shards.open(project.path("shards")).rows()
    receipt = evaluate_folds(project, asked, 2)
    found = json.loads((project.path("folds") / "report.json").read_text())
    assert found["figures"]["tuned"]["r1_i2t"]["items"] == len(rows)
    captions = found["figures"]["tuned"]["r1_t2i"]["items"]
    assert receipt.counts == found["counts"] == {
        "rows": len(rows), "groups": len({r.group for r in rows}), "captions": captions, "drawn": 8, "folds": 2
    }  # fmt: skip
    assert len(found["prompts"]) == len(found["seeds"]) == 8
    said = f"Over {len(rows):,} held-out images of 30 products or groups, 8 drawn; 2 training runs"
    assert said in found["verdict"] and found["figures"]["tuned"]["kid"]["groups"] == 8
    assert set(found["losses"]) == {"tuned, fold 1", "tuned, fold 2"}
    tested, seen = [], set()
    for inner in project.path("cache", "folds").iterdir():
        shards = Shards.open(inner / "shards")
        groups = {
            split: {r.group for r in shards.rows(split)} for split in ("train", "val", "test")
        }
        assert not groups["train"] & groups["test"] and not groups["val"] & groups["test"]
        tested += [r.id for r in shards.rows("test")]
        assert shards.image_bytes(shards.rows("test")[0])
        seen.add(Receipt.read(inner / "exports" / "001-fashion").hash)
    assert sorted(tested) == sorted(r.id for r in rows)
    assert "/folds\n" in (project.root / ".gitignore").read_text()
    assert (
        found["models"]["tuned"]["weights"] not in seen
        and len(found["models"]["tuned"]["weights"]) == 16
    )
    assert evaluate_folds(project, asked, 2).hash == receipt.hash
    with pytest.raises(WorkError, match="cannot be tested in 10000 folds"):
        evaluate_folds(project, asked, 10000)


def test_folds_measure_the_recipe_that_is_asked_for_and_go_on(
    prepared, tmp_path, asking_folds, monkeypatch
):
    from unidiff_cli.experiments import cross_validation

    project = copy_project(prepared, tmp_path)
    recall, trained = ('evaluate.metrics=["recall"]',), []
    train = cross_validation.train

    def watched(inner, recipe, **options):
        name, receipt = train(inner, recipe, **options)
        trained.append((recipe.train.seed, name, options.get("resume")))
        return name, receipt

    def killed(inner, recipe, **options):
        def stop(line):
            raise Interrupted(15, "Killed.")

        return train(inner, recipe, on_step=stop, **options)

    monkeypatch.setattr(cross_validation, "train", killed)
    with pytest.raises(Interrupted):
        cross_validation.evaluate_folds(project, asking_folds(*recall), 2)
    monkeypatch.setattr(cross_validation, "train", watched)
    one = cross_validation.evaluate_folds(project, asking_folds(*recall), 2)
    assert trained == [(0, "001-fashion", "001-fashion"), (0, "001-fashion", None)], (
        "it goes on where it was stopped"
    )
    two = cross_validation.evaluate_folds(project, asking_folds("train.seed=1", *recall), 2)
    assert one.figures["base"] == two.figures["base"] and one.hash != two.hash
    again = cross_validation.evaluate_folds(project, asking_folds(*recall), 2)
    assert again.hash == one.hash and trained[-1] == (0, "001-fashion", None), (
        "not of the newest run"
    )


def test_folds_refuse_before_training_what_one_of_them_does_not_allow(
    prepared, tmp_path, asking_folds, monkeypatch
):
    from unidiff_cli.experiments import cross_validation

    project = copy_project(prepared, tmp_path)
    monkeypatch.setattr(
        cross_validation, "train", lambda *a, **k: pytest.fail("trained for nothing")
    )

    def check(self, eval_set):
        if eval_set.fold == 1:
            raise WorkError("The second fold has no such thing.")

    monkeypatch.setattr(Recall, "check", check)
    with pytest.raises(WorkError, match="The second fold has no such thing"):
        cross_validation.evaluate_folds(project, asking_folds(), 2)


def test_inception_is_opened_only_when_it_is_the_known_file(project, asking, tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        evaluate(project, asking(inception=str(tmp_path / "inception-2015-12-05.pt")))
    (tmp_path / "inception-2015-12-05.pt").write_bytes(b"print('run me')")
    with pytest.raises(EnvironmentProblem, match="is not inception-2015-12-05.pt"):
        evaluate(project, asking(inception=str(tmp_path / "inception-2015-12-05.pt")))
