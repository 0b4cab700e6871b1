"""What evaluation costs, beside clean-fid and torch-fidelity and beside what the machine can do at all.

    python -m benchmarks.evaluate --out DIR [--only PART ...] [--queries N] [--quick]

extraction  Inception features of photos in a folder        against clean-fid, and the forward alone on ready tensors
distance    FID of two sets of 2,048 features               against clean-fid's sqrtm, torch-fidelity, eigenvalues alone
memory      peak while moments are taken of 10k..200k       against all features in memory, as clean-fid keeps them
recall      100k captions among 100k images, in blocks    against the products alone

Whatever is compared is timed in turns in one process of its own, on all cores, and gives the same numbers: a time
whose output check fails ends the command with an error. Writes OUT/figures.json. Linux: peaks are read from /proc.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from multiprocessing import get_context, set_start_method
from pathlib import Path
from typing import Any

import numpy as np

# torch, clean-fid and SciPy are imported by the parts that use them: 300 MB that no peak below is to hold.
from PIL import Image
from rich.console import Console

from benchmarks import Bound, table
from unidiff_cli.evaluation import ranking
from unidiff_cli.evaluation.metrics.fid import BLOCK, Moments, frechet, frechet_distance
from unidiff_cli.machine import cores

Figures = dict[str, float]

CHECKS = {  # figure: the most it may be, or the times beside it compare different things
    "extraction.resize_difference": 0.0,
    "extraction.feature_difference": 1e-4,
    "extraction.fid_difference": 1e-6,
    "distance.difference_clean_fid": 1e-6,
    "distance.difference_torch_fidelity": 1e-6,
    "memory.mean_difference": 1e-12,
    "memory.covariance_difference": 1e-12,
    "recall.ranks_outside": 0.0,
    "recall.tops_outside": 0.0,
}
TARGETS: dict[str, Bound] = {
    "extraction.times_clean_fid": (1.3, True),
    "extraction.of_forward": (0.9, True),
    "distance.times_clean_fid": (10.0, True),
    "memory.most_over_least": (1.05, False),
    "recall.peak_blocks": (4.0, False),
} | {f"{part}.steady": (0.9, True) for part in ("extraction", "distance", "memory", "recall")}
BOUNDS = TARGETS | {figure: (most, False) for figure, most in CHECKS.items()}

PEERS = ("clean-fid", "torch-fidelity", "torch", "scipy", "numpy", "pillow")
DIMENSION = 2048  # of Inception's features
ROUNDING = 2e-6  # cosines are taken to 6 decimals, of products in float32: nearer ones may stand in either order
TOP = 10  # best answers kept of each query, as the evidence does


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    images: int = 96
    workers: tuple[int, ...] = (12, 2, 0)  # of clean-fid's loader: 12 is its default
    rounds: int = 5
    features: int = 2500
    dimension: int = DIMENSION
    distance_rounds: int = 3
    streamed: tuple[int, ...] = (10_000, 50_000, 200_000)
    kept: tuple[int, ...] = (10_000, 50_000)
    queries: int = 100_000
    checked: int = 2_000


QUICK = Sizes(
    images=4, workers=(2, 0), rounds=1, features=400, dimension=256, distance_rounds=1,
    streamed=(2_000, 4_000), kept=(2_000, 4_000), queries=3_000, checked=300,
)  # fmt: skip


def measure(out: Path, sizes: Sizes, only: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """All figures by part, also in `out`/figures.json as they come."""
    out.mkdir(parents=True, exist_ok=True)
    figures: dict[str, dict[str, Any]] = {"machine": machine()}
    with all_cores():
        for name in only or PARTS:
            figures[name] = fresh(gauged, name, sizes)
            figures["machine"]["load_after"] = os.getloadavg()[0]
            (out / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    return figures


# ---------------------------------------------------------------- how it is measured


def machine() -> dict[str, Any]:
    names = [
        line
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "processor": names[0].split(":")[1].strip() if names else platform.machine(),
        "cores": cores(),
        "python": platform.python_version(),
        **{name: version(name) for name in PEERS},
        "load_before": os.getloadavg()[
            0
        ],  # well under one a core, or others take part in the times
    }


@contextmanager
def all_cores() -> Iterator[None]:
    """Processes started here use as many threads as there are cores, in every library alike."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, str(cores())))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            os.environ.update({name: value} if value is not None else {})


