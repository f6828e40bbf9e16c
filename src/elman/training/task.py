"""What training is given: a model, batches with a place that can be kept, an objective and an evaluation.

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
        """The place of the next batch, as JSON: `seek(position)` in a new process goes on exactly there."""

    @property
    def progress(self) -> float:
        """How many epochs are done, with the part of the present one."""

    def seek(self, position: Any) -> None:
        """Go to a place that `position` returned."""

    def __iter__(self) -> Iterator[Any]:
        """Return the batches that are left of the present epoch; `position` moves before a batch is handed out."""


class Loss(NamedTuple):
    """What an objective returns.

    Attributes:
        mean: the loss to descend, the mean over what it counts.
        items: over how many symbols, steps or sequences it is the mean.
        state: what the next batch begins with, any tree of tensors, or None; training cuts its gradient.
    """

    mean: Tensor
    items: int
    state: Any = None


Objective = Callable[["nn.Module", Any, Any], Loss]


@dataclass(frozen=True)
class Task:
    """Everything that a recipe hands to training."""

    model: nn.Module
    batches: Batches
    objective: Objective  # (model, batch, state) -> Loss
    # On the validation data, the model in evaluation mode; a metric is None where it is beyond what a number can say.
    evaluate: Callable[[nn.Module], Mapping[str, float | None]]
    metric: str  # the number among the metrics that decides which weights are best; never None
    lower_is_better: bool = True
    default_minutes: float = 2.0  # the budget where the settings give none
    unit: str = "symbols"  # what `Loss.items` counts, in the plural


class Probe(Protocol):
    """A measurement during training, every so many steps, whose numbers go to metrics.jsonl."""

    every: int

    def __call__(self, model: nn.Module, batch: Any, state: Any) -> dict[str, float]:
        """Measure on a batch that is about to be trained on; weights and random states are as before afterwards."""
