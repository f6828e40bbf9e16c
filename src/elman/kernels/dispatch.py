"""Dispatch: the only place that picks a kernel, and says why."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple, Unpack

import torch
from torch import Tensor

from elman.errors import ElmanError
from elman.errors import ExportError as ExportError
from elman.kernels import cpu, eager, onnx_export, triton
from elman.kernels.call import check_memory as check_memory
from elman.kernels.call import is_dynamo_onnx_export, is_onnx_export, is_traced, refusal_of_zeros, tensors
from elman.kernels.cpu import single_step
from elman.kernels.cpu.packing import forget as forget
from elman.kernels.cpu.single_step import is_slower as is_slower
from elman.kernels.cpu.single_step import needs_gradients
from elman.kernels.cpu.stepper import Stepper as Stepper
from elman.kernels.cpu.stepper import is_plain as is_plain
from elman.kernels.eager import Options, State, Steps
from elman.kernels.weights import Weights

# Every kernel is a module with `refusal` and `unroll`; the fastest comes first, the last one takes everything. One
# that is written for a kind of device names it as `device`.
KERNELS: dict[str, ModuleType] = {"triton": triton, "cpu": cpu, "eager": eager}

# Torch's own operator, which a layer runs itself, all layers and directions in one call: quicker than the last kernel.
TORCH = "torch"

# What a traced call is in a model of ONNX.
ONNX = "onnx"

TorchRefusal = Callable[[], str | None]
"""Says why torch's own operator cannot run a call, or None."""


class SlowPathError(ElmanError):
    """Under `strict`, a slower kernel would have run."""


class Choice(NamedTuple):
    """Which kernel runs a call, and why each faster one does not.

    Attributes:
        name: of the kernel, or `TORCH`.
        refusals: the reason of each faster kernel, by name.
        how: in which of its ways, where the kernel has several; filled in by `explained`.
    """

    name: str
    refusals: dict[str, str]
    how: str = ""


def choose(
    cell: Steps, x_TBI: Tensor, state: State, weights: Weights, torch_refusal: TorchRefusal | None = None,
    **options: Unpack[Options],
) -> Choice:  # fmt: skip
    """Return the fastest kernel that can run the call, with the reason why each faster one cannot.

    With `torch_refusal`, torch's own operator comes before the eager kernel.
    """
    refusals: dict[str, str] = {}
    for name, kernel in KERNELS.items():
        if kernel is eager and is_dynamo_onnx_export():
            why = onnx_export.refusal(cell, x_TBI, state, weights, **options)
            if why is None:
                return Choice(ONNX, refusals)
            refusals[ONNX] = why
        elif kernel is eager and torch_refusal is not None:
            why = torch_refusal() or refusal_of_zeros((x_TBI, *tensors(state, weights)))
            if why is None:
                return Choice(TORCH, refusals)
            refusals[TORCH] = why
        why = kernel.refusal(cell, x_TBI, state, weights, **options)
        if why is None:
            return Choice(name, refusals)
        refusals[name] = why
    raise AssertionError("the last kernel takes everything")


def explained(choice: Choice, cell: Steps, x_TBI: Tensor, weights: Weights) -> Choice:
    """Return the choice with the way in which its kernel would run the call."""
    how = getattr(KERNELS.get(choice.name), "how", None)
    return choice if how is None else choice._replace(how=how(x_TBI, cell, weights))


def unroll(
    cell: Steps, x_TBI: Tensor, state: State, weights: Weights, **options: Unpack[Options]
) -> tuple[Tensor, State]:
    """Run one layer in one direction by the kernel that `choose` picks; the contract is `eager.unroll`'s."""
    choice = choose(cell, x_TBI, state, weights, **options)
    _check(choice, x_TBI, state, weights)
    _check_export(choice)
    kernel = onnx_export if choice.name == ONNX else KERNELS[choice.name]
    result: tuple[Tensor, State] = kernel.unroll(cell, x_TBI, state, weights, **options)
    return result


def unroll_unless_torch(
    cell: Steps, x_TBI: Tensor, state: State, weights: Weights, torch_refusal: TorchRefusal,
    **options: Unpack[Options],
) -> tuple[Tensor, State] | None:  # fmt: skip
    """Do what `unroll` does, or return None where torch's own operator is to run instead of the eager kernel."""
    choice = choose(cell, x_TBI, state, weights, torch_refusal, **options)
    _check(choice, x_TBI, state, weights)
    if choice.name == TORCH:
        return None
    _check_export(choice)
    kernel = onnx_export if choice.name == ONNX else KERNELS[choice.name]
    result: tuple[Tensor, State] = kernel.unroll(cell, x_TBI, state, weights, **options)
    return result


def step(cell: Steps, x_BI: Tensor, state: State, weights: Weights) -> State:
    """Run one step, and return the state after it, the output first: the same numbers as `unroll` over one step.

    In a model that is exported to ONNX a step is simple operators, of any cell: it has no length that could be fixed.
    A kernel may have a `step` of its own for calls without gradients, which is quicker than a sequence of length one.
    """
    x_TBI = x_BI[None]
    choice = choose(cell, x_TBI, state, weights)
    _check(choice, x_TBI, state, weights)
    kernel = KERNELS.get(choice.name, eager)
    needs_unroll = torch.is_grad_enabled() or is_traced(x_TBI)
    own = None if needs_unroll else getattr(kernel, "step", None)
    after: State = kernel.unroll(cell, x_TBI, state, weights)[1] if own is None else own(cell, x_BI, state, weights)
    return after