def fresh(work: Callable[..., Any], *given: Any) -> Any:
    """What work gives back in a process of its own: nothing that ran before is in its memory, or its threads."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(work, *given).result()


def gauged(name: str, sizes: Sizes) -> Figures:
    """A part's figures, with the machine's pace before and after: what is not `steady` was disturbed."""
    before = pace()
    found = PARTS[name](sizes)
    after = pace()
    return found | {
        "gemm_gflops": max(before, after),
        "steady": min(before, after) / max(before, after),
    }


def pace(side: int = 1024, times: int = 20) -> float:
    """GFLOP/s of a float32 product on all cores, the best of some: the bound of all that is made of products."""
    x, y = np.random.default_rng(0).random((2, side, side), np.float32)
    return 2 * side**3 / min(seconds(lambda: x @ y)[0] for _ in range(times)) / 1e9


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


def in_turns(
    ways: dict[str, Callable[[], Any]], rounds: int
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Seconds (rounds,) of each way, a, b, c, a, b, c, and what each gave at last."""
    spent: dict[str, list[float]] = {name: [] for name in ways}
    found = {}
    for _ in range(rounds):
        for name, way in ways.items():
            took, found[name] = seconds(way)
            spent[name].append(took)
    return {name: np.array(each) for name, each in spent.items()}, found


def ratio(name: str, theirs: np.ndarray, ours: np.ndarray) -> Figures:
    """The median over rounds of theirs/ours, and the least and the most."""
    each = theirs / ours
    return {name: float(np.median(each)), f"{name}_least": each.min(), f"{name}_most": each.max()}


def medians(spent: dict[str, np.ndarray]) -> Figures:
    return {f"{name}_seconds": statistics.median(each) for name, each in spent.items()}


def grown(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """By how many MB the peak of resident memory passes what was resident before, the seconds, and what work gives."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = resident("VmRSS")
    took, found = seconds(work)
    return resident("VmHWM") - before, took, found


def resident(what: str) -> float:
    """MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) / 1024


def apart(x: np.ndarray, y: np.ndarray) -> float:
    """The largest difference, over the largest of y."""
    return float(np.abs(x - y).max() / np.abs(y).max())


# ---------------------------------------------------------------- extraction


def extraction(sizes: Sizes) -> Figures:
    """Features of JPEG files, from the file on; the network is clean-fid's own wrapper of the same TorchScript file."""
    import torch
    from cleanfid.fid import get_files_features
    from cleanfid.inception_torchscript import InceptionV3W
    from cleanfid.resize import build_resizer

    from unidiff_cli.evaluation.extractors.inception import BATCH, Inception

    torch.set_num_threads(cores())
    set_start_method(
        "fork", force=True
    )  # clean-fid's loader can be handed to a worker in no other way
    device = torch.device("cpu")
    with tempfile.TemporaryDirectory() as place:
        files = photos(Path(place), sizes.images)
        resize = build_resizer("clean")
        ready = np.stack([resize(np.array(Image.open(file).convert("RGB"))) for file in files])
        flops = random_inception(Path(place))
        theirs = InceptionV3W(place, download=False).eval()
        ours = Inception(torch.jit.load(str(Path(place) / WEIGHTS)), "random")
        squeezed = np.stack([ours._squeeze(Image.open(file)) for file in files])
        nchw = torch.from_numpy(ready).permute(0, 3, 1, 2).contiguous()  # as their loader collates

        def read(workers: int) -> np.ndarray:
            return get_files_features(
                files, theirs, num_workers=workers, batch_size=32, device=device, verbose=False
            )

        def forward() -> list[np.ndarray]:
            return [ours._look(ready[i : i + BATCH]) for i in range(0, len(ready), BATCH)]

        def their_forward() -> list[np.ndarray]:
            with torch.no_grad():
                return [theirs(x).numpy() for x in nchw.split(32)]

        ways: dict[str, Callable[[], Any]] = {
            "ours": lambda: ours.features(Image.open(file) for file in files),
            "forward": forward,
            **{f"clean_fid_{n}_workers": lambda n=n: read(n) for n in sizes.workers},
            "clean_fid_forward": their_forward,
        }
        for warm in (forward, their_forward):  # TorchScript rewrites itself in the first calls
            warm()
        spent, found = in_turns(ways, sizes.rounds)
    best = np.min([spent[f"clean_fid_{n}_workers"] for n in sizes.workers], axis=0)  # of each round
    features, expected = found["ours"], found["clean_fid_0_workers"]
    half = len(files) // 2
    fid, their_fid = (frechet(x[:half], x[half:]) for x in (features, expected))
    return {
        "images": len(files), **medians(spent), "images_a_second": len(files) / np.median(spent["ours"]),
        **ratio("times_clean_fid", best, spent["ours"]), **ratio("of_forward", spent["forward"], spent["ours"]),
        "resize_difference": float(np.abs(squeezed - ready).max()),
        "feature_difference": apart(features, expected), "fid": fid, "fid_difference": abs(fid / their_fid - 1),
        "forward_gflops": flops * len(files) / np.median(spent["forward"]) / 1e9,
    }  # fmt: skip


