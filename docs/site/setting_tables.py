"""A griffe extension: the settings of a class become the table of its attributes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

import griffe


class SettingTables(griffe.Extension):
    """Document each `name: type = setting(default, meaning)` of a class and of the classes that it inherits from."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Add an `Attributes:` section to the docstring of each class of settings; its signature shows the defaults."""
        classes = [*_classes(pkg)]
        for settings, rows in [(settings, _rows(settings)) for settings in classes]:
            if rows and settings.docstring is not None:
                settings.docstring.value += "\n\nAttributes:\n" + "\n".join(f"    {row}" for row in rows.values())
        for attribute in (member for settings in classes for member in settings.members.values()):
            if isinstance(attribute, griffe.Attribute) and _is_setting(attribute):
                attribute.value = attribute.value.arguments[0]


def _is_setting(attribute: griffe.Attribute) -> bool:
    return isinstance(attribute.value, griffe.ExprCall) and str(attribute.value.function) == "setting"


def _classes(place: griffe.Module | griffe.Class) -> Iterator[griffe.Class]:
    for member in place.members.values():
        if isinstance(member, griffe.Class):
            yield member
        if isinstance(member, griffe.Module | griffe.Class):
            yield from _classes(member)


def _rows(settings: griffe.Class) -> dict[str, str]:
    """Return the row of each setting by its name, the settings of the class itself first."""
    rows: dict[str, str] = {}
    for owner in [settings, *settings.mro()]:
        for name, attribute in owner.members.items():
            if isinstance(attribute, griffe.Attribute) and _is_setting(attribute):
                rows.setdefault(name, _row(name, attribute))
    return rows


def _row(name: str, attribute: griffe.Attribute) -> str:
    call = ast.parse(str(attribute.value), mode="eval").body
    assert isinstance(call, ast.Call)
    default, meaning = call.args[:2]
    text = meaning.value if isinstance(meaning, ast.Constant) else ast.unparse(meaning)
    choices = next((keyword.value for keyword in call.keywords if keyword.arg == "choices"), None)
    names = f"; one of `{ast.unparse(choices).strip('()')}`" if isinstance(choices, ast.Tuple) else ""
    return f"{name} ({attribute.annotation}): {text} (default `{ast.unparse(default)}`{names})"
