"""A process of `benchmarks.cards`: one recipe on one card, from its estimate to the last step.

    python -m benchmarks.parts.on_a_card PROJECT BASE < CASE.json > FIGURES.json

BASE is a recipe's assignment of `base`.
"""

import json
import statistics
import sys
import time
from collections.abc import Iterator
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
IMAGES, STEPS = 4, 30


def limit(card: float) -> None:
    """torch gets the memory that a card of so many GiB has left beside CUDA's own."""
    import torch

    _, whole = torch.cuda.mem_get_info()
    torch.cuda.set_per_process_memory_fraction((card * GIB - CUDA) / whole)


def reserved() -> int:
    """The most bytes that torch held of a GPU; 0 without one."""
    import torch

    return torch.cuda.max_memory_reserved() if torch.cuda.is_initialized() else 0


def measure(project_folder: Path, base: str, case: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The figures of a case as they come: bytes, seconds, losses."""
    from unidiff_cli import Project, machine, train
    from unidiff_cli.models.sources import load_recipe
    from unidiff_cli.training.example_batches import batches_of
    from unidiff_cli.training.footprint import footprint
    from unidiff_cli.training.probe import probe
    from unidiff_cli.training.sizing import sized

    if case["card"]:
        limit(case["card"])
    project, started = Project(project_folder), time.monotonic()
    settings = (f"train.steps={case['steps']}", *SHORT, *case["settings"])
    recipe = load_recipe(case["recipe"], assignments=[base, *settings])
    recipe, _ = sized(recipe, int(project.receipt("shards").counts["train"]))
    if case["probe"]:
        batches = batches_of(project, recipe)
        memory = footprint(recipe, batches).memory
        yield {"memory": memory, "estimate": sum(memory.values())}
        yield {"estimate_seconds": time.monotonic() - started}
        yield {"probe": probe(recipe, batches).peak}
        machine.free_dropped()
    if machine.has_gpu():
        machine.forget_peak_memory()
    lines: list[dict[str, Any]] = []
    started = time.monotonic()

    def on_step(line: dict[str, Any]) -> None:
        lines.append(line)
        print(json.dumps({"steps": len(lines), "seconds_until_step": time.monotonic() - started}))

    train(project, recipe, force=True, on_step=on_step)
    yield {
        "peak": lines[-1]["memory_mb"] * 2**20,
        "reserved": reserved(),
        "step_seconds": statistics.median(line["seconds"] for line in lines[SETTLED:]),
        "all_step_seconds": [line["seconds"] for line in lines],
        "run_seconds": time.monotonic() - started,
        "batch_size": recipe.train.batch_size,
        "losses": [line["loss"] for line in lines],
    }


def after(project_folder: Path) -> Iterator[dict[str, Any]]:
    """Seconds of the stages after training of the newest run, and how much each made."""
    from unidiff_cli import Project, export, generate, index, retrieve
    from unidiff_cli.config.schema import Generate

    project, options = Project(project_folder), Generate(steps=STEPS, batch_size=IMAGES)

    def generated() -> dict[str, Any]:
        [folder] = generate(project, ["red dress"], options, count=IMAGES)
        return {"generated": len(list(folder.glob("[0-9]*.png")))}

    def indexed() -> dict[str, Any]:
        return {"indexed": index(project).counts["embedded"]}

    def found() -> dict[str, Any]:
        return {"found": len(retrieve(project, "red dress", k=5))}

    def exported() -> dict[str, Any]:
        return {"exported": export(project)[0]}

    stages = {"export": exported, "index": indexed, "retrieve": found}
    # The first also chooses kernels.
    for name, work in {**stages, "first_generate": generated, "generate": generated}.items():
        started = time.monotonic()
        made = work()
        yield {**made, f"{name}_seconds": time.monotonic() - started}


def main() -> None:
    """Prints each figure once it is known, a line of JSON."""
    case, project = json.load(sys.stdin), Path(sys.argv[1])
    for figures in measure(project, sys.argv[2], case):
        print(json.dumps(figures), flush=True)
    for figures in after(project) if case["after"] else ():
        print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
