"""The models of a server by name, and those of runs that were trained further meanwhile."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import time
from typing import TypeVar

from elman.errors import ElmanError, SettingError, unknown_name
from elman.predictors.base import Predictor
from elman.predictors.online.base import OnlinePredictor
from elman.predictors.online.kinds import online_predictor
from elman.serving.errors import UnknownModel, WrongKind
from elman.storage.run_directory import RunDirectory

O = TypeVar("O", bound=OnlinePredictor)


@dataclass(frozen=True)
class ServedModel:
    """A model of a server.

    Attributes:
        name: in requests.
        recipe: that trained it.
        predictor: the model.
        online: the same for sessions; None where it answers whole inputs alone.
        stamp: of its file when it was loaded.
        loaded: when, in seconds since 1970.
    """

    name: str
    recipe: str
    predictor: Predictor
    online: OnlinePredictor | None
    stamp: tuple[int, int, int]
    loaded: float = field(default_factory=time)


class ModelRegistry:
    """The models of a server.

    Args:
        runs: run directories, each perhaps as NAME=RUN; the name is else that of the directory.
        load: opens a run directory.

    Raises:
        ElmanError: a run cannot be opened, or two have one name.
    """

    def __init__(self, runs: Sequence[str], load: Callable[[Path], Predictor]) -> None:
        self._load = load
        self.models: dict[str, ServedModel] = {}
        self.former: dict[str, ServedModel] = {}
        for run in runs:
            name, equals, path = run.partition("=")
            if not equals or "/" in name:
                name, path = Path(run).resolve().name, run
            if name in self.models:
                raise SettingError(
                    f"two runs are called {name}", should="a name for each", found=path, hint=f"{name}-2={path}"
                )
            self.models[name] = self._open(name, Path(path))

    def find(self, name: str) -> ServedModel:
        """Return a model.

        Raises:
            UnknownModel: there is none of that name.
        """
        if name not in self.models:
            raise unknown_name("model", name, self.models, UnknownModel, listed="GET /v1/models lists the models")
        return self.models[name]

    def online(self, name: str, kind: type[O]) -> tuple[ServedModel, O]:
        """Return a model of a kind.

        Raises:
            UnknownModel: there is none of that name.
            WrongKind: it is of another kind.
        """
        model = self.find(name)
        if not isinstance(model.online, kind):
            raise WrongKind(
                f"{name} does not answer such requests", should=f"a model of the kind {kind.kind}",
                found=f"a run of {model.recipe}", hint="GET /v1/models lists the models and their kinds",
            )  # fmt: skip
        return model, model.online

    def with_weights(self, name: str, weights: str) -> OnlinePredictor:
        """Return the model of a session.

        Raises:
            WrongKind: the weights of the session are gone.
        """
        for model in (self.find(name), self.former.get(weights)):
            if model is not None and model.online is not None and model.online.weights == weights:
                return model.online
        raise WrongKind(
            f"the session belongs to former weights of {name}", should=f"the weights {weights[:12]}",
            found="the run was trained further", hint="begin a new session",
        )  # fmt: skip

    def changed(self) -> list[str]:
        """Return the names of models whose file is another one now."""
        return [name for name, model in self.models.items() if _stamp(model.predictor.run) not in (model.stamp, None)]

    def reloaded(self, name: str) -> ServedModel:
        """Return a model as its run is now; `replace` puts it in place. It may be called in another thread.

        Raises:
            ElmanError: the run cannot be opened.
        """
        return self._open(name, self.models[name].predictor.run)

    def replace(self, model: ServedModel, *, keep: bool) -> None:
        """Answer new requests by another model.

        Args:
            model: of the name of the one before.
            keep: whether sessions of the weights before continue on them; else they end.
        """
        before = self.models[model.name]
        self.models[model.name] = model
        if keep and before.online is not None:
            self.former[before.online.weights] = before

    def _open(self, name: str, run: Path) -> ServedModel:
        stamp = _stamp(run)
        predictor = self._load(run)
        online = online_predictor(predictor)
        if online is not None:
            assert online.weights
        recipe = str(RunDirectory.open(run).config["recipe"])
        return ServedModel(name, recipe, predictor, online, stamp or (0, 0, 0))


def _stamp(run: Path) -> tuple[int, int, int] | None:
    """Return what changes with the file of the weights, which is replaced as a whole."""
    try:
        facts = os.stat(RunDirectory(run, {}).model)  # noqa: PTH116
    except (OSError, ElmanError):
        return None
    return facts.st_ino, facts.st_size, facts.st_mtime_ns
