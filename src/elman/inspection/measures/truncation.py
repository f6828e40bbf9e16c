"""Truncated backpropagation through time: its gradient compared with the full one, on the same batches.

The forward pass is the same; the gradient is cut every `window` steps, through all layers at once, as in training.
Williams and Peng, "An efficient gradient-based algorithm for on-line training of recurrent network trajectories", 1990.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from elman.inspection.capture.recorder import LayerDirection, LossFunction, Recording, record


@dataclass(frozen=True)
class Truncation:
    """The gradient of one window length compared with the full one, for U and W of one layer in one direction.

    Attributes:
        window: truncation length (TBPTT), in steps.
        cosine: similarity of the two gradients; 1 if nothing is lost.
        relative_error: |truncated - full| / |full|.
    """

    window: int
    cosine: float
    relative_error: float


def windows(own: int | None, steps: int) -> tuple[int, ...]:
    """Return the windows to try: 1/4 to 4 times the run's own; without one, 1/16 to 1/2 of the sequence."""
    base = [own // 4, own // 2, own, 2 * own, 4 * own] if own else [steps // 16, steps // 8, steps // 4, steps // 2]
    return tuple(sorted({w for w in base if 1 <= w < steps}))


def measure(
    model: nn.Module,
    batches: Sequence[Any],
    loss: LossFunction,
    full: Mapping[LayerDirection, Sequence[Tensor]],
    tried: Sequence[int],
) -> dict[LayerDirection, tuple[Truncation, ...]]:
    """Compare the gradient of every strand for each window.

    Args:
        model: as in `diagnose`.
        batches: as in `diagnose`.
        loss: as in `diagnose`.
        full: the gradient without truncation of each strand's weights, as `summed_gradients` returns it.
        tried: the windows.
    """
    rows: dict[LayerDirection, list[Truncation]] = {strand: [] for strand, whole in full.items() if whole}
    for window in tried:
        cut = summed_gradients((record(model, batch, loss, window=window) for batch in batches), list(rows))
        for strand, results in rows.items():
            results.append(_compare(window, cut[strand], full[strand]))
    return {strand: tuple(results) for strand, results in rows.items()}


def summed_gradients(
    recordings: Iterable[Recording], strands: Sequence[LayerDirection]
) -> dict[LayerDirection, list[Tensor]]:
    """Return the gradients of each strand's U and W, summed over recordings."""
    sums: dict[LayerDirection, list[Tensor]] = {}
    for recording in recordings:
        for strand in strands:
            own = gradients_of(strand, recording.gradients)
            sums[strand] = [a + b for a, b in zip(sums[strand], own, strict=True)] if strand in sums else own
    return sums


def gradients_of(strand: LayerDirection, gradients: Mapping[str, Tensor]) -> list[Tensor]:
    """Return the gradients of a strand's U and W among those of all parameters."""
    end = f"_l{strand.layer}" + ("_reverse" if strand.direction else "")
    prefix = f"{strand.module}." if strand.module else ""
    names = [f"{prefix}{weight}{end}" for weight in ("weight_ih", "weight_hh")]
    return [gradients[name] for name in names if name in gradients]


def _compare(window: int, cut: Sequence[Tensor], whole: Sequence[Tensor]) -> Truncation:
    a, b = (torch.cat([g.flatten() for g in gradients]).double() for gradients in (cut, whole))
    size = float(b.norm())
    cosine = float(a @ b / (a.norm() * b.norm()).clamp(min=1e-300)) if size else 1.0
    return Truncation(window, cosine, float((a - b).norm()) / size if size else 0.0)
