"""Recipes, one per application: the contract (`base`), the driver (`run`, `use`), the registry, and a file for each.

`elman.recipes()` lists them: the package is callable.
"""

from __future__ import annotations

import sys
from types import ModuleType


class CallablePackage(ModuleType):
    """This package, which is the function `elman.recipes` too."""

    def __call__(self) -> dict[str, str]:
        """Return what each recipe does, in a line, by its name."""
        from elman.recipes.registry import RECIPES

        return {name: recipe.summary for name, recipe in RECIPES.items()}


sys.modules[__name__].__class__ = CallablePackage
