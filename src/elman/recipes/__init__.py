"""The recipes, one per application, and what opens the run of any of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from elman.errors import RunError, SettingError, unknown_name
from elman.recipes import caption, classify, forecast, language_model, recommend, similarity, transcribe, translate
from elman.recipes import run as runs
from elman.recipes.base import Recipe
from elman.recipes.run import Diagnosable, load_run
from elman.storage.run_directory import RunDirectory

RECIPES: dict[str, Recipe] = {
    "language-model": language_model.RECIPE,
    "classify": classify.RECIPE,
    "forecast": forecast.RECIPE,
    "similarity": similarity.RECIPE,
    "recommend": recommend.RECIPE,
    "translate": translate.RECIPE,
    "transcribe": transcribe.RECIPE,
    "caption": caption.RECIPE,
}


def find(name: str) -> Recipe:
    """Return the recipe of a name.

    Raises:
        SettingError: there is none; the nearest name is suggested.
    """
    if name not in RECIPES:
        raise unknown_name("recipe", name, RECIPES)
    return RECIPES[name]


def load(run: str | Path) -> Any:
    """Open a run directory and return the trained model with what it can do, on the CPU.

    What that is depends on the recipe: a language model has `generate` and `evaluate`. Loading never runs code from
    the directory.

    Raises:
        RunError: the directory is missing, foreign, broken, or made by a newer version.
    """
    directory = RunDirectory.open(Path(run))
    return load_run(_recipe_of(directory), directory)


def predictor(run: str | Path, settings: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Open a run that answers inputs; errors as in `load`.

    Args:
        run: the run directory.
        settings: of `elman predict`; the values may be text.

    Returns:
        What `load` returns, and the settings, checked, as its `predict` takes them by name.

    Raises:
        SettingError: the recipe does not answer single inputs, or has no such setting.
    """
    directory = RunDirectory.open(Path(run))
    recipe = _recipe_of(directory)
    if recipe.predict is None:
        raise SettingError(
            f"{run} cannot predict",
            should="a run of " + ", ".join(name for name, other in RECIPES.items() if other.predict),
            found=f"a run of {recipe.name}",
            hint=f"elman generate {run}" if recipe.name == "language-model" else None,
        )
    return load_run(recipe, directory), dict(vars(recipe.predict.parse(settings)))


def diagnosable(run: str | Path, sources: Sequence[Path] = ()) -> Diagnosable:
    """Open a run directory for a diagnosis on `sources`, or on the run's own data; errors as in `load`."""
    directory = RunDirectory.open(Path(run))
    return runs.diagnosable(_recipe_of(directory), directory, sources)


def _recipe_of(directory: RunDirectory) -> Recipe:
    name = directory.config["recipe"]
    if name not in RECIPES:
        raise RunError(
            f"{directory.path} was made by the recipe {name!r}, which this version does not have",
            should=f"one of {', '.join(RECIPES)}",
            hint="pip install --upgrade elman",
        )
    return RECIPES[name]
