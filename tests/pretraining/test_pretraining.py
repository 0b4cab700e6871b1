"""The making of nano: its data is what it says, and the whole command runs, small, from nothing to two folders and a card."""

import gzip
import json
import random
import subprocess
import sys

import numpy as np
import pytest
import torch

from pretraining import clip, data
from pretraining.autoencoder import encode, fold_normalisation, make_autoencoder
from pretraining.tokenizer import make_tokenizer
from unidiff_cli.sample_catalog import caption, held_out, random_look, render

pytest.importorskip("resvg_py")


def idx(values: np.ndarray) -> bytes:
    """An IDX file of unsigned bytes, as MNIST's are."""
    head = bytes([0, 0, 8, values.ndim]) + b"".join(n.to_bytes(4, "big") for n in values.shape)
    return head + values.astype(np.uint8).tobytes()


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Folders shaped like the sources: drawings stand in for the photos, discs for Fashion-MNIST."""
    root = tmp_path_factory.mktemp("sources")
    (root / "photos" / "images").mkdir(parents=True)
    rows = []
    for i in range(40):
        rng = random.Random(i)
        kind = ("dress", "hat", "shorts")[i % 3]
        name = f"images/{i}.jpg"
        render(random_look(rng, type=kind, view="front"), 96).save(root / "photos" / name)
        words = "shorts" if kind == "shorts" else f"a {kind}"
        rows.append(
            {
                "image": name,
                "caption": f"a photo of {words}",
                "class": kind,
                "split": "test" if i % 4 == 3 else "train",
            }
        )
    (root / "photos" / "captions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    y, x = np.mgrid[:28, :28] - 13.5
    grey = np.stack([np.where(x**2 + y**2 < 60 + 8 * k, 60 + 15 * k, 0) for k in range(10)] * 4)
    (root / "mnist").mkdir()
    (root / "mnist" / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(grey)))
    (root / "mnist" / "train-labels-idx1-ubyte.gz").write_bytes(
        gzip.compress(idx(np.arange(40) % 10))
    )
    return root


def test_dyed_images_show_the_colour_they_name(sources):
    dyed = data.dyed(sources / "mnist", 40)
    assert dyed.pixels.shape == (40, 1, 64, 64, 3) and dyed.pixels.dtype == np.uint8
    right = 0
    for pixels, captions in zip(dyed.pixels[:, 0], dyed.captions, strict=True):
        name = next(word for word in captions[0].split() if word in data.COLOURS)
        middle = pixels[26:38, 26:38].reshape(-1, 3).mean(0)
        gaps = {
            c: np.linalg.norm(data.lab(middle[None]) - data.lab(np.array([rgb], float)))
            for c, rgb in data.COLOURS.items()
        }
        right += name in sorted(gaps, key=gaps.get)[:2]
    assert (
        right >= 34
    )  # the discs are lit from dark to bright, so neighbours in lightness are taken for one another
    assert "a photo of" in dyed.captions[0][0]


def test_drawings_never_show_a_pair_that_is_kept_out():
    for seed in range(300):
        rng = random.Random(seed)
        if rng.random() >= data.OBJECTS_SHARE:
            look = random_look(rng)
            assert not held_out(look), caption(look, rng)


def test_a_mixture_gives_each_source_its_share_and_only_the_views_asked_for(sources, tmp_path):
    data.prepare(tmp_path, sources / "photos", sources / "mnist", 24)
    mixture = data.Mixture(tmp_path, {"renders": 0.75, "photos": 0.25}, views=data.VIEWS)
    picks = mixture.pick(4_000, np.random.default_rng(0))
    share = np.mean([p.source == "photos" for p in picks])
    assert abs(share - 0.25) < 0.03
    assert {p.view for p in picks if p.source == "photos"} == set(range(data.VIEWS))
    assert {p.view for p in picks if p.source == "renders"} == {0}
    assert mixture.pixels(picks[:8]).shape == (8, 64, 64, 3)

    # The words of a batch: only those of the image's own captions, rare ones more, each row a distribution.
    tokenizer = make_tokenizer(
        c for s in mixture.sources.values() for words in s.captions for c in words
    )
    batch = clip.batches(mixture, tokenizer)(np.random.default_rng(0))
    assert torch.allclose(batch["words"].sum(1), torch.ones(clip.BATCH), atol=1e-5)
    first = mixture.pick(clip.BATCH, np.random.default_rng(0))[0]
    own = {
        t
        for ids in tokenizer(mixture.sources[first.source].captions[first.row]).input_ids
        for t in ids
    }
    assert set(batch["words"][0].nonzero().flatten().tolist()) <= own
    assert batch["x"].shape == (clip.BATCH, 3, 64, 64)
    test = data.Images.load(tmp_path / "photos-test")
    assert len(test) == 10 and test.pixels.shape[1] == 1


def test_folding_the_normalisation_changes_the_latents_and_not_the_images():
    torch.manual_seed(0)
    vae = make_autoencoder().eval()
    pixels = np.random.default_rng(0).integers(0, 255, (6, 64, 64, 3), dtype=np.uint8)
    with torch.no_grad():
        before = vae.decode(encode(vae, pixels)).sample
        fold_normalisation(vae, pixels)
        z = encode(vae, pixels)
        after = vae.decode(z).sample
    assert torch.allclose(z.mean((0, 2, 3)), torch.zeros(z.shape[1]), atol=1e-4)
    assert torch.allclose(z.std((0, 2, 3)), torch.ones(z.shape[1]), atol=1e-4)
    assert torch.allclose(before, after, atol=1e-3)


@pytest.mark.slow
def test_the_whole_command_runs_small_and_goes_on_where_it_was_cut(sources, tmp_path):
    from diffusers import StableDiffusionPipeline

    command = [
        sys.executable, "-m", "pretraining.nano", "--photos", sources / "photos", "--fashion-mnist", sources / "mnist",
        "--work", tmp_path / "work", "--out", tmp_path / "out", "--budget", "40s", "--renders", "48",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    card = (tmp_path / "out" / "nano" / "README.md").read_text()
    assert "commit" in card and "Fashion-MNIST" in card
    pipeline = StableDiffusionPipeline.from_pretrained(tmp_path / "out" / "nano")
    assert pipeline.unet.config.in_channels == pipeline.vae.config.latent_channels
    # Cut after the autoencoder: only what is missing is made again.
    stamp = (tmp_path / "work" / "autoencoder" / "last.pt").stat().st_mtime_ns
    (tmp_path / "work" / "denoiser" / "done.json").unlink()
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "work" / "autoencoder" / "last.pt").stat().st_mtime_ns == stamp
    assert (tmp_path / "work" / "denoiser" / "done.json").exists()
