"""The laws of recipes: functions of a trial that raise `LawBroken`; a trial trains one recipe on small data."""

from __future__ import annotations

import json
import shlex
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from elman.errors import ElmanError
from elman.recipes import api, use
from elman.recipes.registry import RECIPES, AnyRecipe, find
from elman.recipes.run import TrainingProgress, commands
from elman.testing.case import LawBroken


@dataclass(frozen=True)
class RecipeTrial:
    """A recipe with small data.

    Attributes:
        recipe: the recipe, which is registered.
        data: as for `elman.train`.
        folder: an existing folder for the runs.
        settings: those that make the training short.
        inputs: as for `Predictor.predict`.
        options: of `Predictor.predict`.
        broken: data with a broken row or file beside sound ones; None: the recipe skips none.
        bad: data that the recipe must refuse.
        steps: of a training; it is evaluated after every other one.
    """

    recipe: type[AnyRecipe]
    data: Any
    folder: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    inputs: Any = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    broken: Any = None
    bad: Sequence[Any] = ()
    steps: int = 4

    def train(self, name: str, data: Any = None, **changes: Any) -> Path:
        """Train a run in the folder and return its directory."""
        settings = {"steps": self.steps, "evaluate_every": 2, "device": "cpu", **self.settings, **changes}
        out = self.folder / name
        api.train(self.recipe.name, self.data if data is None else data, out, **settings)
        return out

    @cached_property
    def run(self) -> Path:
        """The directory of a trained run."""
        return self.train("run")


def check(condition: bool, what: str) -> None:
    """Raise LawBroken unless a condition holds."""
    if not condition:
        raise LawBroken(what)


def files_equal(first: Path, second: Path) -> None:
    """Compare the weights and metrics of two runs, byte for byte."""
    for name in ("model.safetensors", "metrics.jsonl"):
        check((first / name).read_bytes() == (second / name).read_bytes(), f"{name} differs")


def same_seed_same_bits(trial: RecipeTrial) -> None:
    """Two trainings with the same seed give the same weights and metrics; another seed gives others."""
    files_equal(trial.run, trial.train("again"))
    other = trial.train("another seed", seed=2)
    weights = [(run / "model.safetensors").read_bytes() for run in (trial.run, other)]
    check(weights[0] != weights[1], "another seed gives the same weights")


def resumed_equals_uninterrupted(trial: RecipeTrial) -> None:
    """A run that Ctrl-C interrupts, between evaluations, and that is resumed ends with the bits of one that is not."""

    def interrupt(progress: TrainingProgress) -> None:
        if progress.step == trial.steps - 1:
            signal.raise_signal(signal.SIGINT)

    try:
        trial.train("interrupted", watch=interrupt)
    except KeyboardInterrupt:
        pass
    else:
        raise LawBroken("Ctrl-C does not end the training")
    api.train(trial.recipe.name, out=trial.folder / "interrupted", resume=True)
    files_equal(trial.run, trial.folder / "interrupted")


def run_has_its_parts(trial: RecipeTrial) -> None:
    """A run has a report with a headline and commands, the size and fingerprint of its data, and no temporary files."""
    data = json.loads((trial.run / "config.json").read_text())["data"]
    check(bool(data.get("fingerprint")), "config.json has no fingerprint of the data")
    check(bool(data.get("sources")), "config.json has no sources")
    recipe, _ = use.opened(trial.run)
    report = (trial.run / "report.md").read_text()
    for what, command in commands(recipe):
        check(command in report, f"report.md lacks the command {command}")
        check(str(trial.run) in shlex.split(command), f"the command does not name the run: {what}")
    check(not list(trial.run.rglob("*.new")), "temporary files are left behind")


def evaluation_equals_training(trial: RecipeTrial) -> None:
    """The best weights measure what training measured, and evaluations give finite metrics and count examples."""
    recipe, run = use.opened(trial.run)
    predictor, metrics = use.load(trial.run), api.evaluate(trial.run)
    with torch.no_grad():
        measured = dict(recipe.measure(use.trained_model(recipe, run), recipe.dataset("validation")))
    check(measured == predictor.metrics, f"training measured {dict(predictor.metrics)}, the best weights {measured}")
    check(recipe.metric in measured, f"the metrics lack {recipe.metric}")
    check(api.evaluate(predictor) == metrics, "a second evaluation gives other metrics")
    for evaluation in (metrics, api.evaluate(trial.run, trial.data)):
        check(evaluation.get(recipe.examples, 0) > 0, f"the metrics lack the number of {recipe.examples}")
        json.dumps(evaluation, allow_nan=False)


