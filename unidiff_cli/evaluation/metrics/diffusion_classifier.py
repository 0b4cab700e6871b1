"""Diffusion classifier (Li et al., arXiv 2303.16203): zero-shot classification by the denoiser.

The predicted class is the one whose prompt lets the denoiser best predict the noise in an image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from unidiff_cli.evaluation.classification import (
    TEMPLATES,
    Predictions,
    check_attributes,
    class_prompts,
    confusion,
    number_values,
    pooled_hits,
)
from unidiff_cli.evaluation.metrics import Metric
from unidiff_cli.evaluation.results import PerItem
from unidiff_cli.project.files import digest
from unidiff_cli.reports.schema import Details, FigureSpec

if TYPE_CHECKING:
    from unidiff_cli.evaluation.eval_set import EvalSet
    from unidiff_cli.evaluation.outputs import ModelOutputs

# Of each attribute: an image costs some 20 to 100 denoiser passes, of (classes left) rows.
IMAGES = 100
# (trials so far, classes left after them).
STAGES = ((4, 8), (8, 4), (16, 1))
TRIALS = STAGES[-1][0]
# Classes left, first and last trial -> denoise errors (trials, classes left).
Errors = Callable[[list[int], int, int], np.ndarray]


def predict_by_error(
    errors: Errors,
    classes: int,
    label: int,
    stages: Sequence[tuple[int, int]] = STAGES,
) -> int:
    """The class of least mean denoise error, by Algorithm 2 of the paper: classes drop in stages.

    `stages` are (trials so far, classes left). Sums are compared to 9 decimals; a tie with the true
    class `label` counts as wrong.
    """
    left, sums, done = list(range(classes)), np.zeros(classes), 0
    for trials, count in stages:
        sums[left] += np.asarray(errors(left, done, trials), np.float64).sum(axis=0)
        done = trials
        left = sorted(left, key=lambda k: (round(float(sums[k]), 9), k == label, k))[:count]
        if len(left) == 1:
            break
    return left[0]


def trial_timesteps(steps: int, trials: int = TRIALS, seed: int = 0) -> np.ndarray:
    """A timestep for each trial, int (trials,), evenly spaced over the schedule in a seeded order.

    Even spacing is what the paper finds best.
    """
    even = (np.arange(trials) + 0.5) / trials * steps
    return np.random.default_rng(seed).permutation(even.astype(int))


class DiffusionClassifier(Metric):
    """How often the denoiser predicts an attribute right, the mean over attributes.

    Each trial takes one timestep, one noise and the next prompt template, equal for all classes and
    models; errors are of ε. At most IMAGES images an attribute, and no more than `evaluate.images`.
    """

    place: ClassVar[int] = 30
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
        columns, split = self._columns(eval_set), eval_set.evaluate.split
        check_attributes(columns, "diffusion_classifier", split)

    def _columns(self, eval_set: EvalSet) -> dict[str, list[str | None]]:
        """The attributes of all rows, for the rows that have latents."""
        columns = eval_set.class_columns
        places = [int(n) for n in eval_set.order[: len(eval_set.denoise_rows)]]
        return {name: [column[n] for n in places] for name, column in columns.items()}

    def predictions(self, outputs: ModelOutputs) -> dict[str, Predictions]:
        """The predicted values of each attribute; rows are numbers into `denoise_rows`."""
        return outputs.remember(self, "predictions", lambda: self._predict(outputs))

    def _predict(self, outputs: ModelOutputs) -> dict[str, Predictions]:
        predictions = {}
        most = min(IMAGES, outputs.eval_set.evaluate.images)
        for name, column in self._columns(outputs.eval_set).items():
            values, rows, labels = number_values(column)
            rows, labels = rows[:most], labels[:most]
            predicted = self._predicted(outputs, name, values, rows, labels)
            predictions[name] = Predictions(
                rows, labels, predicted, confusion(labels, predicted, values)
            )
        return predictions

    def _predicted(
        self,
        outputs: ModelOutputs,
        name: str,
        values: list[str],
        rows: np.ndarray,
        labels: np.ndarray,
    ) -> np.ndarray:
        """The predicted class of each row, int (n,)."""
        eval_set = outputs.eval_set
        ids = [eval_set.denoise_rows[n].id for n in rows]
        seed = eval_set.evaluate.seed
        depends = [eval_set.shards_hash, ids, name, values, STAGES, TEMPLATES, seed]

        def make() -> np.ndarray:
            errors_of = _class_errors(outputs, name, values)
            report = outputs.progress(f"classifying {name}")
            predicted = []
            for i, (n, label) in enumerate(zip(rows, labels, strict=True), 1):
                predicted.append(predict_by_error(errors_of(int(n)), len(values), int(label)))
                if report:
                    report(i, len(rows))
            return np.array(predicted)

        # By a hash: an attribute may have a name that no file can have.
        return outputs.array(f"diffusion_classifier.{digest(name)}", depends, make)

    def compute(self, outputs: ModelOutputs) -> dict[str, float]:
        accuracies = [each.confusion.accuracy for each in self.predictions(outputs).values()]
        return {"diffusion_classifier": float(np.mean(accuracies))}

    def per_item(self, outputs: ModelOutputs) -> dict[str, PerItem]:
        groups = [row.group for row in outputs.eval_set.denoise_rows]
        predictions = self.predictions(outputs).values()
        return {"diffusion_classifier": pooled_hits(predictions, groups)}

    def references(self, outputs: ModelOutputs) -> dict[str, dict[str, float]]:
        levels = [each.confusion.chance for each in self.predictions(outputs).values()]
        return {"chance": {"diffusion_classifier": float(np.mean(levels))}}

    def details(self, outputs: ModelOutputs) -> Details:
        confusions = [
            each.confusion.as_detail(f"{name} by the denoiser")
            for name, each in self.predictions(outputs).items()
        ]
        return Details(confusions=confusions)

    def notes(self, outputs: ModelOutputs) -> list[str]:
        notes = []
        for name, each in self.predictions(outputs).items():
            c = each.confusion
            notes.append(
                f"{name}: {100 * c.accuracy:.1f} % right by the denoiser over {len(each.rows):,} "
                f"images and {len(c.values)} values, up to {TRIALS} trials each; "
                f"always naming the most frequent value is {100 * c.majority:.1f} % right."
            )
        return notes


def _class_errors(
    outputs: ModelOutputs, attribute: str, values: list[str]
) -> Callable[[int], Errors]:
    """An attribute's denoise errors: the number of an image -> what `predict_by_error` calls."""
    import torch

    from unidiff_cli.models.base import TextFeatures
    from unidiff_cli.models.keyed_random import keyed_random

    base, eval_set = outputs.base, outputs.eval_set
    seed, size = eval_set.evaluate.seed, eval_set.evaluate.batch_size
    times = trial_timesteps(len(base.schedule), seed=seed)
    # A template -> K prompts.
    by_template = list(zip(*class_prompts(attribute, values), strict=True))
    with torch.no_grad():
        templates = [base.encode_text(prompts) for prompts in by_template]

    def errors_of(n: int) -> Errors:
        z = torch.from_numpy(np.array(outputs.latents[n])).to(base.device)  # (c, h, w)

        @torch.no_grad()
        def errors(left: list[int], first: int, last: int) -> np.ndarray:
            pairs = [(trial, k) for trial in range(first, last) for k in left]
            parts = []
            for start in range(0, len(pairs), size):
                batch = pairs[start : start + size]
                t = torch.tensor([int(times[trial]) for trial, _ in batch], device=base.device)
                eps = torch.cat(
                    [keyed_random(seed, trial, [n], "class", tuple(z.shape)) for trial, _ in batch]
                ).to(base.device)
                each = z.expand(len(batch), *z.shape)
                text = TextFeatures.cat(
                    [templates[trial % len(templates)].rows([k]) for trial, k in batch]
                )
                prediction = base.denoise(base.schedule.add_noise(each, eps, t), t, text)
                off = prediction - base.schedule.target(each, eps, t)
                error = off.float().square().mean(dim=(1, 2, 3))
                parts.append(base.schedule.noise_error(error, t).double().cpu())
            return torch.cat(parts).reshape(last - first, len(left)).numpy()

        return errors

    return errors_of
