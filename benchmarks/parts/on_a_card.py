"""A process of `benchmarks.cards`: one recipe on one card, from its estimate to the last step.

    python -m benchmarks.parts.on_a_card PROJECT BASE < CASE.json > FIGURES.json

BASE is a recipe's assignment of `base`.
"""

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

GIB = 2**30
# What CUDA and its libraries take of a card beside torch's tensors.
CUDA = 0.75 * GIB
# Short runs, whose parts are those of long ones: the cache is filled, general images are generated,
# steps are made, the last is previewed, validated and saved.
SHORT = (
    "train.warmup=1",
    "train.validate_every=1000",
    "train.checkpoint_every=1000",
    "train.preview_every=1000",
    "train.keep_checkpoints=1",
    "objectives.prior.images=8",
    "generate.steps=4",
)
# The first steps also choose kernels.
SETTLED = 2
# Images of a prompt after training, and sampler steps of each.
IMAGES, STEPS = 8, 30


def limit(card: float) -> None:
    """torch gets the memory that a card of so many GiB has left beside CUDA's own."""
    import torch

    _, all_of = torch.cuda.mem_get_info()
    torch.cuda.set_per_process_memory_fraction((card * GIB - CUDA) / all_of)


def measure(project_folder: Path, base: str, case: dict[str, Any]) -> dict[str, Any]:
    """The figures of a case: bytes by estimate, probe and run, seconds a step, its losses."""
    from unidiff_cli import Project, machine, train
    from unidiff_cli.models.sources import load_recipe
    from unidiff_cli.training.example_batches import batches_of
    from unidiff_cli.training.footprint import footprint
    from unidiff_cli.training.probe import probe
    from unidiff_cli.training.sizing import sized

    if case["card"]:
        limit(case["card"])
    project = Project(project_folder)
    settings = (f"train.steps={case['steps']}", *SHORT, *case["settings"])
    recipe = load_recipe(case["recipe"], assignments=[base, *settings])
    recipe, _ = sized(recipe, int(project.receipt("shards").counts["train"]))
    batches = batches_of(project, recipe)
    figures: dict[str, Any] = {}
    if case["probe"]:
        figures["memory"] = footprint(recipe, batches).memory
        figures["estimate"] = sum(figures["memory"].values())
        figures["probe"] = probe(recipe, batches).peak
        machine.free_device_cache()
    if machine.has_gpu():
        machine.forget_peak_memory()
    lines: list[dict[str, Any]] = []
    started = time.monotonic()
    name, receipt = train(project, recipe, force=True, on_step=lines.append)
    settled = [line["seconds"] for line in lines[SETTLED:]]
    return figures | {
        "run": name,
        "steps": receipt.counts["steps"],
        "peak": lines[-1]["memory_mb"] * 2**20,
        "reserved": _reserved(),
        "step_seconds": statistics.median(settled),
        "all_step_seconds": [line["seconds"] for line in lines],
        "run_seconds": time.monotonic() - started,
        "batch_size": recipe.train.batch_size,
        "losses": [line["loss"] for line in lines],
    }


def after(project_folder: Path) -> dict[str, Any]:
    """Seconds of the stages after training, and what they gave, of the newest run."""
    from unidiff_cli import Project, export, generate, index, retrieve
    from unidiff_cli.config.schema import Generate

    project, figures = Project(project_folder), dict[str, Any]()

    def timed(name: str, work: Any) -> Any:
        started = time.monotonic()
        done = work()
        figures[name] = time.monotonic() - started
        return done

    timed("export_seconds", lambda: export(project))
    timed("index_seconds", lambda: index(project))
    figures["indexed"] = int(project.receipt("index").counts["embedded"])
    timed("first_retrieve_seconds", lambda: retrieve(project, "red dress", k=5))
    options = Generate(steps=STEPS, batch_size=IMAGES)
    for name in ("first_generate_seconds", "generate_seconds"):
        [folder] = timed(name, lambda: generate(project, ["red dress"], options, count=IMAGES))
    figures["images"] = len(list(folder.glob("[0-9]*.png")))
    return figures


def _reserved() -> int:
    import torch

    return torch.cuda.max_memory_reserved() if torch.cuda.is_available() else 0


if __name__ == "__main__":
    case = json.load(sys.stdin)
    figures = measure(Path(sys.argv[1]), sys.argv[2], case)
    if case["after"]:
        figures |= after(Path(sys.argv[1]))
    print(json.dumps(figures))
