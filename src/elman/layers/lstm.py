"""Long short-term memory (Hochreiter and Schmidhuber, 1997) with forget gates (Gers et al., 2000)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from elman.layers.cell import Cell, State
from elman.layers.drop_in import DropIn


class LSTMEquations(Cell):
    """One step of long short-term memory.

        i = sigmoid(U_i x + b_ii + W_i h + b_hi)           input gate: at 1 the candidate is written
        f = sigmoid(U_f x + b_if + W_f h + b_hf)           forget gate: at 1 the old content is kept
        g = tanh(U_g x + b_ig + W_g h + b_hg)              candidate
        o = sigmoid(U_o x + b_io + W_o h + b_ho)           output gate: at 1 the content is shown
        c' = f * c + i * g
        h' = o * tanh(c')

    Hochreiter and Schmidhuber, "Long short-term memory", 1997; the forget gate is from Gers, Schmidhuber and
    Cummins, "Learning to forget", 2000. Gates in the order i, f, g, o.
    """

    gates: ClassVar[tuple[str, ...]] = ("i", "f", "g", "o")
    states: ClassVar[tuple[str, ...]] = ("h", "c")
    keeps: ClassVar[str | None] = "f"
    writes: ClassVar[str | None] = "i"
    sigmoid_gates: ClassVar[tuple[str, ...]] = ("i", "f", "o")
    candidate: ClassVar[str | None] = "g"
    kernel: ClassVar[str | None] = "lstm"

    def step(self, gx_BGH: Tensor, gh_BGH: Tensor, state: State) -> State:
        """Return the state after one step, see `Cell.step`."""
        _, c_BH = state
        i, f, g, o = (gx_BGH + gh_BGH).unbind(1)
        c_BH = torch.sigmoid(f) * c_BH + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c_BH), c_BH


class LSTM(DropIn, nn.LSTM):  # type: ignore[misc]
    """Long short-term memory, as `torch.nn.LSTM` and beyond; the equations are in `LSTMEquations`.

    Args:
        input_size: I, features of the input at each step.
        hidden_size: H, hidden units.
        num_layers: L, layers, each fed with the outputs of the one below.
        bias: whether b_ih and b_hh exist.
        batch_first: input and output are (B, T, ...) instead of (T, B, ...).
        dropout: probability of dropping an output between layers, while training.
        bidirectional: a second set of weights runs from the last step to the first.
        proj_size: P, size of a projection of h (Sak, Senior and Beaufays, 2014); 0 stands for none.
        device: of the parameters.
        dtype: of the parameters.
        variational: one dropout mask for all steps of a sequence (Gal and Ghahramani, 2016).
        init: the initialisation by name, see `elman.layers.initialise.INITIALISATIONS`.
        learn_initial_state: the initial state is a parameter of each layer and direction instead of zeros.

    Calling it, see `Recurrent.forward`. The state is a pair (h, c), (L*D, B, P) and (L*D, B, H).

    Raises:
        SettingError: an invalid size, or an unknown initialisation.
    """

    _original = torch_class = nn.LSTM
    cells: ClassVar[tuple[type[Cell], ...]] = (LSTMEquations,)

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
        batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, proj_size: int = 0,
        device: torch.device | str | None = None, dtype: torch.dtype | None = None,
        *, variational: bool = False, init: str = "torch", learn_initial_state: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(
            LSTMEquations(), input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
            proj_size=proj_size, device=device, dtype=dtype,
            variational=variational, init=init, learn_initial_state=learn_initial_state,
        )  # fmt: skip
