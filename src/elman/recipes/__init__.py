"""Recipes, one per application: the contract (`base`), the driver (`run`, `use`), the registry, and a file for each.

`elman.recipes()` lists them: the package is callable.
"""

from __future__ import annotations

import sys
from types import ModuleType


class CallablePackage(ModuleType):
    """This package, which is the function `elman.recipes` too."""

    def __call__(self, name: str | None = None) -> dict[str, str]:
        """Return what each recipe does, in a line, by its name; or of one recipe, the meaning of each setting.

        Raises:
            SettingError: there is no recipe of this name.
        """
        from elman.recipes.registry import RECIPES, find

        if name is not None:
            return {
                key: f"{meaning} (default: {default})"
                for key, (default, meaning) in find(name).Settings.meanings().items()
            }
        return {key: recipe.summary for key, recipe in RECIPES.items()}


sys.modules[__name__].__class__ = CallablePackage
