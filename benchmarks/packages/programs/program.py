"""`Program`, what a package is measured by, and `Package`, how it is installed and where its program is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

Accelerate = Callable[[nn.Module], object]
"""`elman.accelerate`, or nothing at all."""


@dataclass(frozen=True)
class Program:
    """A model of a package, and how it is run.

    Attributes:
        model: the model as the package builds it, with random weights.
        batch: tensors in tuples, lists and dictionaries.
        loss: the loss of a training step.
        output: what the model gives without gradients; deterministic in `eval` mode.
        fit: a whole fit or prediction by the package's own program, which passes every model that it makes to the
            function that it is given.
    """

    model: nn.Module
    batch: Any
    loss: Callable[[Any, Any], Tensor]
    output: Callable[[Any, Any], Tensor]
    fit: Callable[[Accelerate], object] | None = None


@dataclass(frozen=True)
class Package:
    """A package of the comparison.

    Attributes:
        name: the name that pip knows.
        model: the model, in words.
        program: the module and the function that build the program.
        requirements: what pip is given beside torch.
        note: what a reader should know.
    """

    name: str
    model: str
    program: str
    requirements: tuple[str, ...] = ()
    note: str = ""
