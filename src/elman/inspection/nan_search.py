"""Search for the sequences of a batch that make a number infinite or NaN, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from elman.errors import ElmanError
from elman.inspection.capture.recorder import LayerDirection, LossFunction, record
from elman.inspection.capture.replay import Linear, replay
from elman.inspection.isolation import preserved_rng_state, single_thread
from elman.inspection.measures import gradient_flow as flow

MAX_LISTED = 8  # sequences


class NonFiniteSource(NamedTuple):
    """A layer with non-finite numbers, and the sequences they are in.

    Attributes:
        strand: the layer and direction.
        what: "input", "output", "error" or "gradient": the first of them that is not finite.
        rows: numbers of the sequences in the batch.
    """

    strand: LayerDirection
    what: str
    rows: tuple[int, ...]


def non_finite_sources(
    model: nn.Module, batch: Any, loss: LossFunction, *, dropout: bool = False
) -> list[NonFiniteSource]:
    """Return, for every layer, the sequences of a batch that make something infinite or not a number.

    Layers whose numbers are all finite are omitted. Only one kind of number is reported: inputs and outputs come
    before errors and gradients, which depend on them.

    Args:
        model: as in `diagnose`.
        batch: the batch after which training stopped.
        loss: as in `diagnose`; here it may be infinite.
        dropout: keep the mode of the model, instead of evaluation mode.
    """
    with preserved_rng_state(model):
        calls = record(model, batch, loss, finite=False, weights=False, dropout=dropout).calls
    quantities: list[tuple[str, Callable[[Any], Tensor]]] = [
        ("input", lambda p: p.x_TBI),
        ("output", lambda p: p.y_TBP),
        ("error", lambda p: torch.zeros_like(p.y_TBP) if p.d_y_TBP is None else p.d_y_TBP),
        ("gradient", lambda p: flow.backpropagate(Linear(replay(p)))[1][None, :, None]),
    ]
    for what, tensor_of in quantities:
        sources = []
        for call in calls:
            rows = (~torch.isfinite(tensor_of(call)).all(2).all(0)).nonzero().flatten().tolist()
            if rows:
                sources.append(NonFiniteSource(call.strand, what, tuple(rows)))
        if sources:
            return sources
    return []


def explain_non_finite(model: nn.Module, again: Callable[[], Tensor]) -> str | None:
    """Name the sequences and the layer that made a number infinite or NaN; None if they cannot be found.

    Args:
        model: in the mode that it was trained in.
        again: computes the loss of the offending batch again, with the same random numbers.
    """
    try:
        with single_thread():
            sources = non_finite_sources(model, None, lambda m, b: again(), dropout=True)
    except (ElmanError, RuntimeError):  # the search may fail like the run itself, which reports its own error
        return None
    return describe(sources[0]) if sources else None


def describe(source: NonFiniteSource) -> str:
    """Return a source as the end of a sentence."""
    preposition = {"input": "to", "output": "of", "error": "at", "gradient": "in"}[source.what]
    rows = source.rows
    sequences = f"sequence {rows[0]}" if len(rows) == 1 else f"the sequences {_listed(rows)}"
    return f"{sequences} of the batch (from 0), whose {source.what} {preposition} {source.strand} is not finite"


def _listed(rows: Sequence[int]) -> str:
    if len(rows) > MAX_LISTED:
        return f"{', '.join(map(str, rows[:MAX_LISTED]))} and {len(rows) - MAX_LISTED} more"
    return f"{', '.join(map(str, rows[:-1]))} and {rows[-1]}"
