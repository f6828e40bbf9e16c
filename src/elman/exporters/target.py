"""The contract of a target: what it is called, what it may be told, and what it can write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from elman.exporters.parity import ParityReport
from elman.predictors.base import Predictor
from elman.settings import Settings


@dataclass(frozen=True)
class ModelInputs:
    """What a model is called with, which its export needs to know.

    Attributes:
        inputs: example arguments of `forward`.
        dynamic_shapes: as for `torch.export.export`; None: the first two axes of each tensor are free where the
            model allows it.
    """

    inputs: tuple[Any, ...]
    dynamic_shapes: Any = None


@dataclass(frozen=True)
class Target:
    """A form that models are exported to. Each function writes files into an empty folder and returns the parity.

    Attributes:
        name: what `to=` and `--to` call it.
        Options: what it may be told; `precision` is among them.
        layer: from (layer, folder, options).
        model: from (model, folder, options, inputs).
        run: from (predictor, folder, options).
    """

    name: str
    Options: type[Settings]
    layer: Callable[[nn.Module, Path, Any], ParityReport] | None = None
    model: Callable[[nn.Module, Path, Any, ModelInputs], ParityReport] | None = None
    run: Callable[[Predictor, Path, Any], ParityReport] | None = None