WEIGHTS = "inception-2015-12-05.pt"  # the name clean-fid opens


def photos(folder: Path, count: int) -> list[str]:
    """JPEG files of 256 to 512 px, as heavy as photos; the second half is of other colours and finer grain."""
    files = []
    for i in range(count):
        rng, second = np.random.default_rng(i), i >= count // 2
        size = tuple(int(side) for side in rng.choice((256, 320, 384, 448, 512), 2))
        x = np.zeros((size[1], size[0], 3))
        for cells, weight in ((3, 0.6), (12, 0.35), (48, 0.2), (192, 0.1 + 0.1 * second)):
            some = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), np.uint8))
            x += weight * (np.asarray(some.resize(size, Image.Resampling.BICUBIC), float) - 127)
        x += (110, 120, 150) if second else (150, 130, 120)
        files.append(str(folder / f"{i:04d}.jpg"))
        Image.fromarray(x.clip(0, 255).astype(np.uint8)).save(files[-1], quality=90)
    return files


def random_inception(folder: Path) -> float:
    """Saves an untrained Inception as WEIGHTS, called as NVIDIA's file is; gives the FLOPs it takes an image.

    Weights of He et al. (arXiv 1502.01852) carry both the signal and its rounding through 48 layers as trained ones
    do. torchvision's own let the signal die, and with batch statistics the rounding grows a hundredfold on the way.
    """
    import torch
    from torch import nn
    from torch.utils.flop_counter import FlopCounterMode
    from torchvision.models import inception_v3

    class Script(nn.Module):
        def __init__(self, layers: nn.Module) -> None:
            super().__init__()
            self.layers = layers

        def forward(self, x: torch.Tensor, return_features: bool = False) -> torch.Tensor:
            return self.layers((x - 128) / 128)

    torch.manual_seed(0)
    network = inception_v3(weights=None, init_weights=False, aux_logits=False)
    # its children stand in the order of its forward; after the pooling come a dropout and the classes
    layers = nn.Sequential(
        *[each for name, each in network.named_children() if name not in ("dropout", "fc")]
    )
    layers.append(nn.Flatten())
    for layer in layers.eval().modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        layers(torch.zeros(1, 3, 299, 299))
    torch.jit.save(torch.jit.script(Script(layers).eval()), str(folder / WEIGHTS))
    return counter.get_total_flops()


# ---------------------------------------------------------------- distance


def distance(sizes: Sizes) -> Figures:
    """From moments to a number. How long the moments take stands beside it: ours a block at a time, numpy's at once."""
    import torch
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_statistics_to_metric

    torch.set_num_threads(cores())
    x, y = (drawn_features(sizes.features, sizes.dimension, seed, 0.1 * seed) for seed in (0, 1))
    took_ours, (a, b) = seconds(lambda: [Moments.of(z) for z in (x, y)])
    took_numpy, both = seconds(
        lambda: [(z.mean(0, np.float64), np.cov(z, rowvar=False)) for z in (x, y)]
    )
    statistics_ = [{"mu": mu, "sigma": sigma} for mu, sigma in both]
    gram = torch.from_numpy(
        a.covariance + b.covariance
    )  # as large and as symmetric as what ours takes them of
    ways: dict[str, Callable[[], Any]] = {
        "ours": lambda: frechet_distance(a, b),
        "clean_fid": lambda: by_square_root(*both[0], *both[1]),
        "torch_fidelity": lambda: fid_statistics_to_metric(*statistics_, verbose=False)[
            KEY_METRIC_FID
        ],
        # the least any way here needs: one call of LAPACK, torch's (MKL's), which takes half of numpy's time
        "eigenvalues": lambda: torch.linalg.eigvalsh(gram),
    }
    spent, found = in_turns(ways, sizes.distance_rounds)
    return {
        "features": len(x), "dimension": sizes.dimension, **medians(spent),
        **ratio("times_clean_fid", spent["clean_fid"], spent["ours"]),
        **ratio("times_torch_fidelity", spent["torch_fidelity"], spent["ours"]),
        **ratio("of_eigenvalues", spent["eigenvalues"], spent["ours"]),
        "moments_ours_seconds": took_ours, "moments_numpy_seconds": took_numpy, "fid": found["ours"],
        **{f"difference_{name}": abs(found["ours"] / found[name] - 1) for name in ("clean_fid", "torch_fidelity")},
    }  # fmt: skip


