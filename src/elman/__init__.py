"""Recurrent neural networks on PyTorch: train, explain, and run for ever on a stream."""

from elman.errors import ElmanError
from elman.kernels.choose import strict
from elman.layers.accelerate import accelerate
from elman.layers.cell import Cell
from elman.layers.explain import explain
from elman.layers.gru import GRU
from elman.layers.lstm import LSTM
from elman.layers.recurrent import Recurrent
from elman.layers.rnn import RNN

__version__ = "0.1.0"

__all__ = ["GRU", "LSTM", "RNN", "Cell", "ElmanError", "Recurrent", "accelerate", "explain", "strict"]
