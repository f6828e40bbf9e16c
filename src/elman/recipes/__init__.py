"""The recipes, one per application, and what opens the run of any of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from elman.errors import RunError, unknown_name
from elman.recipes import language_model
from elman.recipes.recipe import Recipe
from elman.recipes.runs import load_run
from elman.training.run_directory import RunDirectory

RECIPES: dict[str, Recipe] = {
    "language-model": language_model.RECIPE,
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
    if directory.config["recipe"] not in RECIPES:
        raise RunError(
            f"{run} was made by the recipe {directory.config['recipe']!r}, which this version does not have",
            should=f"one of {', '.join(RECIPES)}",
            hint="pip install --upgrade elman",
        )
    return load_run(RECIPES[directory.config["recipe"]], directory)
