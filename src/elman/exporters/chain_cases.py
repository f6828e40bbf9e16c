"""Sequences that an exported chain is compared on, and what the original gives for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from elman.errors import ExportError, first_line
from elman.exporters.chain import Chain
from elman.exporters.layer_cases import LayerCase, evaluation_mode, layer_cases, original_outputs
from elman.exporters.stack import Array, LayerStack

STEPS = 300
"""Of the longest sequence of a layer."""

LEAST_STEPS = 20
"""Of the longest sequence of a model: one step alone shows nothing of what is carried from step to step."""


@dataclass(frozen=True)
class ChainCase:
    """Sequences, and what the original gives for them.

    Attributes:
        title: which kind of input, and its sizes.
        x: (T, B, I), or symbols (T, B).
        y: (T, B, O), or (B, O) where the original gives the last output alone.
        states: after the last step, (L, B, P or H) for each state, or None where the original does not give them.
        rounding: see `elman.exporters.layer_cases.LayerCase`.
        least_size: see `elman.exporters.parity.compare`.
    """

    title: str
    x: Array
    y: Array
    states: tuple[Array, ...] | None = None
    rounding: float = 1.0
    least_size: float = 0.0


def layer_inputs(layer: nn.Module, chain: Chain, precision: str = "float32") -> list[ChainCase]:
    """Return inputs of a layer, from its initial state, and what it gives for them."""
    stack = chain.stack
    rng = np.random.default_rng(2)
    long = rng.standard_normal((STEPS, 1, stack.input_size)).astype(stack.dtype)
    cases = [replace(case, state=None) for case in layer_cases(stack, precision=precision)]
    cases.append(LayerCase(f"random, T = {STEPS}, B = 1", long))
    return [_until_overflow(layer, stack, case) for case in cases]


def _until_overflow(layer: nn.Module, stack: LayerStack, case: LayerCase) -> ChainCase:
    """Return the case with what the layer gives, up to the step where it overflows, as layers that diverge do."""
    y, states = original_outputs(layer, stack, case)
    finite = np.isfinite(y.astype(np.float32)).all(axis=(1, 2))
    steps = len(y) if finite.all() else int(finite.argmin())
    if steps == len(y):
        return ChainCase(case.title, case.x, y, states, case.rounding, case.least_size)
    title = f"{case.title}, {steps} steps until overflow"
    return ChainCase(title, case.x[:steps], y[:steps], None, case.rounding, case.least_size)


def comparable(cases: Sequence[ChainCase]) -> tuple[list[ChainCase], tuple[str, ...]]:
    """Return the cases that have numbers to compare, and a remark for each that overflows at its first step."""
    remarks = (f"not compared: {case.title}" for case in cases if not case.y.size)
    return [case for case in cases if case.y.size], tuple(remarks)


def model_inputs(model: nn.Module, chain: Chain, inputs: tuple[Any, ...]) -> list[ChainCase]:
    """Return inputs of a model, the given ones and random ones, of their shape and longer, and what it gives for them.

    Raises:
        ExportError: the model takes or gives something else than a chain does, or takes no longer sequences.
    """
    x = inputs[0] if len(inputs) == 1 else None
    dims = 2 if chain.embedding is not None else 3
    if not isinstance(x, Tensor) or x.dim() != dims:
        raise ExportError(
            "the inputs of a model whose steps are exported do not fit",
            should="inputs=(x,), a tensor (T, B, I) or (B, T, I), or symbols (T, B) or (B, T)",
            found=", ".join(str(tuple(i.shape)) if isinstance(i, Tensor) else type(i).__name__ for i in inputs),
        )
    generator = torch.Generator().manual_seed(1)
    symbols = None if chain.embedding is None else len(chain.embedding)

    def random(shape: Sequence[int]) -> Tensor:
        if symbols is None:
            return torch.randn(shape, generator=generator).to(x)
        return torch.randint(symbols, tuple(shape), generator=generator).to(x)

    pairs = [("the given inputs", x), ("random inputs", random(x.shape))]
    axis = 1 if chain.stack.batch_first else 0
    if x.shape[axis] < LEAST_STEPS:
        longer = [*x.shape]
        longer[axis] = LEAST_STEPS
        pairs.append((f"random inputs, T = {LEAST_STEPS}", random(longer)))
    return [_model_case(model, chain, title, each) for title, each in pairs]


def _model_case(model: nn.Module, chain: Chain, title: str, x: Tensor) -> ChainCase:
    try:
        with evaluation_mode(model):
            output = model(x)
    except Exception as error:  # whatever the user's own code raises
        raise ExportError(
            f"{chain.title} does not run on {title}",
            should=f"a forward that takes {tuple(x.shape)}", found=first_line(error),
            hint="other inputs=, which are its arguments",
        ) from error  # fmt: skip
    output = output[0] if isinstance(output, tuple) and output else output
    batch_first, last = chain.stack.batch_first, (x.shape[0 if chain.stack.batch_first else 1], chain.output_size)
    if isinstance(output, Tensor) and output.shape in ((*x.shape[:2], chain.output_size), last):
        y: Array = output.cpu().numpy()
        time_first = x.transpose(0, 1) if batch_first else x
        return ChainCase(title, time_first.cpu().numpy(), y.swapaxes(0, 1) if y.ndim == 3 and batch_first else y)
    raise ExportError(
        f"{chain.title} does not give what its layers give one after the other",
        should=f"an output {(*x.shape[:2], chain.output_size)}, or the last one {last}",
        found=str(tuple(output.shape)) if isinstance(output, Tensor) else type(output).__name__,
        hint="export its recurrent layer alone",
    )
