"""An export loads in plain diffusers and transformers, in a process that never sees unidiff, and does the same."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.support.base import write_base
from tests.support.catalogue import COLORS, render_thing
from tests.support.projects import copy_project, load_recipe
from unidiff_cli import evaluate, export, generate, index, retrieve, train
from unidiff_cli.config.schema import Generate
from unidiff_cli.data.captions import read_prompts
from unidiff_cli.errors import NotReady, UsageError
from unidiff_cli.generation import generate as generate_file
from unidiff_cli.models import encoders, loading, sources
from unidiff_cli.models.clip import Clip
from unidiff_cli.project.receipt import Receipt
from unidiff_cli.retrieval import index as index_file
from unidiff_cli.retrieval.retrieve import split_query

PLAIN = """
import json, sys, numpy as np, torch
from PIL import Image
from diffusers import StableDiffusionPipeline
from transformers import CLIPModel, CLIPProcessor
folder, image, out = sys.argv[1:]
pipe = StableDiffusionPipeline.from_pretrained(folder)
assert {str(p.dtype) for m in (pipe.unet, pipe.vae, pipe.text_encoder) for p in m.parameters()} == {"torch.float32"}
drawn = pipe("red dress", num_inference_steps=3, guidance_scale=2.0, height=32, width=32,
             generator=torch.Generator("cpu").manual_seed(7)).images[0]
drawn.save(out + "/plain.png")
model, processor = CLIPModel.from_pretrained(folder + "/clip"), CLIPProcessor.from_pretrained(folder + "/clip")
with torch.no_grad():
    inputs = processor(text=["red dress", "a"], images=[Image.open(image)], return_tensors="pt", padding=True)
    out_ = model(**inputs)
