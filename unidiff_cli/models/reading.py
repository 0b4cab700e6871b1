"""Model folders read whole, or refused in a sentence.

transformers and diffusers fill a tensor that a folder lacks with random values, and say so in a log
that nobody reads. Here every tensor comes from a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unidiff_cli.errors import Damaged, EnvironmentProblem, UnidiffError
from unidiff_cli.models.places import pretrained
from unidiff_cli.project.receipt import RECEIPT
from unidiff_cli.system import first_line

# Tensors that a refusal names.
NAMED = 3


@contextmanager
def reading(what: str, folder: str | Path) -> Iterator[None]:
    """Within it whatever a library raises becomes an error that names the folder.

    On junk the libraries raise anything: a config may be a list where they take a mapping.
    """
    try:
        yield
    except (UnidiffError, ImportError, MemoryError):
        raise
    except Exception as problem:
        # Lazy imports hide the missing package one error deeper.
        if isinstance(problem.__cause__, ImportError):
            raise
        raise broken(what, folder, f"cannot be loaded: {first_line(problem)}") from problem


def broken(what: str, folder: str | Path, reason: str) -> UnidiffError:
    """The error for a model folder that cannot be used; an export can be made again."""
    fact = f"{what} {folder} {reason.rstrip('.')}."
    if any((place / RECEIPT).is_file() for place in (Path(folder), Path(folder).parent)):
        return Damaged(fact, "Make it again: unidiff export --force")
    return EnvironmentProblem(
        fact, "Fetch it again, or name another base. Check the machine with: unidiff doctor"
    )


def read_model(kind: Any, what: str, folder: str | Path, **options: Any) -> Any:
    """A model by its class's `from_pretrained`, fp32, every tensor of it from a file.

    Within `skeleton.without_weights` its config alone is read.

    Raises the error of `broken` naming tensors that are missing, of another shape or not of this
    model.
    """
    import torch

    from unidiff_cli.models import skeleton

    if skeleton.wanted():
        with reading(what, folder):
            return skeleton.model_of_config(kind, folder)
    options = {
        "dtype": torch.float32,
        "use_safetensors": True,
        "output_loading_info": True,
        **options,
    }
    with reading(what, folder):
        try:
            model, report = pretrained(kind, folder, **options)
        except (RuntimeError, ValueError) as problem:
            model, report = _whatever_its_shapes(kind, folder, options, problem)
    _refuse_partial(what, folder, report, len(model.state_dict()))
    return model


def read_part(kind: Any, folder: Path) -> Any:
    """One model of a pipeline, from its only precision or from full precision.

    Raises as `read_model` does.
    """
    halves = not any(path for path in folder.glob("*.safetensors") if ".fp16." not in path.name)
    variant = {"variant": "fp16"} if halves and any(folder.glob("*.fp16.*")) else {}
    return read_model(kind, "The base's", folder, **variant)


def _whatever_its_shapes(
    kind: Any, folder: str | Path, options: Mapping[str, Any], problem: Exception
) -> Any:
    """The model and its report where tensors of another shape were the problem, else that."""
    try:
        return pretrained(
            kind, folder, ignore_mismatched_sizes=True, low_cpu_mem_usage=False, **options
        )
    except Exception:
        raise problem from None


def _refuse_partial(what: str, folder: str | Path, report: Mapping[str, Any], total: int) -> None:
    missing = sorted(report["missing_keys"])
    # Each with both shapes.
    misshapen = sorted(name for name, *_ in report["mismatched_keys"])
    unknown = sorted(report["unexpected_keys"])
    if missing:
        raise broken(what, folder, f"lacks {len(missing)} of its {total} tensors: {_few(missing)}")
    if misshapen:
        reason = f"has {len(misshapen)} of its {total} tensors in another shape: {_few(misshapen)}"
        raise broken(what, folder, reason)
    if unknown:
        reason = f"holds {len(unknown)} tensors that it does not know: {_few(unknown)}"
        raise broken(what, folder, reason)


def _few(names: Sequence[str]) -> str:
    more = ", …" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
