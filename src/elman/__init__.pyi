"""The public names and where they are defined, one a line; `__init__.py` looks them up when they are first used."""

from elman.errors import ElmanError as ElmanError
from elman.explorer.api import explore as explore
from elman.exporters.export import export as export
from elman.kernels.cpu.packing import frozen_weights as frozen_weights
from elman.kernels.dispatch import strict as strict
from elman.kernels.output_layer import linear_cross_entropy as linear_cross_entropy
from elman.layers.accelerate import accelerate as accelerate
from elman.layers.accelerate import decelerate as decelerate
from elman.layers.cell import Cell as Cell
from elman.layers.cells import GRUCell as GRUCell
from elman.layers.cells import LSTMCell as LSTMCell
from elman.layers.cells import RNNCell as RNNCell
from elman.layers.explain import explain as explain
from elman.layers.gru import GRU as GRU
from elman.layers.lstm import LSTM as LSTM
from elman.layers.recurrent import Recurrent as Recurrent
from elman.layers.rnn import RNN as RNN
from elman.recipes.api import diagnose as diagnose
from elman.recipes.api import evaluate as evaluate
from elman.recipes.api import train as train
from elman.recipes.use import load as load

__version__: str
__all__: list[str]
