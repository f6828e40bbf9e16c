"""Which sequences of a batch made a number infinite, or none at all: layer by layer, by one more run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from elman.errors import ElmanError
from elman.inspection.capture.recorder import LayerDirection, LossFunction, record
from elman.inspection.capture.replay import Linear, replay
from elman.inspection.isolation import one_thread, untouched_random_state
from elman.inspection.measures import gradient_flow as flow

NAMED = 8  # sequences that are named one by one


class NonFiniteSource(NamedTuple):
    """Where numbers stopped being finite."""

    strand: LayerDirection
    what: str  # "input", "output", "error" or "gradient": the first of them that is not finite
    rows: tuple[int, ...]  # the sequences of the batch


def non_finite_sources(
    model: nn.Module, batch: Any, loss: LossFunction, *, dropout: bool = False
) -> list[NonFiniteSource]:
    """Return, for every layer, the sequences of a batch that make something infinite or not a number.

    Layers whose numbers are all finite are left out. Only one kind of number is reported: inputs and outputs come
    before the errors and gradients that they spoil.

    Args:
        model: as in `diagnose`.
        batch: the batch after which training stopped.
        loss: as in `diagnose`; here it may be infinite.
        dropout: leave the model in the mode it is in, instead of the evaluation mode.
    """
    with untouched_random_state(model):
        passages = record(model, batch, loss, finite=False, weights=False, dropout=dropout).calls
    tries: list[tuple[str, Callable[[Any], Tensor]]] = [
        ("input", lambda p: p.x_TBI),
        ("output", lambda p: p.y_TBP),
        ("error", lambda p: torch.zeros_like(p.y_TBP) if p.d_y_TBP is None else p.d_y_TBP),
        ("gradient", lambda p: flow.backpropagate(Linear(replay(p))).norms_B[None, :, None]),
    ]
    for what, tensor_of in tries:
        found = []
        for passage in passages:
            broken_B = ~torch.isfinite(tensor_of(passage)).all(2).all(0)
            if bool(broken_B.any()):
                found.append(NonFiniteSource(passage.strand, what, tuple(broken_B.nonzero().flatten().tolist())))
        if found:
            return found
    return []


def autopsy(model: nn.Module, again: Callable[[], Tensor]) -> str | None:
    """Say which sequences and layers made a number infinite, in words; None where it cannot be said.

    Args:
        model: what was trained, in the mode that it was trained in.
        again: computes the loss of the offending batch again, with the same random numbers.
    """
    try:
        with one_thread():
            found = non_finite_sources(model, None, lambda m, b: again(), dropout=True)
    except (ElmanError, RuntimeError):  # a broken run may break here too: the error that is under way says enough
        return None
    return words(found[0]) if found else None


def words(culprit: NonFiniteSource) -> str:
    """Return a culprit as the end of a sentence."""
    ends = {"input": "whose input to {} is", "output": "whose output of {} is", "error": "whose error at {} is"}
    rows = culprit.rows
    said = f"sequence {rows[0]}" if len(rows) == 1 else f"the sequences {_listed(rows)}"
    place = ends.get(culprit.what, "whose gradient in {} is").format(culprit.strand)
    return f"{said} of the batch (from 0), {place} not finite"


def _listed(rows: Sequence[int]) -> str:
    if len(rows) > NAMED:
        return f"{', '.join(map(str, rows[:NAMED]))} and {len(rows) - NAMED} more"
    return f"{', '.join(map(str, rows[:-1]))} and {rows[-1]}"
