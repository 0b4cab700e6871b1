"""train: shards + a recipe + a base → runs/<id>/, whose best averaged weights export takes.

`train` opens the run and works in this process, or launches one process a device that each run `work`.
"""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .. import bases, cache, checkpoints, log
from .. import recipe as recipes
from ..batches import Samples, loader
from ..errors import Interrupted, NotReady, UnidiffError, UsageError, WorkError, nearest
from ..fit import Fit, Joint, Step, needs
from ..metrics.recall import recall_both_ways
from ..project import Project, Receipt, close, write_json
from ..recipe import Recipe
from ..sampling import sample, sheet
from ..shards import Shards

if TYPE_CHECKING:
    from accelerate import Accelerator

    from ..bases.stable_diffusion import StableDiffusion as Base

SECTIONS = ("base", "image_size", "objectives", "train", "generate")
MOST_VALIDATED = 512  # held-out samples a validation looks at
Progress = Callable[[str, int, int], None]
say = logging.getLogger("unidiff")


def train(
    project: Project,
    recipe: Recipe,
    *,
    resume: str | bool = False,
    force: bool = False,
    on_step: Callable[[dict[str, Any]], None] | None = None,
    on_progress: Progress | None = None,
) -> tuple[str, Receipt]:
    """The run's name and its receipt. A finished run of the same work is returned as it is, unless `force`.

    `resume` continues the newest run, or the named one, with that run's own recipe. Raises NotReady,
    UsageError, WorkError, EnvironmentProblem, and Interrupted after a checkpoint was saved.
    """
    with project.lock():
        shards_receipt = project.receipt("shards", command="unidiff prepare CATALOG")
        inputs = {"shards": shards_receipt.hash}
        if resume:
            name, recipe = _resumed(project, resume)
        else:
            done = _same(project, recipe, inputs)
            if done and not force:
                return done
            name = project.next_run(recipe.name)
        run = project.room("runs", name)
        run.mkdir(parents=True, exist_ok=True)
        if receipt := Receipt.read(run):
            return name, receipt
        (run / "recipe.yaml").write_text(recipe.yaml(), encoding="utf-8")
        rows = Shards.open(project.room("shards")).rows("train")
        if len(rows) < 2:
            raise WorkError(
                f"The training split holds {len(rows)} pictures.", "Add pictures, or change prepare.splits."
            )
        base = bases.load(recipe.base, recipe.image_size)
        if recipe.train.cache_latents:
            _fill(project, recipe, base, shards_receipt.hash, on_progress)
        count = recipe.train.processes or max(1, torch.cuda.device_count())
        if count > recipe.train.batch_size or recipe.train.batch_size % count:
            raise UsageError(
                f"train.batch_size {recipe.train.batch_size} does not divide over {count} processes."
            )
        if count > 1:
            del base
            _launch(project, name, count, on_step)
        else:
            work(project, name, base=base, on_step=on_step)
        receipt = Receipt.read(run)
        if receipt is None:
            raise WorkError(f"Run {name} ended without closing its room.", f"Look at {run / log.FILE}.")
        return name, receipt


def _same(project: Project, recipe: Recipe, inputs: dict[str, str]) -> tuple[str, Receipt] | None:
    """The newest finished run of this very work."""
    settings = recipe.section(*SECTIONS)
    for name in reversed(project.runs()):
        receipt = Receipt.read(project.room("runs", name))
        if receipt and receipt.same_work(settings, inputs):
            return name, receipt
    return None


def _resumed(project: Project, resume: str | bool) -> tuple[str, Recipe]:
    """The run to continue and the recipe it began with."""
    runs = project.runs()
    if not runs:
        raise NotReady(f"{project.root.name} has no run to resume.", "Run: unidiff train")
    name = runs[-1] if resume is True else str(resume)
    if name not in runs:
        raise NotReady(f"There is no run '{name}'.{nearest(name, runs)}", f"Runs: {', '.join(runs)}.")
    file = project.room("runs", name, "recipe.yaml")
    if not file.is_file():
        raise NotReady(f"Run {name} has no recipe.yaml, so it never began.", "Run: unidiff train")
    return name, recipes.load(file)


