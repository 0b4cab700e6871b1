"""Diffusion classifier (Li et al., arXiv 2303.16203): which prompt lets the denoiser best predict the noise in an image?

The generative side's zero-shot: the catalogue's attributes told by the UNet, without the vision tower.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from unidiff_cli.errors import WorkError
from unidiff_cli.evaluation.attribute_columns import FEWEST, LEAST, MOST, categories
from unidiff_cli.evaluation.classification import TEMPLATES, Told, class_prompts, confusion
from unidiff_cli.evaluation.metrics import Metric
from unidiff_cli.evaluation.results import FigureSpec, PerItem, once
from unidiff_cli.project.files import digest

if TYPE_CHECKING:
    from unidiff_cli.evaluation.eval_set import EvalSet
    from unidiff_cli.evaluation.outputs import ModelOutputs


IMAGES = 100  # of each attribute: an image costs some 20 to 100 UNet passes, of (classes left) rows
STAGES = ((4, 8), (8, 4), (16, 1))  # after so many trials so many classes are left
TRIALS = STAGES[-1][0]
Errors = Callable[
    [list[int], int, int], np.ndarray
]  # classes left, first and last trial -> (trials, classes left)


def tell_by_error(
    errors: Errors,
    classes: int,
    stages: Sequence[tuple[int, int]] = STAGES,
    answer: int | None = None,
) -> int:
    """The class of least mean denoise error, the others being given up in stages: Algorithm 2 of the paper.

    `stages` are (trials so far, classes kept). Sums are compared to 9 decimals; with `answer` a tie is told against the
    model, without, for the first class.
    """
    left, sums, done = list(range(classes)), np.zeros(classes), 0
    for trials, kept in stages:
        sums[left] += np.asarray(errors(left, done, trials), np.float64).sum(axis=0)
        done = trials
        left = sorted(left, key=lambda k: (round(float(sums[k]), 9), k == answer, k))[:kept]
        if len(left) == 1:
            break
    return left[0]


def schedule(steps: int, trials: int = TRIALS, seed: int = 0) -> np.ndarray:
    """A timestep for each trial, evenly spaced over the schedule as the paper found best, in a seeded order, int (trials,)."""
    even = (np.arange(trials) + 0.5) / trials * steps
    return np.random.default_rng(seed).permutation(even.astype(int))


class DiffusionClassifier(Metric):
    """How often the true value of an attribute is the one whose prompt the denoiser likes best; asked for by name only.

    Each trial takes one timestep, one noise and the next prompt template, the same for all classes and models; errors are
    of ε. At most IMAGES images an attribute, and no more than `evaluate.images`.
    """

    reads: ClassVar[frozenset[str]] = frozenset({"latents"})
    on_request: ClassVar[bool] = True
    figures: ClassVar[Mapping[str, FigureSpec]] = {
        "diffusion_classifier": FigureSpec(
            "Zero-shot accuracy of the denoiser",
            "generation",
            "higher",
            percent=True,
            headline=False,
        )
    }

    def check(self, eval_set: EvalSet) -> None:
        if not self._columns(eval_set):
            raise WorkError(
                f"diffusion_classifier needs an attribute of {FEWEST} to {MOST} values with {LEAST} images each, and the "
                f"{eval_set.evaluate.split} split has none.",
                "Add a column such as colour or category to the catalogue, or leave diffusion_classifier out.",
            )

    def _columns(self, eval_set: EvalSet) -> dict[str, list[str | None]]:
        """The attributes of all rows, cut to the rows whose latents there are."""
        found = categories([row.attributes for row in eval_set.rows])
        places = [int(n) for n in eval_set.order[: len(eval_set.denoised_rows)]]
        return {name: [column[n] for n in places] for name, column in found.items()}

    @once
    def told(self, outputs: ModelOutputs) -> dict[str, Told]:
        """What the model tells of each attribute."""
        found = {}
        for name, column in self._columns(outputs.eval_set).items():
            values = sorted({v for v in column if v is not None})
            most = min(IMAGES, outputs.eval_set.evaluate.images)
            rows = np.array([n for n, v in enumerate(column) if v is not None][:most])
            answers = np.array([values.index(str(column[n])) for n in rows])
            told = self._told(outputs, name, values, rows, answers)
            found[name] = Told(rows, answers, told, confusion(answers, told, values))
        return found

    def _told(
        self,
        outputs: ModelOutputs,
        name: str,
        values: list[str],
        rows: np.ndarray,
        answers: np.ndarray,
    ) -> np.ndarray:
        eval_set = outputs.eval_set
        ids = [eval_set.denoised_rows[n].id for n in rows]
        depends = [
            outputs.subject.image_size,
            eval_set.stamp,
            ids,
            values,
            STAGES,
            TEMPLATES,
            eval_set.evaluate.seed,
        ]

        def make() -> np.ndarray:
            ask = _asked(outputs, name, values)
            tell = outputs.progress(f"telling {name}")
            found = []
            for i, (n, answer) in enumerate(zip(rows, answers, strict=True), 1):
                found.append(tell_by_error(ask(int(n)), len(values), answer=int(answer)))
                if tell:
                    tell(i, len(rows))
            return np.array(found)

        return outputs.kept.array(f"told_{digest(name)}", depends, make)

    def compute(self, outputs: ModelOutputs) -> dict[str, float]:
        found = [each.confusion.accuracy for each in self.told(outputs).values()]
        return {"diffusion_classifier": float(np.mean(found))}

    def per_item(self, outputs: ModelOutputs) -> dict[str, PerItem]:
        """Every attribute weighs the same, as in zero_shot."""
        told = list(self.told(outputs).values())
        return {
            "diffusion_classifier": PerItem(
                np.concatenate([each.hits for each in told]),
                [outputs.eval_set.denoised_rows[n].group for each in told for n in each.rows],
                np.concatenate([np.full(len(each.rows), 1 / len(each.rows)) for each in told]),
            )
        }

    def references(self, outputs: ModelOutputs) -> dict[str, dict[str, float]]:
        levels = [each.confusion.chance for each in self.told(outputs).values()]
        return {"chance": {"diffusion_classifier": float(np.mean(levels))}}

    def details(self, outputs: ModelOutputs) -> dict[str, Any]:
        return {
            name: {"matrix": each.confusion.matrix.tolist(), "values": list(each.confusion.values)}
            for name, each in self.told(outputs).items()
        }

    def notes(self, outputs: ModelOutputs) -> list[str]:
        return [
            f"{name}: {100 * each.confusion.accuracy:.1f} % right by the denoiser over {len(each.rows):,} images and {len(each.confusion.values)} values, "
            f"up to {TRIALS} trials each; always naming the most frequent is {100 * each.confusion.majority:.1f} %."
            for name, each in self.told(outputs).items()
        ]


def _asked(outputs: ModelOutputs, attribute: str, values: list[str]) -> Callable[[int], Errors]:
    """For each image the denoise errors of classes in trials, as `tell_by_error` asks for them."""
    import torch

    from unidiff_cli.models.keyed_random import keyed_random

    base, eval_set = outputs.base, outputs.eval_set
    seed, size = eval_set.evaluate.seed, eval_set.evaluate.batch_size
    times = schedule(len(base.abar), seed=seed)
    by_template = list(
        zip(*class_prompts(attribute, values), strict=True)
    )  # a template -> K prompts
    with torch.no_grad():
        states = torch.stack(
            [base.text(base.tokenize(prompts))[0] for prompts in by_template]
        )  # (T, K, L, d)
    epsilon = base.scheduler.config.prediction_type == "epsilon"

    def ask(n: int) -> Errors:
        z = torch.from_numpy(np.array(outputs.latents[n])).to(base.device)  # (c, h, w)

        @torch.no_grad()
        def errors(left: list[int], first: int, last: int) -> np.ndarray:
            pairs = [(trial, k) for trial in range(first, last) for k in left]
            found = []
            for start in range(0, len(pairs), size):
                some = pairs[start : start + size]
                t = torch.tensor([int(times[trial]) for trial, _ in some], device=base.device)
                eps = torch.cat(
                    [keyed_random(seed, trial, [n], "class", tuple(z.shape)) for trial, _ in some]
                ).to(base.device)
                each = z.expand(len(some), *z.shape)
                text = torch.stack([states[trial % len(states), k] for trial, k in some])
                off = base.denoise(base.noisy(each, eps, t), t, text) - base.target(each, eps, t)
                error = off.float().square().mean(dim=(1, 2, 3))
                # ε − ε̂ = √ᾱ (v − v̂)
                found.append((error if epsilon else base.abar[t] * error).double().cpu())
            return torch.cat(found).reshape(last - first, len(left)).numpy()

        return errors

    return ask