np.savez(out + "/plain.npz", text=out_.text_embeds.numpy(), image=out_.image_embeds.numpy())
assert not any(name.startswith("unidiff") for name in sys.modules)
"""


@pytest.fixture(scope="module")
def plain(finished, tmp_path_factory):
    """What plain diffusers and transformers make of the export."""
    folder = tmp_path_factory.mktemp("plain")
    render_thing("red", "dress", 5).save(folder / "query.png")
    command = [sys.executable, "-I", "-c", PLAIN, finished.export(), folder / "query.png", folder]
    subprocess.run([str(c) for c in command], check=True, cwd=folder)
    return folder


def test_plain_transformers_gives_the_same_embeddings(finished, plain):
    clip = Clip.read(finished.export() / "clip")
    found = np.load(plain / "plain.npz")
    assert np.allclose(encoders.embed_captions(clip, ["red dress", "a"]), found["text"], atol=1e-5)
    assert np.allclose(
        encoders.embed_image(clip, Image.open(plain / "query.png")), found["image"][0], atol=1e-5
    )


def test_plain_diffusers_draws_the_same_image(finished, plain, tmp_path):
    project = copy_project(finished, tmp_path)
    [folder] = generate(project, ["red dress"], count=1, seed=7)
    ours, theirs = (
        np.asarray(Image.open(p)).astype(int) for p in (folder / "0.png", plain / "plain.png")
    )
    assert abs(ours - theirs).max() <= 1


def test_the_export_holds_trained_weights_a_card_and_no_pickle(finished, tiny_base):
    folder, base = finished.export(), loading.load_base(str(tiny_base), 32)
    tuned = loading.load_base(str(folder), 32)
    assert tuned.fingerprint == Receipt.read(folder).figures["fingerprint"] != base.fingerprint
    moved = [
        n for n, p in tuned.named_parameters() if not (p == dict(base.named_parameters())[n]).all()
    ]
    assert (
        any(n.startswith("unet") for n in moved)
        and any("vision" in n for n in moved)
        and any("text_model" in n for n in moved)
    )
    assert not any(n.startswith("vae") for n in moved)
    card = (folder / "README.md").read_text()
    assert "48 training" in card and "contrastive × 1" in card
    assert {p.suffix for p in folder.rglob("*") if p.is_file()} <= {
        ".safetensors",
        ".json",
        ".md",
        ".yaml",
        ".txt",
    }


def test_text_encoder_keys_carry_the_prefix_transformers_4_reads(finished):
    from safetensors import safe_open

    with safe_open(finished.export() / "text_encoder" / "model.safetensors", "pt") as file:
        assert all(key.startswith("text_model.") for key in file.keys())  # noqa: SIM118


def test_an_export_is_a_base_again(finished, tmp_path, prepared):
    project = copy_project(prepared, tmp_path)
    name, _ = train(project, load_recipe(finished.export(), "train.steps=2"))
    assert (
        export(project, name)[1].figures["fingerprint"]
        != Receipt.read(finished.export()).figures["fingerprint"]
    )


def test_two_text_towers_that_differ_are_refused_unless_one_wins(tmp_path):
    one, two = write_base(tmp_path / "one", seed=0), write_base(tmp_path / "two", seed=1)
    both = {"diffusion": str(one), "clip": str(two / "clip")}
    with pytest.raises(UsageError, match="differ by up to"):
        loading.load_base(both, 32)
    winner = loading.load_base({**both, "text": "clip"}, 32)
    assert np.allclose(
        encoders.embed_captions(winner, ["a"]),
        encoders.embed_captions(Clip.read(two / "clip"), ["a"]),
        atol=1e-6,
    )
    assert loading.load_base({**both, "text": "diffusion"}, 32).pipeline.text_encoder is not None


def test_half_precision_folders_load_in_full(tmp_path):
    import torch
    from diffusers import StableDiffusionPipeline
    from transformers import CLIPModel

    folder = write_base(tmp_path / "base")
    StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float16).save_pretrained(folder)
    CLIPModel.from_pretrained(folder / "clip", dtype=torch.float16).save_pretrained(folder / "clip")
    base = loading.load_base(str(folder), 32)
    assert {p.dtype for p in base.parameters()} == {torch.float32}


# ---------------------------------------------------------------- between base and tuned


def weights(source):
    return loading.load_base(str(source), 32).state_dict()


def test_alpha_blends_every_weight_of_base_and_tuned(finished, tiny_base, tmp_path):
    project = copy_project(finished, tmp_path)
    base, tuned = weights(tiny_base), weights(project.export("001-fashion"))
    assert any((base[key] != tuned[key]).any() for key in base)
    for alpha, name in (
        (0, "001-fashion-a0"),
        (0.5, "001-fashion-a0.5"),
        (0.25, "001-fashion-a0.25"),
    ):
        assert export(project, alpha=alpha)[0] == name and project.export().name == name
        for key, found in weights(project.export(name)).items():
            wanted = (1 - alpha) * base[key].double() + alpha * tuned[key].double()
            assert abs(found.double() - wanted).max() <= 1e-7 * (1 + abs(wanted).max()), key
    assert (
        loading.load_base(str(project.export("001-fashion-a0")), 32).fingerprint
        == loading.load_base(str(tiny_base), 32).fingerprint
    )


def test_an_export_onto_other_weights_than_the_run_began_with_is_refused(
    finished, tmp_path, monkeypatch
):
    project = copy_project(finished, tmp_path)
    monkeypatch.setattr(sources, "files_hash", lambda base: "another")
    with pytest.raises(NotReady, match="The base's weights changed since run 001-fashion began"):
        export(project, alpha=0.5)


def test_alpha_1_is_the_plain_export_and_each_blend_another_work(finished, tmp_path):
    project = copy_project(finished, tmp_path)
    plain = Receipt.read(project.export())
    assert export(project, alpha=1)[1].finished == plain.finished  # the same work: nothing was done
    half = export(project, alpha=0.5)[1]
    assert (
        half.hash != plain.hash and half.settings["alpha"] == 0.5 and plain.settings["alpha"] == 1
    )
    assert half.figures["fingerprint"] != plain.figures["fingerprint"]
    assert export(project, alpha=0.5)[1].finished == half.finished
    card = (project.export() / "README.md").read_text()
    assert "0.5 of them and 0.5 of the base's" in card and "arXiv 2109.01903" in card
    assert "arXiv 2109.01903" not in (project.export("001-fashion") / "README.md").read_text()


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_an_alpha_that_is_no_share_is_refused(finished, alpha):
    with pytest.raises(UsageError, match="alpha is"):
        export(finished, alpha=alpha)


def test_a_blend_is_found_drawn_and_measured_by_its_name(finished, tmp_path, recipe):
    project, name = copy_project(finished, tmp_path), "001-fashion-a0.5"
    export(project, alpha=0.5)
    index(project, export=name)
    assert retrieve(project, "red dress", k=1, export=name)
    [folder] = generate(project, ["red dress"], count=1, export=name)
    assert generate_file.read(folder / "0.png").export == name
    measured = evaluate(project, load_recipe(recipe.base, "evaluate.metrics=[recall]"), export=name)
    assert measured.settings["export"] == name
    assert export(project)[0] == "001-fashion" == project.export().name  # and back


# ---------------------------------------------------------------- generate


def test_image_i_depends_on_seed_plus_i_only(finished, tmp_path):
    project = copy_project(finished, tmp_path)
    [four] = generate(project, ["red dress"], count=4, seed=3)
    [one] = generate(project, ["red dress"], count=1, seed=5)
    together, alone = (
        np.asarray(Image.open(p)).astype(int) for p in (four / "2.png", one / "0.png")
    )
    assert abs(together - alone).max() <= 1
    assert abs(together - np.asarray(Image.open(four / "1.png")).astype(int)).max() > 1


def test_a_png_says_how_to_draw_it_again(finished, tmp_path):
    project = copy_project(finished, tmp_path)
    [folder] = generate(
        project, ["blue hat"], Generate(steps=2, guidance=3.5), count=2, seed=9, negative="red"
    )
    found = generate_file.read(folder / "1.png")
    assert (found.prompt, found.seed, found.steps, found.guidance, found.negative) == (
        "blue hat",
        10,
        2,
        3.5,
        "red",
    )
    assert found.fingerprint == Receipt.read(project.export()).figures["fingerprint"]
    again, same = generate_file.regenerate(project, folder / "1.png")
    assert same
    assert np.array_equal(
        np.asarray(Image.open(again / "0.png")), np.asarray(Image.open(folder / "1.png"))
    )
    assert json.loads((folder / "prompt.json").read_text())["images"][1]["seed"] == 10
    assert (folder / "sheet.png").exists()


def test_best_of_keeps_the_nearest_by_the_models_own_clip(finished, tmp_path):
    project = copy_project(finished, tmp_path)
    [folder] = generate(project, ["red dress"], count=2, best_of=5, seed=0)
    kept = [generate_file.read(folder / f"{i}.png") for i in range(2)]
    clip = Clip.read(project.export() / "clip")
    text = encoders.embed_captions(clip, ["red dress"])[0]
    [all_five] = generate(project, ["red dress"], count=5, seed=0)
    scores = {
        i: float(encoders.embed_image(clip, Image.open(all_five / f"{i}.png")) @ text)
        for i in range(5)
    }
    assert [d.seed for d in kept] == sorted(scores, key=lambda i: -scores[i])[:2]
    with pytest.raises(UsageError, match="--best-of 1 is fewer"):
        generate(project, ["x"], count=2, best_of=1)


def test_prompts_come_from_a_file_and_a_foreign_png_is_refused(finished, tmp_path):
    project = copy_project(finished, tmp_path)
    (tmp_path / "p.txt").write_text("# mine\nred dress\n\nblue hat\n")
    assert read_prompts(tmp_path / "p.txt") == ["red dress", "blue hat"]
    names = [f.name for f in generate(project, read_prompts(tmp_path / "p.txt"), count=1)]
    assert names == ["0001-red-dress", "0002-blue-hat"]
    Image.new("RGB", (8, 8)).save(tmp_path / "foreign.png")
    for bad in (tmp_path / "foreign.png", tmp_path / "gone.png"):
        with pytest.raises(UsageError):
            generate_file.read(bad)


# ---------------------------------------------------------------- retrieve


def test_a_image_of_the_catalogue_finds_itself_first(finished, catalogue):
    hits = retrieve(finished, image=catalogue / "images" / "p007-1.png", k=3)
    assert hits[0].path == str(catalogue / "images" / "p007-1.png") and hits[
        0
    ].score == pytest.approx(1, abs=1e-3)
    assert [h.rank for h in hits] == [1, 2, 3] and hits[0].score >= hits[1].score >= hits[2].score
    assert hits[0].attributes["color"] in COLORS


def test_text_image_and_both_give_different_answers_and_a_sheet(finished, catalogue, tmp_path):
    image = catalogue / "images" / "p007-1.png"
    text = retrieve(finished, "red dress", k=60)
    both = retrieve(finished, "red dress", image, k=60, sheet_to=tmp_path / "sheet.png")
    assert len(text) == len(both) == 60  # the whole catalogue, not only a split
    assert (
        [h.id for h in text]
        != [h.id for h in both]
        != [h.id for h in retrieve(finished, image=image, k=60)]
    )
    assert Image.open(tmp_path / "sheet.png").width > 256


def test_a_query_that_looks_like_a_file_is_never_a_text(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "here.jpg")
    assert split_query([str(tmp_path / "here.jpg"), "in", "red"]) == (
        "in red",
        tmp_path / "here.jpg",
    )
    assert split_query(["black yoga pants"]) == ("black yoga pants", None)
    assert split_query(["women's tops / tees"]) == ("women's tops / tees", None)
    for gone in ("query.jpg", "photos/query", "QUERY.PNG"):
        with pytest.raises(UsageError, match="There is no image"):
            split_query([gone])


def test_a_query_that_is_no_image(finished, tmp_path):
    (tmp_path / "q.jpg").write_bytes(b"not an image")
    with pytest.raises(UsageError, match="cannot be read as an image"):
        retrieve(finished, image=tmp_path / "q.jpg")


def test_a_stale_index_is_refused_with_the_command_that_rebuilds_it(finished, tmp_path, recipe):
    project = copy_project(finished, tmp_path)
    name, _ = train(project, load_recipe(recipe.base, "train.steps=2"))
    export(project, name)
    with pytest.raises(NotReady, match="Run: unidiff index"):
        retrieve(project, "red dress")
    index(project)
    assert retrieve(project, "red dress", k=1)


def test_search_is_exact_and_ties_keep_their_order():
    matrix = np.array([[1, 0], [0, 1], [1, 0], [0.6, 0.8]], np.float32)
    near, scores = index_file.search(matrix, np.array([1, 0], np.float32), 3)
    assert near.tolist() == [0, 2, 3] and scores.tolist() == pytest.approx([1, 1, 0.6])
    assert index_file.search(matrix, np.array([1, 0], np.float32), 99)[0].tolist() == [0, 2, 3, 1]
