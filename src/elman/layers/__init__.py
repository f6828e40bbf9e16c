"""Recurrent layers with the interface of torch.nn's, and the cells that they are made of. The list needs no torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from elman.layers.gru import GRU
    from elman.layers.lstm import LSTM
    from elman.layers.recurrent import Recurrent
    from elman.layers.rnn import RNN

__all__ = ["GRU", "LAYERS", "LSTM", "RNN", "layer_class"]

LAYERS: dict[str, str] = {"rnn": "RNN", "gru": "GRU", "lstm": "LSTM"}
"""The one list of cells: a module of this package, and the layer in it. Whatever else knows all cells asks here."""


def layer_class(name: str) -> type[Recurrent]:
    """Return the layer of a cell in `LAYERS`."""
    layer: type[Recurrent] = getattr(import_module(f"elman.layers.{name}"), LAYERS[name])
    return layer


def __getattr__(name: str) -> Any:
    for module, layer in LAYERS.items():
        if name == layer:
            return layer_class(module)
    raise AttributeError(f"module 'elman.layers' has no attribute {name!r}")