def _fill(
    project: Project, recipe: Recipe, base: Base, shards_hash: str, on_progress: Progress | None
) -> None:
    base.to("cuda" if torch.cuda.is_available() else "cpu")
    shards = Shards.open(project.room("shards"))
    for split, most in (("train", None), ("val", MOST_VALIDATED)):
        if rows := shards.rows(split)[:most]:
            cache.fill(project, base, shards, shards_hash, rows, needs(recipe.active()), on_progress)
    base.to("cpu")


# ---------------------------------------------------------------- the work, on every process


def work(
    project: Project,
    name: str,
    *,
    base: Base | None = None,
    world: int = 1,
    on_step: Callable[[dict[str, Any]], None] | None = None,
) -> None:
    """Trains the run `name`, whose recipe.yaml is written, from its newest checkpoint to its receipt."""
    run = project.room("runs", name)
    recipe = recipes.load(run / "recipe.yaml")
    options = recipe.train
    receipt = Receipt(
        "train", recipe.section(*SECTIONS), {"shards": project.receipt("shards").hash}, options.seed
    )
    accelerator = _accelerator(recipe, run)
    if accelerator.num_processes != world:
        raise WorkError(f"{world} processes were asked for and {accelerator.num_processes} started.")
    torch.manual_seed(options.seed)
    base = base or bases.load(recipe.base, recipe.image_size)
    fit = Fit(accelerator, Joint(base, recipe.active(), options.seed), options)
    training = _samples(project, recipe, base, receipt.inputs["shards"], "train", accelerator)
    held_out = _samples(project, recipe, base, receipt.inputs["shards"], "val", None)
    best = _restore(run, fit, accelerator)
    receipt.counts = {
        "steps": options.steps,
        "train": len(training.rows),
        "val": len(held_out.rows) if held_out else 0,
    }
    started, first = time.monotonic(), fit.done
    with interruptions() as stopped:
        batches = loader(training, range(fit.done, options.steps), options.workers)
        for step in fit.steps(batches):
            last = step.number == options.steps
            if accelerator.is_main_process:
                line = _line(step, options.batch_size)
                log.append(run, **line)
                accelerator.log({k: v for k, v in line.items() if k != "step"}, step=step.number)
                if on_step:
                    on_step(line)
                if held_out and (last or step.number % options.validate_every == 0):
                    best = _validate(run, fit, recipe, held_out, best, accelerator)
                if last or (options.preview_every and step.number % options.preview_every == 0):
                    _preview(run, fit, recipe, held_out or training)
            signum = _agreed(accelerator, stopped())
            if signum or last or step.number % options.checkpoint_every == 0:
                if accelerator.is_main_process:
                    _save(run, fit, best, options.keep_checkpoints)
                accelerator.wait_for_everyone()
            if signum:
                raise Interrupted(
                    signum,
                    f"Stopped at step {step.number}; its checkpoint is saved.",
                    "Continue with: unidiff train --resume",
                )
    seconds = time.monotonic() - started
    if accelerator.is_main_process:
        receipt.figures = {
            "best": best,
            "samples_per_second": round((fit.done - first) * options.batch_size / max(seconds, 1e-9), 2),
        }
        close(run, receipt, seconds)
    _end(accelerator)


def _accelerator(recipe: Recipe, run: Path) -> Accelerator:
    from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
    from accelerate.utils import ProjectConfiguration

    cuda = torch.cuda.is_available()
    bf16 = recipe.train.precision == "bf16" or (
        recipe.train.precision == "auto" and cuda and torch.cuda.is_bf16_supported()
    )
    reads = {name for o in recipe.active().values() for name in o.reads}
    partly = not {"text_embeds", "text_states"} <= reads  # then some projections or tower get no gradient
    accelerator = Accelerator(
        mixed_precision="bf16" if bf16 else "no",
        cpu=not cuda,
        log_with="tensorboard",
        project_config=ProjectConfiguration(project_dir=str(run), logging_dir=str(run)),
        kwargs_handlers=[
            DistributedDataParallelKwargs(find_unused_parameters=partly),
            InitProcessGroupKwargs(timeout=timedelta(hours=2)),  # the others wait while one validates
        ],
    )
    accelerator.init_trackers("tensorboard")
    return accelerator


def _end(accelerator: Accelerator) -> None:
    accelerator.end_training()
    if accelerator.num_processes == 1:
        from accelerate.state import AcceleratorState

        AcceleratorState._reset_state(
            reset_partial_state=True
        )  # a second run in this process may want another precision


