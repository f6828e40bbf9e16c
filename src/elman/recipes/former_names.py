"""Former names of settings and options, with which commands of earlier versions still work."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from elman.errors import SettingError
from elman.settings import Settings
from elman.storage import format_1

_BEAM = {"beam": "beam_width"}
OPTIONS: dict[str, dict[str, str]] = {
    "recommend": {"k": "top_k"},
    "caption": _BEAM,
    "transcribe": {
        **_BEAM,
        "weight": "ngram_weight",
        "longest": "max_seconds",
        "after": "resume_from",
    },
    "translate": {**_BEAM, "longest": "max_symbols", "after": "resume_from"},
}
"""Of each recipe: the former name of an option of `elman predict`, and the current one."""


def setting_names(recipe: str) -> dict[str, str]:
    """Return the former names of the settings of a recipe, with the current ones."""
    return {**format_1.SHARED_SETTINGS, **format_1.SETTINGS.get(recipe, {})}


def with_current_names(values: Mapping[str, Any], names: Mapping[str, str], kind: type[Settings]) -> dict[str, Any]:
    """Return values under the current names; each former name is noted on standard error.

    Args:
        values: what the user gave, by name.
        names: former names, with the current ones.
        kind: the settings; a name that these have is current, whatever it meant before.

    Raises:
        SettingError: one setting is given under both names.
    """
    current: dict[str, Any] = {}
    for name, value in values.items():
        new = names[name] if name in names and name not in kind.meanings() else name
        if new in current or (new != name and new in values):
            raise SettingError(f"the setting {new} is given twice", found=f"as {new} and under a former name")
        if new != name:
            sys.stderr.write(f"note: the setting {name} is called {new} now\n")
        current[new] = value
    return current
