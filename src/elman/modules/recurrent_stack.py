"""Recurrent stack: recurrent layers built from settings, pooling and dropout."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from elman.errors import SettingError, look_up
from elman.kernels.cpu.packing import frozen_weights as frozen_weights  # predictors promise it
from elman.layers import LAYERS, layer_class
from elman.modules.dropout import SequenceDropout
from elman.modules.pooling import build_pooling, last_output


def build_layers(
    cell: str, input_size: int, hidden: int, *, layers: int = 1, bidirectional: bool = False,
    nonlinearity: str = "tanh", dropout: float = 0.0, variational_dropout: bool = False, init: str = "torch",
    learn_initial_state: bool = False,
) -> Any:  # fmt: skip
    """Build recurrent layers from settings.

    Args:
        cell: a name in `elman.layers.LAYERS`.
        input_size: I, input features.
        hidden: H, units of each layer and direction.
        layers: L, number of layers.
        bidirectional: whether a second set of weights reads from the last step to the first.
        nonlinearity: the nonlinearity of the plain RNN; the other cells have no choice.
        dropout: probability of dropping an output between layers.
        variational_dropout: one dropout mask for all steps.
        init: the initialisation of the recurrent weights, by name.
        learn_initial_state: whether the initial state is learned.

    Raises:
        SettingError: an unknown name, an invalid size, or a nonlinearity for a cell that has no choice.
    """
    look_up("cell", cell, LAYERS)
    if cell != "rnn" and nonlinearity != "tanh":
        raise SettingError(
            f"the cell {cell} has no nonlinearity to choose",
            should="nonlinearity=tanh, or cell=rnn",
            found=f"cell={cell}, nonlinearity={nonlinearity}",
            hint="omit nonlinearity, or --cell rnn",
        )
    build: Any = layer_class(cell)
    return build(
        input_size, hidden, layers, bidirectional=bidirectional, dropout=dropout if layers > 1 else 0.0,
        variational=variational_dropout, init=init, learn_initial_state=learn_initial_state,
        **({"nonlinearity": nonlinearity} if cell == "rnn" else {}),
    )  # fmt: skip


def select_rows(state: Any, rows_N: Tensor) -> Any:
    """Return the recurrent state of these rows: a tensor (L, N, H) or a tuple of them, as `state` is."""
    return state[:, rows_N] if isinstance(state, Tensor) else tuple(part[:, rows_N] for part in state)


class RecurrentStack(nn.Module):
    """Recurrent layers, pooling and dropout: (T, B, I) and lengths -> (B, F), and the outputs at all steps, (T, B, F).

    Args:
        input_size: I, input features.
        hidden: H, units of each layer and direction.
        cell: a name in `elman.layers.LAYERS`.
        dropout: probability of dropping a feature, between layers, of the pooled vector and of the outputs.
        variational_dropout: one dropout mask for all steps.
        pooling: a name in `elman.modules.pooling.POOLINGS`.
        network: the other arguments of `build_layers`.

    Raises:
        SettingError: an unknown name or an invalid size.
    """

    def __init__(
        self, input_size: int, hidden: int, *, cell: str = "gru", dropout: float = 0.0,
        variational_dropout: bool = False, pooling: str = "last", **network: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        options: dict[str, Any] = {"dropout": dropout, "variational_dropout": variational_dropout, **network}
        self.recurrent = build_layers(cell, input_size, hidden, **options)
        self.output_size: int = self.recurrent.output_size
        self.pooling = build_pooling(pooling, self.output_size)
        self.dropout = SequenceDropout(dropout, variational_dropout)

    def forward(self, x_TBI: Tensor, lengths_B: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the vector of each sequence, (B, F), and the outputs at all steps, (T, B, F).

        Values beyond a sequence's length have no effect; `lengths_B` is None if all have T steps.
        """
        y_TBF, state = self.recurrent(x_TBI, lengths=lengths_B)
        sizes_B = torch.full((y_TBF.shape[1],), len(y_TBF)) if lengths_B is None else lengths_B
        pooled_BF = self.pooling(y_TBF, sizes_B.to(y_TBF.device), last_output(state, self.recurrent.num_directions))
        return self.dropout(pooled_BF[None])[0], self.dropout(y_TBF)