def _samples(
    project: Project,
    recipe: Recipe,
    base: Base,
    shards_hash: str,
    split: str,
    accelerator: Accelerator | None,
) -> Any:
    """The split as Samples: shuffled shares for training, in order and whole (accelerator None) for validation."""
    shards = Shards.open(project.room("shards"))
    rows = shards.rows(split) if accelerator else shards.rows(split)[:MOST_VALIDATED]
    if not rows:
        return None
    asked = needs(recipe.active())
    pictures: dict[str, Any] = {}
    if recipe.train.cache_latents:
        pictures["cached"] = cache.fill(project, base, shards, shards_hash, rows, asked)
    else:
        wanted = {"clip_pixels": asked.pixels, "draw_pixels": asked.latents}
        pictures["transforms"] = {k: v for k, v in base.transforms().items() if wanted[k]}
    place = (
        {"rank": accelerator.process_index, "world": accelerator.num_processes}
        if accelerator
        else {"shuffle": False}
    )
    return Samples(
        shards, rows, batch_size=recipe.train.batch_size, seed=recipe.train.seed, **pictures, **place
    )


def _line(step: Step, batch_size: int) -> dict[str, Any]:
    parts = {k: float(v) for k, v in step.parts.items()}
    speed = {"seconds": step.seconds, "samples_per_second": batch_size / step.seconds}
    return {
        "step": step.number,
        "loss": float(step.loss),
        **parts,
        "grad_norm": float(step.norm),
        "lr": step.rate,
        **speed,
    }


# ---------------------------------------------------------------- looking at it


@torch.no_grad()
def _validate(
    run: Path, fit: Fit, recipe: Recipe, held_out: Samples, best: dict[str, Any], accelerator: Accelerator
) -> dict[str, Any]:
    """Logs held-out losses and recall of the averaged weights, and keeps those weights when they are the best."""
    with fit.averaged.applied():
        figures = fit.validate(loader(held_out, range(len(held_out))))
        if needs(recipe.active()).pixels:
            figures |= _recall(fit.base, held_out)
    log.append(run, step=fit.done, validation=figures)
    accelerator.log({f"validation/{k}": v for k, v in figures.items()}, step=fit.done)
    value = _goodness(recipe, figures, fit.done)
    if best and value <= best["value"]:
        return best
    best = {"step": fit.done, "value": value, "figures": figures}
    checkpoints.save(run / "checkpoints", checkpoints.BEST, {"averaged": fit.averaged.tensors()}, best)
    return best


def _recall(base: Base, held_out: Samples) -> dict[str, float]:
    images, texts = [], []
    for batch in loader(held_out, range(len(held_out))):
        images.append(base.image(batch.clip_pixels).cpu().numpy())
        texts.append(base.text(base.tokenize(batch.captions))[1].cpu().numpy())
    captions = [row.captions[0] for row in held_out.rows]
    return recall_both_ways(np.concatenate(images), np.concatenate(texts), captions)


def _goodness(recipe: Recipe, figures: dict[str, float], step: int) -> list[float]:
    """What the best weights are best by, most important first; a list, since a small split ties often."""
    by = recipe.train.best_by
    if by == "last":
        return [float(step)]
    if by == "auto":
        by = "recall" if "r1_t2i" in figures and "contrastive" in figures else "denoise"
    if by == "recall":
        ties = [(figures[f"r{k}_t2i"] + figures[f"r{k}_i2t"]) / 2 for k in (1, 5, 10)]
        return [*ties, -figures["loss"]]
    return [-figures.get("denoise", figures.get("loss", math.inf))]


