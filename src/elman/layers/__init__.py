"""Recurrent layers that take the place of torch.nn's, and the cells that they are made of."""

from elman.layers.gru import GRU
from elman.layers.lstm import LSTM
from elman.layers.recurrent import Recurrent
from elman.layers.rnn import RNN

# The one list of cells; whatever else knows all of them asks here.
LAYERS: dict[str, type[Recurrent]] = {"rnn": RNN, "gru": GRU, "lstm": LSTM}

__all__ = ["GRU", "LAYERS", "LSTM", "RNN", "Recurrent"]
