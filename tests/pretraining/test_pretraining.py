"""The making of nano: its loop, its autoencoder's latents, its cards, and the whole command."""

import copy
import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

from pretraining import loop
from pretraining.autoencoder import encode, fold_normalisation, make_autoencoder
from pretraining.card_tables import NANO_ROWS, SCORER_ROWS, table
from pretraining.normalisation import normalising_fast
from pretraining.perceptual import WIDTHS, Critic, distance
from tests.support.nano_sources import write_sources
from unidiff_cli.models.sources import EMBEDDED

pytest.importorskip("resvg_py")


def test_folding_the_normalisation_changes_the_latents_and_not_the_images():
    torch.manual_seed(0)
    vae = make_autoencoder().eval()
    pixels = np.random.default_rng(0).integers(0, 255, (6, 128, 128, 3), dtype=np.uint8)
    with torch.no_grad():
        before = vae.decode(encode(vae, pixels)).sample
        fold_normalisation(vae, pixels)
        z = encode(vae, pixels)
        after = vae.decode(z).sample
    assert torch.allclose(z.mean((0, 2, 3)), torch.zeros(z.shape[1]), atol=1e-4)
    assert torch.allclose(z.std((0, 2, 3)), torch.ones(z.shape[1]), atol=1e-4)
    assert torch.allclose(before, after, atol=1e-3)


def test_the_faster_normalisation_is_the_same():
    torch.manual_seed(0)
    slow = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3), torch.nn.GroupNorm(4, 16))
    fast, x = normalising_fast(copy.deepcopy(slow)), torch.randn(2, 3, 10, 10)
    gradients = []
    for network in (slow, fast):
        with torch.autocast("cpu", torch.bfloat16):
            y = network(x)
        y.float().pow(3).mean().backward()
        gradients.append([part.grad for part in network.parameters()])
    for a, b in zip(*gradients, strict=True):
        assert torch.allclose(a, b, atol=0.02 * a.abs().max().item())
    assert fast.state_dict().keys() == slow.state_dict().keys()
    assert torch.equal(fast(x), slow(x)), "in fp32 it is torch's own"


def maps_of(*shift):
    """Maps as the ImageNet network has them of two images, and a number that they depend on."""
    torch.manual_seed(0)
    made = torch.tensor(float(*shift), requires_grad=True)
    sides = (64, 32, 16, 8)
    maps = [torch.randn(2, w, s, s) + made for w, s in zip(WIDTHS, sides, strict=True)]
    return maps, made


def test_a_critic_and_what_it_judges_learn_by_their_own_losses_only():
    critic, (real, _), (maps, made) = Critic(), maps_of(0), maps_of(1)
    critic.deceived(maps).backward()
    assert made.grad.abs() > 0
    assert all(part.grad is None for part in critic.parameters())
    made.grad = None
    critic.loss(real, maps).backward()
    assert made.grad is None
    kernels = [part for part in critic.parameters() if part.ndim > 1]
    assert all(part.grad.abs().sum() > 0 for part in kernels)


def test_a_critic_learns_to_tell_images():
    critic, (real, _), (maps, _) = Critic(), maps_of(0), maps_of(1)
    maps = [part.detach() for part in maps]
    optimiser = torch.optim.Adam(critic.parameters(), lr=1e-2)
    for _ in range(20):
        loss = critic.loss(real, maps)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert critic(real).mean() > 0 > critic(maps).mean()


def test_the_distance_of_maps_is_that_of_each_added_up():
    (real, _), (other, _) = maps_of(0), maps_of(1)
    assert distance(real, real) == 0
    assert torch.allclose(distance(real, other), torch.tensor(float(sum(WIDTHS))), rtol=1e-3)


# ---------------------------------------------------------------- the loop


