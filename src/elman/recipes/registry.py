"""The registry of recipes: one per application, by the name that the command line calls it."""

from __future__ import annotations

from typing import Any

from elman.errors import RunError, unknown_name
from elman.recipes.base import Recipe
from elman.recipes.caption import Caption
from elman.recipes.classify import Classify
from elman.recipes.forecast import Forecast
from elman.recipes.language_model import LanguageModelling
from elman.recipes.recommend import Recommend
from elman.recipes.similarity import Similarity
from elman.recipes.transcribe import Transcribe
from elman.recipes.translate import Translate
from elman.storage.run_directory import RunDirectory

AnyRecipe = Recipe[Any, Any]

RECIPES: dict[str, type[AnyRecipe]] = {
    recipe.name: recipe
    for recipe in (
        LanguageModelling,
        Classify,
        Forecast,
        Similarity,
        Recommend,
        Translate,
        Transcribe,
        Caption,
    )
}


def find(name: str) -> type[AnyRecipe]:
    """Return the recipe of a name.

    Raises:
        SettingError: there is none; the nearest name is suggested.
    """
    if name not in RECIPES:
        raise unknown_name("recipe", name, RECIPES)
    return RECIPES[name]


def recipe_of(run: RunDirectory) -> type[AnyRecipe]:
    """Return the recipe that made a run.

    Raises:
        RunError: this version does not have it.
    """
    name = run.config["recipe"]
    if name not in RECIPES:
        raise RunError(
            f"{run.path} was made by the recipe {name!r}, which this version does not have",
            should=f"one of {', '.join(RECIPES)}",
            hint="pip install --upgrade elman",
        )
    return RECIPES[name]
