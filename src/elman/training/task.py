"""The task of a training: model, resumable batches, objective, evaluation.

Training knows nothing else of a recipe: no concrete model, no files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from torch import Tensor, nn


class Batches(Protocol):
    """The training data, one batch after the other, epoch after epoch."""

    @property
    def position(self) -> Any:
        """The position of the next batch, as JSON; `seek(position)` in a new process continues exactly there."""

    @property
    def progress(self) -> float:
        """Epochs done, with the fraction of the current one."""

    def seek(self, position: Any) -> None:
        """Continue from a `position`."""

    def __iter__(self) -> Iterator[Any]:
        """Return the batches left of the current epoch; `position` moves before a batch is yielded."""


class Loss(NamedTuple):
    """The result of an objective.

    Attributes:
        mean: the loss to minimise, a mean.
        items: the number of symbols, steps or sequences in the mean.
        state: the initial state of the next batch, any tree of tensors, or None; training detaches it.
    """

    mean: Tensor
    items: int
    state: Any = None


Objective = Callable[["nn.Module", Any, Any], Loss]


@dataclass(frozen=True)
class Task:
    """Everything that a recipe gives to training.

    Attributes:
        model: the model.
        batches: the training data.
        objective: (model, batch, state) -> Loss.
        evaluate: returns the metrics of the model, in evaluation mode, on the validation data; one that overflows is
            None.
        metric: the metric that decides which weights are best; never None.
        lower_is_better: whether the best value is the lowest.
        default_minutes: the budget if the settings give none.
        unit: what `Loss.items` counts, in the plural.
        tie_metric: the metric that decides between weights whose `metric` is equal, lower is better; empty: the first.
    """

    model: nn.Module
    batches: Batches
    objective: Objective
    evaluate: Callable[[nn.Module], Mapping[str, float | None]]
    metric: str
    lower_is_better: bool = True
    default_minutes: float = 2.0
    unit: str = "symbols"
    tie_metric: str = ""


class Probe(Protocol):
    """A periodic measurement during training, whose numbers go to metrics.jsonl.

    Attributes:
        every: steps between measurements.
    """

    every: int

    def __call__(self, model: nn.Module, batch: Any, state: Any) -> dict[str, float]:
        """Measure on the next training batch, without a change of weights or random states."""