def choose_step(cell: Steps, x_BI: Tensor, state: State, weights: Weights) -> Choice:
    """Return what runs a single step of a program's own loop: the CPU kernel, or torch's operator with the reason."""
    why = single_step.refusal(cell, x_BI, state, weights)
    if why is not None:
        return Choice(TORCH, {"cpu": why})
    numbers, differentiate = weights.ih.numel() + weights.hh.numel(), needs_gradients(x_BI, state, weights)
    if is_slower(len(cell.gates), len(x_BI), numbers, differentiate):
        return Choice(TORCH, {}, "which is quicker here than any kernel")
    return Choice("cpu", {})


run_step = single_step.run
FEW_WEIGHTS, MODE = single_step.FEW_WEIGHTS, single_step.MODE


def prepare_steps(
    stepper: Stepper,
    cell: Steps,
    x_BI: Tensor,
    states: Sequence[State],
    layers: Sequence[Weights],
    parameters: Mapping[str, Tensor | None],
) -> None:
    """Make `stepper` ready for more steps of a stack of layers, if its kernel is the one that runs all of them.

    Args:
        stepper: what the layer keeps.
        cell: of all layers.
        x_BI: the input of a step.
        states: the state of each layer.
        layers: the weights of each layer.
        parameters: by name, those that the weights may be among.
    """
    for state, weights in zip(states, layers, strict=True):
        if KERNELS[choose(cell, x_BI[None], state, weights).name] is not cpu:
            return
        x_BI = state[0]
    assert cell.kernel is not None
    stepper.prepare(cell.kernel, layers, parameters)


def check_strict(choose: Callable[..., Choice], *arguments: Any) -> None:
    """Raise under `strict` if the choice for a call is a slower kernel; elsewhere the choice is not made."""
    if _strict:
        choice = choose(*arguments)
        if choice.refusals:
            raise SlowPathError(
                "strict: torch's own operator would run",
                should=f"the kernel {next(iter(choice.refusals))!r}",
                found="; ".join(f"{name}: {why}" for name, why in choice.refusals.items()),
                hint="change what the reason names, or leave elman.strict()",
            )


def check_strict_output(s_NH: Tensor, why: str) -> None:
    """Raise under `strict` if the output layer's loss is left to torch on the CPU, for which there is a kernel."""
    if _strict and s_NH.device.type == "cpu":
        raise SlowPathError(
            "strict: torch's own operators would run the output layer",
            should="the kernel 'cpu'",
            found=why,
            hint="change what the reason names, or leave elman.strict()",
        )


def _check(choice: Choice, x_TBI: Tensor, state: State, weights: Weights) -> None:
    _check_strict(choice, x_TBI)
    if KERNELS.get(choice.name, eager) is eager:
        check_memory((x_TBI, weights.hr, *tensors(state, weights)))


def _check_strict(choice: Choice, x_TBI: Tensor) -> None:
    if not (choice.refusals and _strict):
        return
    # A kernel for another device is no reason, unless there is none for this one.
    here = x_TBI.device.type
    refusals = {name: why for name, why in choice.refusals.items() if name in KERNELS}
    missed = {name: why for name, why in refusals.items() if getattr(KERNELS[name], "device", here) == here}
    if not missed and not hasattr(KERNELS.get(choice.name), "device"):
        missed = refusals
    if missed:
        operator = "torch's own operator" if choice.name == TORCH else f"the kernel {choice.name!r}"
        raise SlowPathError(
            f"strict: {operator} would run",
            should=f"the kernel {next(iter(missed))!r}",
            found="; ".join(f"{name}: {why}" for name, why in missed.items()),
            hint="change what the reason names, or leave elman.strict()",
        )


def _check_export(choice: Choice) -> None:
    if choice.name == "eager" and is_onnx_export():
        unknown = "a call of Recurrent.over_symbols, or of a layer that is observed"
        raise ExportError(
            "the layer cannot be exported to ONNX inside a model",
            should="a layer and a call that ONNX has an operator for (dynamo=True), or torch.nn (dynamo=False)",
            found=choice.refusals.get(ONNX) or choice.refusals.get(TORCH, unknown),
            hint="elman.export of the layer alone, or a model of one step (layer.step under torch.no_grad())",
        )


_strict = False


def is_strict() -> bool:
    """Whether `strict` is on."""
    return _strict


class strict:  # noqa: N801  (it is used like torch.set_grad_enabled)
    """Raise `SlowPathError` wherever a slower kernel than the fastest would run: a setting and a context manager.

    `elman.strict()` sets it for the whole process, `with elman.strict():` until the end of the block,
    `elman.strict(False)` lifts it.
    """

    def __init__(self, enabled: bool = True) -> None:
        global _strict
        self._before, _strict = _strict, enabled

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        global _strict
        _strict = self._before
