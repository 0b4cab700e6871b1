"""Models built from their configs alone, on tensors that have a shape and take no memory.

torch's fake tensors (torch._subclasses) run every operation for its shapes only. Numbers that
decide a shape, such as which rows of a batch have no other view, are real and small: they stay so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from unidiff_cli import machine
from unidiff_cli.models.places import pretrained

# Up to this count numbers that decide something are computed: a decision by them is the real one.
MOST_REAL = 1 << 20

_fakes: ContextVar[FakeTensorMode | None] = ContextVar("fakes", default=None)


@contextmanager
def without_weights() -> Iterator[None]:
    """Within it models come from their configs alone, and what is computed takes no memory."""
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        token = _fakes.set(mode)
        try:
            with _RealNumbers(mode), _parameters_in_place():
                yield
        finally:
            _fakes.reset(token)


def wanted() -> bool:
    """Whether models are to be built without their weights."""
    return _fakes.get() is not None


def model_of_config(kind: Any, folder: str | Path) -> Any:
    """A model of a diffusers or transformers class by the config of a folder or hub id, in fp32."""
    from transformers.initialization import no_init_weights

    # Some draw again until every number fits, which one without a value never does.
    with torch.device(machine.device()), no_init_weights():
        if hasattr(kind, "from_config"):
            model = kind.from_config(kind.load_config(folder))
        else:
            model = kind(pretrained(kind.config_class, folder))
    return model.eval()


@contextmanager
def _parameters_in_place() -> Iterator[None]:
    """Within it `module.to` changes fake parameters in their place.

    torch exchanges them for others, and cannot where something else holds them.
    """
    torchs = nn.Module._apply

    def apply(module: nn.Module, fn: Any, recurse: bool = True) -> nn.Module:
        for child in module.children() if recurse else ():
            child._apply(fn)
        whole = module._parameters
        module._parameters = {name: p for name, p in whole.items() if not _is_changed(p, fn)}
        try:
            return torchs(module, fn, recurse=False)
        finally:
            module._parameters = {**whole, **module._parameters}

    nn.Module._apply = apply  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.Module._apply = torchs  # type: ignore[method-assign]


def _is_changed(parameter: Any, fn: Any) -> bool:
    """Whether a parameter is a fake one, which has been changed in its place then."""
    if not isinstance(parameter, FakeTensor):
        return False
    with torch.no_grad():
        moved = fn(parameter)
    if (moved.device, moved.dtype) != (parameter.device, parameter.dtype):
        parameter.data = moved
    return True


class _RealNumbers(TorchDispatchMode):
    """Runs on fake tensors what reads one, and really what reads real ones only.

    A single number taken from a fake tensor is 1, and true: what it decides takes no memory.
    """

    def __init__(self, mode: FakeTensorMode) -> None:
        super().__init__()
        self.mode = mode

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        read = list(_tensors((*args, *kwargs.values())))
        if not read:
            return self._made(func, args, kwargs)
        real = [x for x in read if not isinstance(x, FakeTensor)]
        if len(real) == len(read):
            with unset_fake_temporarily():
                return func(*args, **kwargs)
        if func is torch.ops.aten._local_scalar_dense.default:
            return _one(args[0].dtype)
        return func(*(self._faked(func, args) if real else args), **kwargs)

    def _made(self, func: Any, args: Any, kwargs: Any) -> Any:
        """What is made of nothing: real where it is small, and whole numbers or keyed random ones.

        Random numbers of a generator of their own decide timesteps, and so which rows count.
        """
        made = func(*args, **kwargs)
        keyed = kwargs.get("generator") is not None
        if isinstance(made, Tensor) and _is_small(made) and (keyed or not made.is_floating_point()):
            with unset_fake_temporarily():
                return func(*args, **kwargs)
        return made

    def _faked(self, func: Any, args: Any) -> Any:
        """The arguments with real tensors as fake ones; a real mask becomes the rows it sets."""
        if func in (torch.ops.aten.index.Tensor, torch.ops.aten.index_put_.default):
            with unset_fake_temporarily():
                args = (args[0], _by_rows(args[1]), *args[2:])
        return tree_map_only(Tensor, self._fake, args)

    def _fake(self, tensor: Tensor) -> Tensor:
        return tensor if isinstance(tensor, FakeTensor) else self.mode.from_tensor(tensor)


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    """The tensors among an operation's arguments, and in lists among them."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def _by_rows(indices: Any) -> list[Any]:
    """Indices of an indexing, each real mask as the numbers of what it sets."""
    rows: list[Any] = []
    for index in indices:
        real = isinstance(index, Tensor) and not isinstance(index, FakeTensor)
        if real and index.dtype in (torch.bool, torch.uint8):
            rows += index.nonzero(as_tuple=True)
        else:
            rows.append(index)
    return rows


def _is_small(tensor: Tensor) -> bool:
    return tensor.numel() <= MOST_REAL


def _one(dtype: torch.dtype) -> Any:
    if dtype == torch.bool:
        return True
    return 1.0 if dtype.is_floating_point else 1
