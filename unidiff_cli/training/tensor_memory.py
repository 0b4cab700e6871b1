"""How much memory tensors take at each moment of a computation, real ones or fake ones alike."""

from __future__ import annotations

import weakref
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import flop_registry


class TensorMemory(TorchDispatchMode):
    """Within it the bytes of all tensors that are made are counted until they are freed.

    `now` and `peak` are bytes, and `flops` the floating-point operations of products and
    convolutions. What a kernel takes inside itself is not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = self.flops = 0
        self._alive: dict[int, int] = {}

    def hold(self, tensors: Any) -> None:
        """Counts tensors that were there before."""
        for tensor in tree_iter(tensors):
            if isinstance(tensor, Tensor):
                self._count(tensor)

    def restart(self) -> int:
        """Begins anew from the tensors that are there now; the peak before."""
        before, self.peak, self.flops = self.peak, self.now, 0
        return before

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if operations := flop_registry.get(func._overloadpacket):
            self.flops += operations(*args, **(kwargs or {}), out_val=out)
        self.hold(out)
        return out

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._alive:
            return
        self._alive[key] = storage.nbytes()
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._free, key)

    def _free(self, key: int) -> None:
        self.now -= self._alive.pop(key, 0)
