"""The kernels' launches: types, tiles and flags for Triton, ranges of steps, the card's size.

The only file that imports the kernels, and itself imported when a call first needs them: Triton reads
TRITON_INTERPRET where a kernel is defined.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import torch
import triton.language as tl
from torch import Tensor
from triton.runtime.errors import OutOfResources

from elman.kernels.triton.backward import backward as backward_kernel
from elman.kernels.triton.forward import forward as forward_kernel
from elman.kernels.triton.plan import KINDS, PROCESSORS, SHARED, Plan, plan

# Under the interpreter the kernels are ordinary functions, and the programs of a grid run one after another.
INTERPRETED = type(forward_kernel).__name__ == "InterpretedFunction"

_TYPES = {torch.float64: tl.float64, torch.float32: tl.float32, torch.bfloat16: tl.bfloat16, torch.float16: tl.float16}


@cache
def card(device: torch.device) -> tuple[int, int]:
    """Return the multiprocessors and the bytes of shared memory for one program; under the interpreter an H100's."""
    if device.type != "cuda":
        return PROCESSORS, SHARED
    properties = torch.cuda.get_device_properties(device)
    shared = getattr(properties, "shared_memory_per_block_optin", properties.shared_memory_per_block)
    return properties.multi_processor_count, shared


def accumulates_in(dtype: torch.dtype) -> torch.dtype:
    """Return the type of sums and carried states."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def numbers(dtype: torch.dtype) -> dict[str, Any]:
    """Return the types of a product's factors and sums, and how float32 factors are multiplied.

    The interpreter multiplies the bits of bfloat16 (a defect of it); there they are widened, which changes nothing.
    """
    widened = INTERPRETED and dtype == torch.bfloat16
    tf32 = dtype == torch.float32 and torch.backends.cuda.matmul.allow_tf32
    return {
        "DOT": tl.float32 if widened else _TYPES[dtype],
        "ACC": _TYPES[accumulates_in(dtype)],
        "PRECISION": "tf32" if tf32 else "ieee",
    }


def run(kernel: Any, plan: Plan, B: int, H: int, start: int, stop: int, *arguments: Any, **flags: Any) -> None:
    """Launch a kernel for the steps or rounds start to stop, on the current stream.

    The second tier's is one cooperative launch; under the interpreter one launch a step stands for the barrier.

    Raises:
        TooLargeError: the card has no room for a program of the first two tiers, or for all of the second's at once.
    """
    grid = plan.grid(B, H)
    options: dict[str, Any] = {"num_warps": plan.warps, "num_stages": 1}
    tensor = next(a for a in arguments if isinstance(a, Tensor))
    counters = None
    pieces = [(start, stop)]
    if plan.tier == 2:
        if INTERPRETED:
            pieces = [(n, n + 1) for n in range(start, stop)]
        else:
            options["launch_cooperative_grid"] = True
            counters = torch.zeros(grid[0], dtype=torch.int32, device=tensor.device)
    T, flags = flags["T"], {name: value for name, value in flags.items() if name != "T"}
    key = (kernel.__name__, plan, grid, tensor.dtype, tensor.device, *flags.values())
    if key in _too_large:
        raise TooLargeError
    try:
        with _on(tensor):
            for first, last in pieces:
                kernel[grid](
                    *arguments, counters, first, last, T, B, H, grid[1],
                    BB=plan.BB, BH=plan.BH, KP=plan.KP, TIER=plan.tier, **flags, **options,
                )  # fmt: skip
    except Exception as error:
        if plan.tier == 3 or not _is_too_large(error):
            raise
        _too_large.add(key)
        raise TooLargeError from error


class TooLargeError(Exception):
    """The card has no room for the programs of a plan; nothing has been run."""


_too_large: set[tuple[Any, ...]] = set()


def _is_too_large(error: Exception) -> bool:
    """Whether the driver says that a program needs more than there is, or that a grid cannot be there all at once."""
    return isinstance(error, OutOfResources) or (isinstance(error, RuntimeError) and "too many" in str(error))


def _on(tensor: Tensor) -> AbstractContextManager[object]:
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()


def plan_for(kind: str, x_TBI: Tensor, H: int, tier: int | None) -> Plan:
    """Return the plan of a call on the card that it is on."""
    dtype = x_TBI.dtype
    if dtype == torch.float64 and not INTERPRETED:
        tier = None
    exact = numbers(dtype)["PRECISION"] == "ieee" and dtype == torch.float32
    return plan(kind, x_TBI.shape[1], H, x_TBI.element_size(), *card(x_TBI.device), tier, exact)


def flags_of(kind: str, T: int, reverse: bool, lengths: Tensor | None, fresh: Tensor | None, dtype: torch.dtype) -> Any:
    """Return what both kernels are compiled for, and T."""
    return {
        "T": T, "KIND": kind, "GATES": KINDS[kind].gates, "BLOCKS": KINDS[kind].blocks, "REVERSE": reverse,
        "RAGGED": lengths is not None, "RESETS": fresh is not None, **numbers(dtype),
    }  # fmt: skip


__all__ = ["INTERPRETED", "accumulates_in", "backward_kernel", "flags_of", "forward_kernel", "plan_for", "run"]
