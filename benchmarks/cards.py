"""What the recipes for cards take at the size of Stable Diffusion: memory, seconds a step.

    python -m benchmarks.cards --out DIR [--only fashion-8gb,sdxl] [--seconds 500]

Needs a GPU. The bases have the real size and random weights, so figures of memory and time hold and
nothing else does. Each case runs in a process of its own. torch's allocator gets what a card of the
named size has beside 0.75 GiB of CUDA's own: what does not fit is out of memory, whatever card this
is. For each case:

- `estimate` is what `train --dry-run` says, `probe` what `train --probe` measures
- `peak` is the most that tensors took in a whole short run, `reserved` the most that torch held
- `step_seconds` is the median of the settled steps, on this card, with its memory limited
- where a case goes on after training: seconds of export, index, retrieve and generate

Writes OUT/figures.json after each case. `--quick` runs one case on nano, also without a GPU.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

GIB = 2**30
IMAGES = 360


@dataclass(frozen=True)
class Case:
    """A recipe on a card of so many GiB, 0 for the whole; on a base of a kind; so many steps."""

    recipe: str
    card: float
    base: str = "sd15"
    steps: int = 6
    settings: tuple[str, ...] = ()
    probe: bool = False
    after: bool = False


SDXL = ("train.denoise_batch=8", "generate.batch_size=1")
CASES = {
    "fashion-12gb": Case(
        "fashion-12gb", 12, probe=True, after=True, settings=("generate.guidance=5",)
    ),
    "fashion-8gb": Case("fashion-8gb", 8),
    "fashion-16gb": Case("fashion-16gb", 16),
    "fashion-24gb": Case("fashion-24gb", 24),
    "fashion-80gb": Case("fashion-80gb", 0, probe=True),
    # Half as many rows at a time, and the run goes on.
    "out of memory": Case("fashion-24gb", 8, steps=4, settings=("generate.batch_size=1",)),
    "sdxl": Case("fashion-12gb", 24, "sdxl", 5, SDXL),
    "fp16": Case("fashion-12gb", 12, settings=("train.precision=fp16",)),
    "adamw8bit": Case("fashion-80gb", 0, settings=("train.optimizer=adamw8bit",)),
    "compiled": Case("fashion-24gb", 24, steps=12, settings=("train.compile=true",)),
}
SMALL = (
    "train.batch_size=8",
    "train.denoise_batch=8",
    "generate.guidance=5",
    "train.precision=fp32",
)
SMALLEST = Case("fashion-12gb", 0, "nano", 4, SMALL, probe=True, after=True)


def prepared(folder: Path, images: int) -> Path:
    """A project with the sample shop in shards."""
    from unidiff_cli import Project, prepare
    from unidiff_cli.models.sources import load_recipe
    from unidiff_cli.sample_catalog import write_catalog

    project = Project(folder / "project")
    if not project.path("shards").exists():
        write_catalog(folder / "shop", images=images)
        prepare(project, load_recipe("fashion", assignments=["base=nano"]), folder / "shop")
    return project.root


def base_of(kind: str, folder: Path) -> str:
    """The assignment of a base of a kind, which is written where it is not yet there."""
    from benchmarks.parts.full_size import write_full_size
    from unidiff_cli import machine

    if kind == "nano":
        return "base=nano"
    place = folder / kind
    if not place.exists():
        with machine.device():
            write_full_size(place, kind)
    return f"base={{diffusion: {place / 'sd'}, clip: {place / 'clip'}}}"


def run(case: Case, project: Path, base: str, seconds: float) -> dict[str, Any]:
    """The figures of a case by its process, as far as it came, and what it died of."""
    command = [sys.executable, "-m", "benchmarks.parts.on_a_card", str(project), base]
    said, failed = "", ""
    try:
        done = subprocess.run(
            command, input=json.dumps(asdict(case)), capture_output=True, text=True, timeout=seconds
        )
        said, failed = done.stdout, done.stderr[-2000:] if done.returncode else ""
    except subprocess.TimeoutExpired as late:
        said, failed = (late.stdout or b"").decode(), f"not done in {seconds:.0f} s"
    figures: dict[str, Any] = {"failed": failed} if failed else {}
    for line in said.splitlines():
        figures |= json.loads(line)
    return figures


def show(figures: dict[str, dict[str, Any]]) -> None:
    """A line for each case, GiB and seconds."""
    table = Table("case", "card", "estimate", "probe", "peak", "reserved", "s a step", "")
    for name, values in figures.items():
        if name == "machine":
            continue
        sizes = [values.get(key) for key in ("estimate", "probe", "peak", "reserved")]
        table.add_row(
            name,
            str(values["case"]["card"] or "all"),
            *(f"{size / GIB:.2f}" if size else "" for size in sizes),
            f"{values['step_seconds']:.2f}" if "step_seconds" in values else "",
            "failed" if "failed" in values else "",
        )
    Console(width=120).print(table)


def main() -> None:
    """Parses the command line and measures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--folder", type=Path, help="where bases lie; OUT by default")
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(CASES))
    parser.add_argument("--seconds", type=float, default=3600, help="no case goes on after these")
    parser.add_argument("--quick", action="store_true", help="one case on nano")
    options = parser.parse_args()
    started, folder = time.monotonic(), options.folder or options.out
    options.out.mkdir(parents=True, exist_ok=True)
    from unidiff_cli import machine

    cards = machine.gpu_names() or ["no GPU"]
    figures: dict[str, Any] = {"machine": {"card": cards[0], "torch": version("torch")}}
    cases = {"nano": SMALLEST} if options.quick else {name: CASES[name] for name in options.only}
    project = prepared(folder, 40 if options.quick else IMAGES)
    for name, case in cases.items():
        base = base_of(case.base, folder)
        left = options.seconds - (time.monotonic() - started)
        figures[name] = {"case": asdict(case)}
        figures[name] |= run(case, project, base, left) if left > 0 else {"failed": "no time left"}
        for written in ("runs", "exports", "index"):
            # Checkpoints of all weights take 25 GB.
            shutil.rmtree(project / written, ignore_errors=True)
        print(name, round(time.monotonic() - started), "s", figures[name].get("failed", ""))
        (options.out / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    show(figures)


if __name__ == "__main__":
    main()
