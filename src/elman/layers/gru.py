"""The gated recurrent unit (Cho et al., 2014), in the variant of torch and cuDNN."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from elman.layers.arguments import refuse_projection
from elman.layers.cell import Cell, State
from elman.layers.drop_in import DropIn


class GRUEquations(Cell):
    """One step of the gated recurrent unit.

        r = sigmoid(U_r x + b_ir + W_r h + b_hr)           reset: at 1 the past reaches the candidate
        z = sigmoid(U_z x + b_iz + W_z h + b_hz)           update: at 1 the old state is kept
        n = tanh(U_n x + b_in + r * (W_n h + b_hn))        candidate
        h' = (1 - z) * n + z * h

    Cho et al., "Learning phrase representations using RNN encoder-decoder", 2014; with the reset gate behind the
    matrix product, as in torch.nn.GRU and cuDNN. Gates in the order r, z, n.
    """

    gates: ClassVar[tuple[str, ...]] = ("r", "z", "n")
    keeps: ClassVar[str | None] = "z"
    sigmoid_gates: ClassVar[tuple[str, ...]] = ("r", "z")
    candidate: ClassVar[str | None] = "n"
    candidate_reset: ClassVar[str | None] = "r"
    kernel: ClassVar[str | None] = "gru"

    def step(self, gx_BGH: Tensor, gh_BGH: Tensor, state: State) -> State:
        """Return the state after one step, see `Cell.step`."""
        (h_BH,) = state
        r, z = torch.sigmoid(gx_BGH[:, :2] + gh_BGH[:, :2]).unbind(1)
        n = torch.tanh(gx_BGH[:, 2] + r * gh_BGH[:, 2])
        return ((1 - z) * n + z * h_BH,)


class GRU(DropIn, nn.GRU):  # type: ignore[misc]
    """The gated recurrent unit, as `torch.nn.GRU` and beyond; the equations are in `GRUEquations`.

    Args:
        input_size: I, features of the input at each step.
        hidden_size: H, hidden units.
        num_layers: L, layers, each fed with the outputs of the one below.
        bias: whether b_ih and b_hh exist.
        batch_first: input and output are (B, T, ...) instead of (T, B, ...).
        dropout: probability of dropping an output between layers, while training.
        bidirectional: a second set of weights runs from the last step to the first.
        device: of the parameters.
        dtype: of the parameters.
        variational: one dropout mask for all steps of a sequence (Gal and Ghahramani, 2016).
        init: the initialisation by name, see `elman.layers.initialise.INITIALISATIONS`.
        learn_initial_state: the initial state is a parameter of each layer and direction instead of zeros.
        proj_size: for the LSTM only.

    Calling it, see `Recurrent.forward`. The state is one (L*D, B, H) tensor.

    Raises:
        SettingError: an invalid size, or an unknown initialisation.
    """

    _original = torch_class = nn.GRU
    cells: ClassVar[tuple[type[Cell], ...]] = (GRUEquations,)

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
        batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False,
        device: torch.device | str | None = None, dtype: torch.dtype | None = None,
        *, variational: bool = False, init: str = "torch", learn_initial_state: bool = False, proj_size: None = None,
    ) -> None:  # fmt: skip
        refuse_projection(proj_size)
        super().__init__(
            GRUEquations(), input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
            device=device, dtype=dtype,
            variational=variational, init=init, learn_initial_state=learn_initial_state,
        )  # fmt: skip