def drawn_features(n: int, d: int, seed: int, shift: float) -> np.ndarray:
    """(n, d) float32 like a network's, as the parity tests have them: not negative, correlated, of falling variance."""
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(9).standard_normal((d, d)) * np.geomspace(1, 1e-2, d)[:, None]
    return np.maximum(0, rng.standard_normal((n, d)) @ mix + 0.5 + shift).astype(np.float32)


def by_square_root(
    mu1: np.ndarray, sigma1: np.ndarray, mu2: np.ndarray, sigma2: np.ndarray
) -> float:
    """clean-fid's distance; from SciPy 1.18 on, which took away the argument it passes, the same formula."""
    from cleanfid.fid import frechet_distance as theirs
    from scipy.linalg import sqrtm

    try:
        return float(theirs(mu1, sigma1, mu2, sigma2))
    except TypeError:
        root = np.trace(sqrtm(sigma1 @ sigma2)).real
        return float((mu1 - mu2) @ (mu1 - mu2) + np.trace(sigma1) + np.trace(sigma2) - 2 * root)


# ---------------------------------------------------------------- memory


def memory(sizes: Sizes) -> Figures:
    """The peak over what was there before, in MB, of moments of N features that come a batch at a time."""
    found: Figures = {}
    ours = {n: fresh(streamed, n, sizes.dimension) for n in sizes.streamed}
    theirs = {n: fresh(kept, n, sizes.dimension) for n in sizes.kept}
    for name, each in (("ours", ours), ("clean_fid", theirs)):
        for n, (peak, took, _) in each.items():
            found |= {f"{name}_{n // 1000}k_mb": peak, f"{name}_{n // 1000}k_seconds": took}
    least, most, both = sizes.streamed[0], sizes.streamed[-1], sizes.kept[-1]
    mean, covariance = (
        apart(x, y) for x, y in zip(ours[sizes.kept[0]][2], theirs[sizes.kept[0]][2], strict=True)
    )
    return found | {
        "most_over_least": ours[most][0] / ours[least][0],
        f"features_alone_{most // 1000}k_mb": most * sizes.dimension * 4 / 2**20,  # computed
        f"times_clean_fid_{both // 1000}k": theirs[both][0] / ours[both][0],
        "mean_difference": mean, "covariance_difference": covariance,
    }  # fmt: skip


def batches(n: int, d: int) -> Iterator[np.ndarray]:
    """Features (BLOCK, d) at a time, as `Moments` takes them in; far from 0, where sums of squares lose digits."""
    rng = np.random.default_rng(0)
    for start in range(0, n, BLOCK):
        yield rng.random((min(BLOCK, n - start), d), np.float32) + 10


def streamed(n: int, d: int) -> tuple[float, float, tuple[np.ndarray, np.ndarray]]:
    """Ours: peak, seconds, and the mean and covariance."""
    pace()  # BLAS has its buffers

    def take() -> Moments:
        moments = Moments(d)
        for some in batches(n, d):
            moments.update(some)
        return moments

    peak, took, moments = grown(take)
    return peak, took, (moments.mean, moments.covariance)


def kept(n: int, d: int) -> tuple[float, float, tuple[np.ndarray, np.ndarray]]:
    """clean-fid's `get_files_features` and `compare_folders`: a list, joined, then numpy over all of it."""
    pace()

    def take() -> tuple[np.ndarray, np.ndarray]:
        features = np.concatenate(list(batches(n, d)))
        return features.mean(axis=0, dtype=np.float64), np.cov(
            features, rowvar=False
        )  # theirs is of float32

    return grown(take)


# ---------------------------------------------------------------- recall