@torch.no_grad()
def _preview(run: Path, fit: Fit, recipe: Recipe, samples: Samples) -> None:
    """A contact sheet of fixed prompts and seeds by the averaged weights, where the UNet trains."""
    if not needs(recipe.active()).latents:
        return
    captions = list(dict.fromkeys(row.captions[0] for row in samples.rows))
    prompts = recipe.train.preview_prompts or tuple(captions[:: max(1, len(captions) // 4)][:4])
    folder = run / "previews"
    folder.mkdir(exist_ok=True)
    with fit.averaged.applied():
        fit.base.eval()
        pictures = list(
            sample(
                fit.base,
                prompts,
                range(len(prompts)),
                steps=recipe.generate.steps,
                guidance=recipe.generate.guidance,
            )
        )
    sheet(pictures, prompts).save(folder / f"step-{fit.done:06d}.png")


# ---------------------------------------------------------------- stopping and going on


def _save(run: Path, fit: Fit, best: dict[str, Any], keep: int) -> None:
    folder = run / "checkpoints"
    checkpoints.save(folder, f"step-{fit.done:06d}", fit.tensors(), {"step": fit.done, "best": best})
    checkpoints.prune(folder, keep)


def _restore(run: Path, fit: Fit, accelerator: Accelerator) -> dict[str, Any]:
    """Loads the newest whole checkpoint, trims the log to it and gives back the best so far."""
    best: dict[str, Any] = {}
    for checkpoint, state in checkpoints.latest(run / "checkpoints"):
        if isinstance(state, UnidiffError):
            say.warning("%s", state)
            continue
        fit.load(
            {part: checkpoints.tensors(checkpoint, part) for part in ("weights", "averaged", "optimizer")},
            state["step"],
        )
        best = state["best"]
        break
    if accelerator.is_main_process and (run / log.FILE).exists():
        say.warning(
            f"Run {run.name} goes on from step {fit.done}."
            if fit.done
            else f"Run {run.name} has no checkpoint yet and starts over."
        )
        log.trim(run, fit.done)
    accelerator.wait_for_everyone()
    return best


@contextmanager
def interruptions() -> Iterator[Callable[[], int]]:
    """Within it SIGINT and SIGTERM are only remembered; the second SIGINT stops at once."""
    caught: list[int] = []

    def remember(signum: int, frame: Any) -> None:
        if caught and signum == signal.SIGINT:
            raise KeyboardInterrupt
        caught.append(signum)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: 0
        return
    before = {s: signal.signal(s, remember) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: caught[0] if caught else 0
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _agreed(accelerator: Accelerator, signum: int) -> int:
    """The signal any process caught, so that all stop at the same step."""
    if accelerator.num_processes == 1:
        return signum
    return int(accelerator.gather(torch.tensor([signum], device=accelerator.device)).max())


# ---------------------------------------------------------------- several processes


def _launch(
    project: Project, name: str, count: int, on_step: Callable[[dict[str, Any]], None] | None
) -> None:
    """Runs `work` in `count` processes and passes their steps, errors and signals on.

    torchrun, since `accelerate launch --cpu` starts a single process and says nothing (accelerate 1.15);
    accelerate finds the processes by the environment either way.
    """
    run = project.room("runs", name)
    failure = run / ".failure.json"
    failure.unlink(missing_ok=True)
    threads = max(1, (os.cpu_count() or 1) // count)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    command += ["-m", "unidiff_cli.stages.train", str(project.root), name, str(count)]
    seen = len(log.read(run))
    with open(run / "workers.log", "ab") as output, interruptions() as stopped:
        process = subprocess.Popen(
            command,
            env={"OMP_NUM_THREADS": str(threads), **os.environ},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        sent = False
        while process.poll() is None:
            if stopped() and not sent:
                os.killpg(process.pid, stopped())
                sent = True
            time.sleep(0.2)
            lines = log.read(run) if on_step else []
            for line in lines[seen:]:
                if on_step and "loss" in line:
                    on_step(line)
            seen = max(seen, len(lines))
    if failure.exists():
        found = json.loads(failure.read_text())
        failure.unlink()
        if found["signal"]:
            raise Interrupted(found["signal"], found["fact"], found["action"])
        problem = WorkError(found["fact"], found["action"])
        problem.exit_code = found["exit_code"]
        raise problem
    if process.returncode:
        raise WorkError(
            f"A training process of run {name} ended with {process.returncode}.",
            f"Its output: {run / 'workers.log'}",
        )


def _worker(root: str, name: str, world: int) -> int:
    """What one launched process runs; its error is left for the parent to say."""
    project = Project(root)
    try:
        work(project, name, world=world)
    except UnidiffError as problem:
        caught = problem.exit_code - 128 if isinstance(problem, Interrupted) else 0
        value = {
            "fact": problem.fact,
            "action": problem.action,
            "exit_code": problem.exit_code,
            "signal": caught,
        }
        write_json(project.room("runs", name, ".failure.json"), value)
        return problem.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(_worker(sys.argv[1], sys.argv[2], int(sys.argv[3])))
