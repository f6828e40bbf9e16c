"""Recurrent neural networks on PyTorch: train, explain, and run for ever on a stream.

The public names are looked up when they are first used: `import elman` loads nothing, and `elman --help` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from elman.errors import ElmanError
    from elman.inspection import diagnose
    from elman.kernels.dispatch import strict
    from elman.layers.accelerate import accelerate
    from elman.layers.cell import Cell
    from elman.layers.explain import explain
    from elman.layers.gru import GRU
    from elman.layers.lstm import LSTM
    from elman.layers.recurrent import Recurrent
    from elman.layers.rnn import RNN
    from elman.recipes.use import load

__version__ = "0.1.0"

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Cell",
    "ElmanError",
    "Recurrent",
    "accelerate",
    "diagnose",
    "explain",
    "load",
    "strict",
]

_HOMES = {
    "Cell": "elman.layers.cell",
    "ElmanError": "elman.errors",
    "GRU": "elman.layers.gru",
    "LSTM": "elman.layers.lstm",
    "RNN": "elman.layers.rnn",
    "Recurrent": "elman.layers.recurrent",
    "accelerate": "elman.layers.accelerate",
    "diagnose": "elman.inspection",
    "explain": "elman.layers.explain",
    "load": "elman.recipes.use",
    "strict": "elman.kernels.dispatch",
}


_ROOMS = (
    "cli",
    "data",
    "decoding",
    "errors",
    "evaluation",
    "inspection",
    "kernels",
    "layers",
    "models",
    "modules",
    "plots",
    "predictors",
    "recipes",
    "reference",
    "settings",
    "shapes",
    "storage",
    "testing",
    "training",
)


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"elman.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'elman' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, *_ROOMS, "__version__"])
