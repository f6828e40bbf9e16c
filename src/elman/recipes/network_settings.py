"""The settings of the recurrent layers that the recipes share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from elman.layers import LAYERS
from elman.settings import setting
from elman.training.settings import TrainingSettings


@dataclass(frozen=True, kw_only=True)
class CellSettings(TrainingSettings):
    """The settings of training, and what every recurrent layer can be told: all that a diagnosis advises is here."""

    cell: str = setting("gru", "the recurrent layer", choices=tuple(LAYERS), fixed=True)
    nonlinearity: str = setting("tanh", "of the cell rnn", choices=("tanh", "relu", "sigmoid", "identity"), fixed=True)
    init: str = setting("torch", "how recurrent layers are filled at first", fixed=True)

    def layer(self) -> dict[str, Any]:
        """Return these three as a model takes them by name."""
        return {"cell": self.cell, "nonlinearity": self.nonlinearity, "init": self.init}


@dataclass(frozen=True, kw_only=True)
class NetworkSettings(CellSettings):
    """The settings of training, and of a stack of recurrent layers."""

    hidden: int = setting(128, "units of a layer and direction", low=1, high=65536, fixed=True)
    layers: int = setting(1, "recurrent layers", low=1, high=256, fixed=True)
    bidirectional: bool = setting(False, "a second set of weights reads from the end", fixed=True)
    learn_initial_state: bool = setting(False, "the state before the first step is learned", fixed=True)
    dropout: float = setting(0.1, "probability of dropping a feature between layers and after them", low=0, high=1)
    variational: bool = setting(False, "one dropout mask for all steps of a sequence", fixed=True)
    batch_size: int = setting(32, "sequences in a batch", low=1, high=65536, fixed=True)

    def network(self) -> dict[str, Any]:
        """Return what `elman.modules.recurrent_stack.build_layers` is told."""
        names = ("layers", "bidirectional", "learn_initial_state", "dropout", "variational")
        return {**self.layer(), **{name: getattr(self, name) for name in names}}
