"""CUDA graphs of pieces of a sequence: the many launches of the third tier, recorded once and replayed.

A graph reads and writes the addresses that it was recorded with. So a piece has memory of its own; what it reads is
copied in, what it writes is copied out. A piece is kept for the next call of the same sizes on the same stream.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor

Tensors = dict[str, Tensor | None]
Body = Callable[[Tensors], None]

STEPS = 32  # of a piece: launching a graph costs about as much as launching one kernel, so a few dozen are enough
KEPT = 8  # pieces; the one that was used longest ago goes

_kept: OrderedDict[tuple[object, ...], GraphedSteps] = OrderedDict()
_lock = threading.Lock()


class GraphedSteps:
    """A body with memory of its own; where there is no GPU, without a graph."""

    def __init__(self, body: Body, like: Tensors) -> None:
        self.body = body
        with torch.inference_mode(False):  # a call outside it may be the next to write here
            self.tensors: Tensors = {n: None if t is None else _zeros(t) for n, t in like.items()}
        self.graph: torch.cuda.CUDAGraph | None = None
        if any(t is not None and t.is_cuda for t in like.values()):
            self._record()

    def _record(self) -> None:
        # The first run compiles the kernels and lets cuBLAS take its memory, which a recording may not do.
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self.body(self.tensors)
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, capture_error_mode="thread_local"):  # other threads may go on
            self.body(self.tensors)

    def run(self, tensors: Tensors, written: set[str]) -> None:
        """Copy the tensors in, run the body, and copy those of `written` out."""
        for name, tensor in tensors.items():
            own = self.tensors[name]
            if tensor is not None and own is not None:
                own.copy_(tensor)
        if self.graph is None:
            self.body(self.tensors)
        else:
            self.graph.replay()
        for name in written:
            tensor, own = tensors[name], self.tensors[name]
            if tensor is not None and own is not None:
                tensor.copy_(own)


def _zeros(like: Tensor) -> Tensor:
    return torch.zeros(like.shape, dtype=like.dtype, device=like.device)


def run(body: Body, tensors: Tensors, written: set[str], key: tuple[object, ...], steps: int) -> None:
    """Run the body on the tensors, by a graph where the piece is a whole one and no other graph is being recorded.

    Args:
        body: runs the steps; of equal keys and equally shaped tensors, the same work.
        tensors: by name.
        written: the names of the results, which may be read as well.
        key: what else the work depends on beside the shapes.
        steps: of this piece.
    """
    first = next(t for t in tensors.values() if t is not None)
    on_gpu = first.is_cuda
    if steps < STEPS or (on_gpu and torch.cuda.is_current_stream_capturing()):
        body(tensors)
        return
    shapes = tuple((n, None if t is None else (t.shape, t.dtype, t.device)) for n, t in tensors.items())
    stream = torch.cuda.current_stream(first.device).cuda_stream if on_gpu else 0
    whole = (*key, shapes, stream, torch.backends.cuda.matmul.allow_tf32)
    with _lock:
        piece = _kept.pop(whole, None) or GraphedSteps(body, tensors)
        _kept[whole] = piece
        while len(_kept) > KEPT:
            _kept.popitem(last=False)
        piece.run(tensors, written)