class Line(torch.nn.Module):
    """Learns y = 2 x."""

    def __init__(self):
        super().__init__()
        self.slope = torch.nn.Parameter(torch.zeros(1))

    def forward(self, batch):
        return {"loss": (self.slope * batch["x"] - 2 * batch["x"]).square().mean()}


def random_points(rng):
    return {"x": torch.from_numpy(rng.standard_normal(8, dtype=np.float32))}


def test_a_loop_learns_and_says_what_it_did(tmp_path):
    # Few steps fit into the time where others use the cores: more than the start is not asked for.
    settings = loop.Settings(seconds=0.5, lr=0.5, seed=0, ema=0.5)
    line = loop.train(tmp_path, Line(), random_points, settings)
    assert 0 < line.slope.item() < 4
    done = json.loads((tmp_path / "done.json").read_text())
    assert done["samples"] == 8 * done["steps"] and done["processes"] == 1
    logged = [json.loads(row) for row in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert logged[0]["step"] == 1
    # Another machine that gets the finished weights has what is shipped.
    (tmp_path / "last.pt").unlink()
    assert torch.equal(loop.load_trained(tmp_path, Line()).slope, line.slope.half().float())


def test_a_loop_that_was_cut_goes_on_where_it_was(tmp_path):
    loop.train(tmp_path, Line(), random_points, loop.Settings(seconds=0.2, lr=0.1, seed=0))
    steps = json.loads((tmp_path / "done.json").read_text())["steps"]
    loop.train(tmp_path, Line(), random_points, loop.Settings(seconds=0.4, lr=0.1, seed=0))
    assert json.loads((tmp_path / "done.json").read_text())["steps"] > steps
    logged = [json.loads(row) for row in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in logged] == sorted(row["step"] for row in logged)


# ---------------------------------------------------------------- the cards


def test_a_figure_that_was_not_measured_has_no_row():
    rows = table(NANO_ROWS, {"speed": {"loading_seconds": 0.2}}).splitlines()
    assert rows[2:] == ["| opening it, torch imported | 0.20 s | at most 1.50 s |  |"]


@pytest.mark.parametrize(("name", "rows"), [("nano", NANO_ROWS), ("nano_scorer", SCORER_ROWS)])
def test_the_card_in_the_package_has_the_tables_rows(name, rows):
    card = (EMBEDDED / name / "README.md").read_text(encoding="utf-8")
    lines = card.split("| what | measured | target | beside it |\n|---|---|---|---|\n")[1]
    lines = lines.split("\n\n")[0].splitlines()
    for line, row in zip(lines, rows, strict=True):
        label = ".*".join(map(re.escape, re.split(r"{.*?}", row.label)))
        assert re.match(rf"\| {label} \|", line), line


# ---------------------------------------------------------------- the command


@pytest.mark.slow
def test_the_whole_command_runs_small_and_goes_on_where_it_was_cut(tmp_path):
    from diffusers import StableDiffusionPipeline

    sources = write_sources(tmp_path / "sources")
    command = [sys.executable, "-m", "pretraining.nano"]
    command += ["--photos", sources / "photos", "--fashion-mnist", sources / "mnist"]
    command += ["--work", tmp_path / "work", "--out", tmp_path / "out"]
    command += ["--budget", "40s", "--renders", "48"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    card = (tmp_path / "out" / "nano" / "README.md").read_text()
    assert "commit" in card and "Fashion-MNIST" in card
    pipeline = StableDiffusionPipeline.from_pretrained(tmp_path / "out" / "nano")
    assert pipeline.unet.config.in_channels == pipeline.vae.config.latent_channels
    # Cut after the autoencoder: only what is missing is made again.
    autoencoder = tmp_path / "work" / "autoencoder" / "last.pt"
    written = autoencoder.stat().st_mtime_ns
    (tmp_path / "work" / "denoiser" / "done.json").unlink()
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert autoencoder.stat().st_mtime_ns == written
    assert (tmp_path / "work" / "denoiser" / "done.json").exists()
