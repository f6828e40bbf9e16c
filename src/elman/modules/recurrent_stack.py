"""The encoder: recurrent layers over a ragged batch, and one vector for each sequence."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from elman.errors import SettingError, unknown_name
from elman.layers import LAYERS
from elman.modules.dropout import SequenceDropout
from elman.modules.pooling import build_pooling, last_output


def build_layers(
    cell: str,
    input_size: int,
    hidden: int,
    *,
    layers: int = 1,
    bidirectional: bool = False,
    nonlinearity: str = "tanh",
    dropout: float = 0.0,
    variational: bool = False,
    init: str = "torch",
    learn_initial_state: bool = False,
) -> Any:
    """Build recurrent layers out of settings.

    Args:
        cell: a name in `elman.layers.LAYERS`.
        input_size: I.
        hidden: H, units of each layer and direction.
        layers: L.
        bidirectional: a second set of weights runs from the last step to the first.
        nonlinearity: of the plain RNN; the other cells have none to choose.
        dropout: probability of dropping an output between layers.
        variational: one dropout mask for all steps.
        init: how they are filled at first, by name.
        learn_initial_state: the initial state is learned.

    Raises:
        SettingError: an unknown name, an impossible size, or a nonlinearity for a cell that has none to choose.
    """
    if cell not in LAYERS:
        raise unknown_name("cell", cell, LAYERS)
    if cell != "rnn" and nonlinearity != "tanh":
        raise SettingError(
            f"the cell {cell} has no nonlinearity to choose",
            should="nonlinearity=tanh, or cell=rnn",
            found=f"cell={cell}, nonlinearity={nonlinearity}",
            hint="leave nonlinearity out, or --cell rnn",
        )
    build: Any = LAYERS[cell]
    return build(
        input_size,
        hidden,
        num_layers=layers,
        bidirectional=bidirectional,
        dropout=dropout if layers > 1 else 0.0,
        variational=variational,
        init=init,
        learn_initial_state=learn_initial_state,
        **({"nonlinearity": nonlinearity} if cell == "rnn" else {}),
    )


class RecurrentStack(nn.Module):
    """Dropout, recurrent layers, pooling: (T, B, I) and lengths -> (B, F), and the outputs at all steps, (T, B, F).

    Args:
        input_size: I.
        hidden: H.
        cell, layers, bidirectional, nonlinearity, dropout, variational, init, learn_initial_state: see `build_layers`;
            the dropout is applied to the pooled vector and the outputs too.
        pooling: a name in `elman.modules.pooling.POOLINGS`.

    Raises:
        SettingError: an unknown name or an impossible size.
    """

    def __init__(
        self,
        input_size: int,
        hidden: int,
        *,
        cell: str = "gru",
        layers: int = 1,
        bidirectional: bool = False,
        nonlinearity: str = "tanh",
        dropout: float = 0.0,
        variational: bool = False,
        init: str = "torch",
        learn_initial_state: bool = False,
        pooling: str = "last",
    ) -> None:
        super().__init__()
        self.recurrent = build_layers(
            cell,
            input_size,
            hidden,
            layers=layers,
            bidirectional=bidirectional,
            nonlinearity=nonlinearity,
            dropout=dropout,
            variational=variational,
            init=init,
            learn_initial_state=learn_initial_state,
        )
        self.output_size: int = self.recurrent.output_size
        self.pooling = build_pooling(pooling, self.output_size)
        self.dropout = SequenceDropout(dropout, variational)

    def forward(self, x_TBI: Tensor, lengths_B: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the vector of each sequence, (B, F), and the outputs at all steps, (T, B, F).

        Args:
            x_TBI: the batch; what stands beyond a sequence's length changes nothing.
            lengths_B: (B,), None where all have T steps.
        """
        y_TBF, state = self.recurrent(x_TBI, lengths=lengths_B)
        known = torch.full((y_TBF.shape[1],), len(y_TBF)) if lengths_B is None else lengths_B
        pooled_BF = self.pooling(y_TBF, known.to(y_TBF.device), last_output(state, self.recurrent.num_directions))
        return self.dropout(pooled_BF[None])[0], self.dropout(y_TBF)
