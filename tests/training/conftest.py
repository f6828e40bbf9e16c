"""A task that is small and known, and a run to train it in."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from elman.storage.run_directory import RunDirectory
from elman.training.task import Loss, Task


class Numbers:
    """Four batches an epoch, each a number; the position is JSON."""

    def __init__(self) -> None:
        self.done = 0

    @property
    def position(self) -> dict[str, int]:
        return {"done": self.done}

    @property
    def progress(self) -> float:
        return self.done / 4

    def seek(self, position: dict[str, int]) -> None:
        self.done = position["done"]

    def __iter__(self) -> Iterator[float]:
        epoch = self.done // 4
        while self.done // 4 == epoch:
            self.done += 1
            yield float(self.done)


class Line(nn.Module):
    """A straight line with dropout, so that random numbers are drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(1, 1)
        self.drop = nn.Dropout(0.5)
        self.outer = nn.Linear(1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.outer(self.drop(self.inner(x)))


def objective(model: Any, batch: Any, state: Any) -> Loss:
    carried = torch.zeros(1) if state is None else state["sum"]
    made = model(torch.full((1, 1), 0.1 * batch))
    return Loss((made - 1).square().mean() + 0 * carried.sum(), 2, {"sum": carried * 0.5 + made.mean()})


@pytest.fixture
def make_task() -> Callable[..., Task]:
    def make(**changes: Any) -> Task:
        torch.manual_seed(3)
        model = Line()
        parts = {
            "model": model,
            "batches": Numbers(),
            "objective": objective,
            "evaluate": lambda model: {"error": float((model(torch.ones(1, 1)) - 1).square())},
            "metric": "error",
        }
        return Task(**{**parts, **changes})

    return make


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[[str], RunDirectory]:
    return lambda name: RunDirectory.create(tmp_path / name, "example", {}, lambda folder: {"fingerprint": "0"})
