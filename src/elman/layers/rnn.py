"""The plain recurrent network (Elman, 1990), with any of four nonlinearities."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from elman.errors import SettingError, look_up
from elman.layers.arguments import refuse_projection
from elman.layers.cell import Cell, State
from elman.layers.drop_in import DropIn


class TanhCell(Cell):
    """h_t = tanh(U x_t + b_ih + W h_{t-1} + b_hh). Elman, "Finding structure in time", 1990. One gate: h itself."""

    gates: ClassVar[tuple[str, ...]] = ("h",)
    kernel: ClassVar[str | None] = "rnn_tanh"

    def step(self, gx_BGH: Tensor, gh_BGH: Tensor, state: State) -> State:
        """Return the state after one step, see `Cell.step`."""
        return (torch.tanh(gx_BGH[:, 0] + gh_BGH[:, 0]),)


class ReluCell(Cell):
    """h_t = max(0, U x_t + b_ih + W h_{t-1} + b_hh). Le, Jaitly, Hinton, 2015 (with W = 1 at the start: the IRNN)."""

    gates: ClassVar[tuple[str, ...]] = ("h",)
    kernel: ClassVar[str | None] = "rnn_relu"

    def step(self, gx_BGH: Tensor, gh_BGH: Tensor, state: State) -> State:
        """Return the state after one step, see `Cell.step`."""
        return (torch.relu(gx_BGH[:, 0] + gh_BGH[:, 0]),)


class SigmoidCell(Cell):
    """h_t = 1 / (1 + exp(-(U x_t + b_ih + W h_{t-1} + b_hh))). The nonlinearity of Elman's own experiments."""

    gates: ClassVar[tuple[str, ...]] = ("h",)
    kernel: ClassVar[str | None] = "rnn_sigmoid"

    def step(self, gx_BGH: Tensor, gh_BGH: Tensor, state: State) -> State:
        """Return the state after one step, see `Cell.step`."""
        return (torch.sigmoid(gx_BGH[:, 0] + gh_BGH[:, 0]),)


class IdentityCell(Cell):
    """h_t = U x_t + b_ih + W h_{t-1} + b_hh. The linear network, for study: its gradients are powers of W."""

    gates: ClassVar[tuple[str, ...]] = ("h",)
    kernel: ClassVar[str | None] = "rnn_identity"

    def step(self, gx_BGH: Tensor, gh_BGH: Tensor, state: State) -> State:
        """Return the state after one step, see `Cell.step`."""
        return (gx_BGH[:, 0] + gh_BGH[:, 0],)


CELLS: dict[str, type[Cell]] = {"tanh": TanhCell, "relu": ReluCell, "sigmoid": SigmoidCell, "identity": IdentityCell}


class RNN(DropIn, nn.RNN):  # type: ignore[misc]
    """The plain recurrent network, h_t = f(U x_t + b_ih + W h_{t-1} + b_hh), as `torch.nn.RNN` and beyond.

    Args:
        input_size: I, features of the input at each step.
        hidden_size: H, hidden units.
        num_layers: L, layers, each fed with the outputs of the one below.
        nonlinearity: f: "tanh", "relu", "sigmoid" or "identity".
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
        SettingError: an invalid size, or an unknown nonlinearity or initialisation.
    """

    _original = torch_class = nn.RNN
    cells: ClassVar[tuple[type[Cell], ...]] = tuple(CELLS.values())

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, nonlinearity: str = "tanh", bias: bool = True,
        batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False,
        device: torch.device | str | None = None, dtype: torch.dtype | None = None,
        *, variational: bool = False, init: str = "torch", learn_initial_state: bool = False, proj_size: None = None,
    ) -> None:  # fmt: skip
        refuse_projection(proj_size)
        try:
            cell = look_up("nonlinearity", nonlinearity, CELLS)
        except SettingError as error:
            raise error.amended(f"Unknown nonlinearity {nonlinearity!r}") from None
        self.nonlinearity = nonlinearity
        super().__init__(
            cell(), input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
            device=device, dtype=dtype,
            variational=variational, init=init, learn_initial_state=learn_initial_state,
        )  # fmt: skip