def recall(sizes: Sizes) -> Figures:
    """Ranks of one right answer among N, without the N × N matrix; `product` is the same blocks and nothing else."""
    queries, answers = embeddings(sizes.queries)
    n, block = len(answers), ranking.BLOCK
    pairs, rows = np.repeat(np.arange(n)[:, None], 2, axis=1), max(1, min(n, block // n))
    buffer = np.empty((rows, n), np.float32)

    def product() -> None:
        for start in range(0, n, rows):
            some = queries[start : start + rows]
            np.matmul(some, answers.T, out=buffer[: len(some)])

    product_before, _ = seconds(product)
    peak, took, ranked = grown(lambda: ranking.rank_answers(queries, answers, pairs))
    product_after, _ = seconds(product)
    peak_top, took_top, best = grown(lambda: ranking.rank_answers(queries, answers, pairs, top=TOP))
    alone = (product_before + product_after) / 2
    return {
        "queries": n, "answers": n, "dimension": queries.shape[1],
        "ours_seconds": took, f"ours_top_{TOP}_seconds": took_top, "product_seconds": alone,
        "of_product": alone / took, f"of_product_top_{TOP}": alone / took_top,
        "product_gflops": 2 * n * n * queries.shape[1] / alone / 1e9,
        "peak_mb": max(peak, peak_top), "peak_blocks": max(peak, peak_top) * 2**20 / (4 * rows * n),
        "dense_mb": 4 * n * n / 2**20, "r1": float((ranked.rank < 1).mean()),
        **against_dense(queries, answers, best, sizes.checked),
    }  # fmt: skip


def embeddings(n: int, d: int = 128) -> tuple[np.ndarray, np.ndarray]:
    """Unit queries and answers (n, d), float32; query i is answer i and noise, so that most are found and not all."""
    rng = np.random.default_rng(0)
    answers = rng.standard_normal((n, d), np.float32)
    queries = answers + 2 * rng.standard_normal((n, d), np.float32)
    for x in (queries, answers):
        x /= np.linalg.norm(x, axis=1, keepdims=True)
    return queries, answers


def against_dense(
    queries: np.ndarray, answers: np.ndarray, found: ranking.Ranking, checked: int
) -> Figures:
    """How many of some queries' ranks, and of their best answers, are not those of cosines in double.

    What is nearer than ROUNDING may stand in either order: a rank lies between the answers that are surely better
    and those that may be. `rank_equal` is the share that is equal without such leave.
    """
    some, outside, tops, equal = np.linspace(0, len(queries) - 1, checked).astype(int), 0, 0, 0
    y = answers.astype(float)
    for part in np.array_split(some, max(1, checked // 100)):
        scores = queries[part].astype(float) @ y.T  # (b, N)
        own, rank = scores[np.arange(len(part)), part][:, None], found.rank[part]
        low = (scores > own + ROUNDING).sum(axis=1)
        high = (scores >= own - ROUNDING).sum(axis=1) - 1  # less itself
        outside += int(((rank < low) | (rank > high)).sum())
        equal += int((rank == (scores > own).sum(axis=1)).sum())
        top = np.take_along_axis(scores, found.top[part], axis=1)
        tops += int(
            (np.abs(top - np.sort(scores, axis=1)[:, : -TOP - 1 : -1]).max(axis=1) > ROUNDING).sum()
        )
    return {
        "checked": len(some),
        "ranks_outside": outside,
        "tops_outside": tops,
        "rank_equal": equal / len(some),
    }


# ---------------------------------------------------------------- the command

PARTS = {"extraction": extraction, "distance": distance, "memory": memory, "recall": recall}


def missed(figures: dict[str, dict[str, Any]]) -> list[str]:
    """The output checks that fail; a figure that is no number does."""
    names = {
        f"{part}.{name}": value for part, each in figures.items() for name, value in each.items()
    }
    return [name for name, most in CHECKS.items() if name in names and not names[name] <= most]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.evaluate", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--out", type=Path, required=True, help="figures.json")
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, default=[], metavar="PART", help=", ".join(PARTS)
    )
    parser.add_argument("--queries", type=int, help="of recall, and as many answers: 100,000")
    parser.add_argument(
        "--quick", action="store_true", help="a little of everything: proves that it runs"
    )
    given = parser.parse_args()
    sizes = QUICK if given.quick else Sizes()
    if given.queries:
        sizes = replace(sizes, queries=given.queries, checked=min(sizes.checked, given.queries))
    figures = measure(given.out, sizes, given.only)
    Console(width=110).print(table(figures, BOUNDS))
    if wrong := missed(figures):
        sys.exit(f"The outputs differ, so the times compare nothing: {', '.join(wrong)}.")


if __name__ == "__main__":
    main()
