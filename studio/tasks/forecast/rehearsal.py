"""One batch forward and backward on tensors without content, while all that comes and goes is counted.

Fake tensors (torch._subclasses) know shape, type and device and hold no bytes, so the real code of the model, of the
method and of the trainer's loss runs in about a second and allocates nothing.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


@dataclass(frozen=True)
class Rehearsal:
    """Bytes of one batch beyond the weights. `kept` lies there between forward and backward, `peak` is the most that
    lay there at once before gradients were left behind, `early` and `late` the most, gradients of this batch included,
    until the loss had gone back into the last layer and from then on. `head` is what the loss added at its top."""

    kept: int
    head: int
    early: int
    late: int

    def towards(self, other: Rehearsal, share: float) -> Rehearsal:
        """What lies at that share of the way from this one to the other."""
        pairs = zip(astuple(self), astuple(other), strict=True)
        return Rehearsal(*(round(own + share * (far - own)) for own, far in pairs))


class Live(TorchDispatchMode):
    """Counts the bytes of every storage that an operation makes until nobody holds it any more."""

    def __init__(self, known: Iterator[torch.Tensor]) -> None:
        super().__init__()
        self.bytes = self.peak = 0
        self._seen = {tensor.untyped_storage()._cdata for tensor in known}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            # A question about content, such as "is nothing padded?" or "was this module not dropped?": yes.
            return args[0].dtype.is_floating_point or True
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._take(tensor.untyped_storage())
        self.peak = max(self.peak, self.bytes)
        return result

    def _take(self, storage: Any) -> None:
        key = storage._cdata
        if key not in self._seen:
            self._seen.add(key)
            self.bytes += storage.nbytes()
            weakref.finalize(storage, self._drop, key, storage.nbytes())

    def _drop(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.bytes -= size

    def new_peak(self) -> int:
        """The peak until now; counting begins again from what lies there."""
        found, self.peak = self.peak, self.bytes
        return found


def rehearse(model: Any, forward: Callable[[Any], torch.Tensor], backbone: Any, half: bool) -> Rehearsal:
    """Take `forward(model)`, which gives the loss, there and back. `model` lies on the meta device and is left on fake
    tensors; `half` computes in bfloat16 beside float32 weights (autocast). `backbone` gives the hidden states."""
    marks: dict[str, int] = {}
    with FakeTensorMode(allow_non_fake_inputs=True):
        with_fake_tensors(model)
        live = Live(parameter for parameter in model.parameters())

        def reached(module: Any, given: Any, made: Any) -> None:
            if "kept" in marks:  # the reference's turn
                return
            states = made[0]
            marks["kept"] = live.bytes
            marks["forward"] = live.new_peak()
            if states.requires_grad:
                states.register_hook(back)

        def back(gradient: torch.Tensor) -> None:
            marks["head"] = live.new_peak()

        handle = backbone.register_forward_hook(reached)
        with live:
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                loss = forward(model)
            handle.remove()
            loss.backward()
        late = live.peak
    kept, head = marks["kept"], marks.get("head", late)  # nothing of the backbone is trained: it is never reached
    return Rehearsal(kept, head - kept, max(marks["forward"], head), late)


def with_fake_tensors(model: Any) -> None:
    """Put a fake tensor in the place of each parameter and buffer; shared ones stay shared. Within a FakeTensorMode."""
    made: dict[int, Any] = {}
    for module in model.modules():
        for tensors in (module._parameters, module._buffers):
            for name, tensor in list(tensors.items()):
                if tensor is None:
                    continue
                if id(tensor) not in made:
                    fresh = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu")
                    wrapped = isinstance(tensor, torch.nn.Parameter)
                    made[id(tensor)] = (
                        tensor,  # held, so that no other gets its id
                        torch.nn.Parameter(fresh, requires_grad=tensor.requires_grad) if wrapped else fresh,
                    )
                tensors[name] = made[id(tensor)][1]


@contextmanager
def loss_of_a_gpu(active: bool) -> Iterator[None]:
    """On a GPU a kernel folds each tile of the logits in place; on a CPU, torch makes copies of it in float32.

    Fake tensors lie on a CPU, so for a GPU the folding is passed over (trl.kernels.chunked_logprob).
    """
    from trl.kernels import chunked_logprob

    before = chunked_logprob._forward_tile, chunked_logprob._backward_tile
    if active:
        chunked_logprob._forward_tile = chunked_logprob._backward_tile = lambda *given, **named: None
    try:
        yield
    finally:
        chunked_logprob._forward_tile, chunked_logprob._backward_tile = before
