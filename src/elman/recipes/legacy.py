"""The recipes that are still bags of functions, in the form of `elman.recipes.base`. Goes with the last of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, NoReturn

from torch import Tensor, nn

from elman.data.in_memory import RowFormat
from elman.errors import SettingError
from elman.evaluation.result import Metrics
from elman.recipes import base
from elman.settings import Settings
from elman.storage.run_directory import RunDirectory
from elman.training.settings import TrainingSettings
from elman.training.task import Loss, Task


class LegacySample(NamedTuple):
    """Batches for a diagnosis, the loss of training on them, and the truncation length."""

    batches: Sequence[Any]
    loss: Callable[[nn.Module, Any], Tensor]
    window: int | None


@dataclass(frozen=True)
class LegacyRecipe:
    """One application, as functions."""

    name: str
    summary: str
    data: str
    example: str
    settings: type[TrainingSettings]
    prepare: Callable[[Sequence[Path], Any, Path], dict[str, Any]]
    build: Callable[[Any, Path], nn.Module]
    task: Callable[[Any, RunDirectory, nn.Module], Task]
    sample: Callable[[Any, RunDirectory, Sequence[Path]], LegacySample]
    load: Callable[[Any, RunDirectory, nn.Module], Any]
    headline: Callable[[Metrics], str]
    commands: Callable[[Path], list[tuple[str, str]]]
    predict: type[Settings] | None = None
    default: str = "the recipe's own data"
    baselines: Callable[[Any, RunDirectory], Mapping[str, Metrics]] | None = None


class Legacy(base.Recipe[Any, Any]):
    """A recipe of functions; the driver asks it for the whole of what it puts together for the others."""

    functions: ClassVar[LegacyRecipe]
    metric = ""

    def prepare(self, sources: Sequence[Path]) -> dict[str, Any]:
        return self.functions.prepare(sources, self.settings, self.folder)

    def build(self) -> nn.Module:
        return self.functions.build(self.settings, self.folder)

    def task(self, run: RunDirectory, model: nn.Module) -> Task:
        return self.functions.task(self.settings, run, model)

    def diagnosis_sample(self, run: RunDirectory, sources: Sequence[Path]) -> LegacySample:
        return self.functions.sample(self.settings, run, sources)

    def run_baselines(self, run: RunDirectory) -> Mapping[str, Metrics]:
        return self.functions.baselines(self.settings, run) if self.functions.baselines else {}

    def predictor(self, model: Any) -> Any:
        return self.functions.load(self.settings, self.run, model)

    def evaluate_run(self, model: Any, data: Sequence[Path], out: Path | None, skip_bad: bool) -> dict[str, Any]:
        predictor = self.predictor(model)
        options: dict[str, Any] = {"pictures": out, "skip_bad": skip_bad or None}
        options = {name: value for name, value in options.items() if value is not None}
        for name in options.keys() - inspect.signature(predictor.evaluate).parameters.keys():
            flag = {"pictures": "--out", "skip_bad": "--skip-bad"}[name]
            raise SettingError(f"{flag} is not for {self.folder}", found=flag, hint="leave it out")
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
        metrics: dict[str, Any] = predictor.evaluate(data, **options)
        return metrics

    @staticmethod
    def headline(metrics: Metrics) -> str:
        raise NotImplementedError

    def usage(self, run: str) -> list[tuple[str, str]]:
        return self.functions.commands(self.folder)

    def _absent(self, *arguments: Any, **options: Any) -> NoReturn:
        raise NotImplementedError

    dataset = read = batches = _absent

    def loss(self, model: Any, batch: Any, state: Any, progress: float | None) -> Loss:
        raise NotImplementedError

    def measure(self, model: Any, data: Any) -> Metrics:
        raise NotImplementedError


# The attribute `rows` of each recipe, which moves into its class.
ROWS = {
    "language-model": RowFormat(("text",), ".txt", header=False),
    "classify": RowFormat(("text", "label"), files="path"),
    "translate": RowFormat(("source", "target"), ".tsv", header=False),
}


def adapted(functions: LegacyRecipe) -> type[Legacy]:
    """Return a recipe of functions as a class."""
    attributes = {
        "functions": functions,
        "Settings": functions.settings,
        "Options": functions.predict,
        "headline": staticmethod(functions.headline),
        "rows": ROWS[functions.name],
        **{name: getattr(functions, name) for name in ("name", "summary", "data", "default", "example")},
    }
    return type(f"Legacy_{functions.name}", (Legacy,), attributes)
