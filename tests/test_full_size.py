"""Stable Diffusion 1.5 and XL with CLIP at their real size, random weights: the whole chain once.

By adapters, as people train them on a card; in bf16 where the processor has it, else in fp32. About
20 GB of memory and 35 GB of disk for SDXL in bf16. `make test-all` runs what the machine has room
for. `-s` shows what each stage took.
"""

import multiprocessing
import shutil
import time
from concurrent.futures import ProcessPoolExecutor

import psutil
import pytest

from benchmarks.parts.full_size import write_full_size
from tests.support.catalogue import write_catalogue
from unidiff_cli import Project, export, generate, index, machine, prepare, retrieve, train
from unidiff_cli.models.sources import load_recipe
from unidiff_cli.training.example_batches import batches_of
from unidiff_cli.training.probe import probe

pytestmark = pytest.mark.slow

# Parameters, and bytes of free memory, in bf16 and in fp32, and of disk that the chain needs.
SIZES = {"sd15": (1.4e9, 10e9, 15e9, 16e9), "sdxl": (3.9e9, 20e9, 26e9, 35e9)}


def alone(stage, arguments, options):
    """What a stage returns, its seconds, and the memory of this process at its peak."""
    import torch

    torch.set_num_threads(machine.cores())
    started = time.monotonic()
    result = stage(*arguments, **options)
    return result, time.monotonic() - started, machine.peak_memory()


class Stages:
    """Runs each stage in a process of its own, as a command has it, and says what it took."""

    def __init__(self, kind):
        self.kind, self.peaks = kind, {}

    def __call__(self, name, stage, *arguments, **options):
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=spawn) as pool:
            result, seconds, peak = pool.submit(alone, stage, arguments, options).result()
        self.peaks[name] = peak
        print(f"{self.kind}, {name}: {seconds:.0f} s, {peak / 1e9:.2f} GB")
        return result


def probed(project, assignments):
    """What `train --probe` does, from assignments: a recipe cannot be sent to another process."""
    recipe = load_recipe("fashion-12gb", assignments=assignments)
    return probe(recipe, batches_of(project, recipe))


def trained(project, assignments):
    """What `train` does."""
    return train(project, load_recipe("fashion-12gb", assignments=assignments))


def megabytes(folder):
    """MB of what a folder holds."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6


@pytest.mark.parametrize("kind", SIZES)
def test_the_chain_at_full_size(tmp_path, kind):
    parameters, memory, more, disk = SIZES[kind]
    precision = "bf16" if machine.processor_has("bf16") else "fp32"
    memory = memory if precision == "bf16" else more
    if psutil.virtual_memory().available < memory or shutil.disk_usage(tmp_path).free < disk:
        pytest.skip(f"needs {memory / 1e9:.0f} GB of free memory and {disk / 1e9:.0f} GB of disk")
    stage = Stages(kind)
    # In half precision, as such weights are published.
    written = stage("writing the base", write_full_size, tmp_path, kind, half=True)
    assert written == pytest.approx(parameters, rel=0.05)
    assignments = [
        f"base={{diffusion: {tmp_path / 'sd'}, clip: {tmp_path / 'clip'}}}",
        "prepare.near_duplicates=0",
        "prepare.splits=[0.5, 0.25, 0.25]",
        f"train.precision={precision}",
        "train.steps=2",
        "train.batch_size=4",
        "train.chunk=2",
        "train.denoise_batch=2",
        "train.preview_every=0",
        "objectives.prior.images=2",
        "objectives.prior.every=1",
        "generate.batch_size=1",
        "generate.steps=2",
    ]
    recipe = load_recipe("fashion-12gb", assignments=assignments)
    assert recipe.image_size == {"sd15": 512, "sdxl": 1024}[kind]
    project = Project(tmp_path / "project")
    prepare(project, recipe, write_catalogue(tmp_path / "shop", products=8, views=1))
    stage("--probe", probed, project, assignments)
    name, receipt = stage("training", trained, project, assignments)
    # SDXL's own peak is when its weights are read, in fp32.
    if kind == "sd15":
        assert stage.peaks["--probe"] == pytest.approx(stage.peaks["training"], rel=0.15)
    assert receipt.figures["best"]["figures"]["denoise"] > 0
    print(f"a checkpoint: {megabytes(project.path('runs', name, 'checkpoints', 'best')):.0f} MB")
    stage("the adapter", export, project, name, format="adapter", choose_guidance=False)
    print(f"the adapter: {megabytes(project.path('exports', 'adapter', name)):.0f} MB")
    exported, _ = stage("export", export, project, name, choose_guidance=False)
    print(f"the export: {megabytes(project.path('exports', exported)):,.0f} MB")
    stage("index", index, project)
    assert len(stage("retrieval", retrieve, project, "red dress", k=4)) == 4
    [folder] = stage("an image", generate, project, ["red dress"], recipe.generate, count=1)
    assert (folder / "0.png").stat().st_size > 10_000