def predictions_are_answers(trial: RecipeTrial) -> None:
    """Each prediction has a line and fields that JSON can hold, and is the same after loading the run again."""
    if trial.recipe.Options is None:
        return
    first, second = (list(use.load(trial.run).predict(trial.inputs, **trial.options)) for _ in range(2))
    check(bool(first), "there are no predictions")
    check(first == second, "a run that is loaded again gives other predictions")
    for answer in first:
        check(answer.answered and bool(answer.line), f"an input has no answer: {answer.line}")
        json.dumps(answer.fields, allow_nan=False)


def gradients_are_diagnosed(trial: RecipeTrial) -> None:
    """A diagnosis, on the run's data and on others, finds recurrent layers and leaves the run as it is."""
    before = (trial.run / "model.safetensors").read_bytes()
    for data in (None, trial.data):
        check(bool(api.diagnose(trial.run, data).layers), "the diagnosis finds no recurrent layer")
    check((trial.run / "model.safetensors").read_bytes() == before, "the diagnosis changes the weights")


def broken_rows_are_skipped(trial: RecipeTrial) -> None:
    """Broken rows are an error, or with `skip_bad` are skipped and counted: in training and in an evaluation."""
    if trial.broken is None:
        return
    with nothing_left_behind(trial):
        trial.train("refused", trial.broken)
    skipped = trial.train("skipped", trial.broken, skip_bad=True)
    data = json.loads((skipped / "config.json").read_text())["data"]
    check(data.get("skipped_rows", 0) > 0, f"skipped_rows of config.json is {data.get('skipped_rows')}")
    metrics = api.evaluate(trial.run, trial.broken, skip_bad=True)
    check(metrics["skipped_rows"] > 0, "an evaluation counts no skipped rows")
    check(len(metrics["skipped"]) > 0, "an evaluation does not name the skipped rows")
    with nothing_left_behind(trial):
        api.evaluate(trial.run, trial.broken)


def bad_input_is_refused(trial: RecipeTrial) -> None:
    """Data that are missing or bad, and unknown or invalid settings, are an `ElmanError` and leave nothing behind."""
    for data in (trial.folder / "missing", *trial.bad):
        with nothing_left_behind(trial):
            trial.train("refused", data)
    for settings in ({"no_such_setting": 1}, {"learning_rate": -1}, {"steps": 1, "epochs": 1}):
        with nothing_left_behind(trial):
            trial.train("refused", **settings)
    occupied = trial.run.name
    with nothing_left_behind(trial):
        trial.train(occupied)


@contextmanager
def nothing_left_behind(trial: RecipeTrial) -> Iterator[None]:
    """Expect an `ElmanError`, and the same files as before in the folder of the trial."""
    names = sorted(trial.folder.iterdir())
    try:
        yield
    except ElmanError:
        check(sorted(trial.folder.iterdir()) == names, "an error leaves files behind")
    else:
        raise LawBroken("bad data, settings or places are not refused")


RecipeLaw = Callable[[RecipeTrial], None]

RECIPE_LAWS: dict[str, RecipeLaw] = {
    "the same seed gives the same bits": same_seed_same_bits,
    "a resumed run equals an uninterrupted one": resumed_equals_uninterrupted,
    "a run has its parts": run_has_its_parts,
    "an evaluation equals that of training": evaluation_equals_training,
    "predictions are answers": predictions_are_answers,
    "gradients are diagnosed": gradients_are_diagnosed,
    "broken rows are skipped": broken_rows_are_skipped,
    "bad input is refused": bad_input_is_refused,
}


def check_recipe(recipe: str | type[AnyRecipe], data: Any = None, **trial: Any) -> None:
    """Hold a recipe to every law on small data.

    Args:
        recipe: its name or class; a class that is not registered is registered meanwhile.
        data: as for `elman.train`; a minute amount is enough.
        trial: the other fields of `RecipeTrial`, but for the folder.

    Raises:
        LawBroken: the recipe breaks a law; the message names it.
    """
    with TemporaryDirectory() as folder, _registered(recipe) as known:
        case = RecipeTrial(known, data, Path(folder), **trial)
        for name, law in RECIPE_LAWS.items():
            try:
                law(case)
            except LawBroken as error:
                raise LawBroken(f"{name}: {known.name}: {error}") from error


@contextmanager
def _registered(recipe: str | type[AnyRecipe]) -> Iterator[type[AnyRecipe]]:
    if isinstance(recipe, str) or RECIPES.get(recipe.name) is recipe:
        yield find(recipe) if isinstance(recipe, str) else recipe
        return
    before = dict(RECIPES)
    RECIPES[recipe.name] = recipe
    try:
        yield recipe
    finally:
        RECIPES.clear()
        RECIPES.update(before)
