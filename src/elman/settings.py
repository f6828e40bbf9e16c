"""Settings: frozen dataclasses with a meaning and limits for each field, parsed from text."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from elman.errors import SettingError, unknown_name

_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def setting(
    default: Any, meaning: str, *, low: float | None = None, high: float | None = None, choices: tuple[str, ...] = (),
    fixed: bool = False,
) -> Any:  # fmt: skip
    """Field of a settings class.

    Args:
        default: the value if the user gives none.
        meaning: one line, which `elman recipes NAME` prints.
        low: the least value, included.
        high: the greatest value, included.
        choices: the valid strings.
        fixed: whether a resumed run must keep the value.
    """
    limits = {"meaning": meaning, "low": low, "high": high, "choices": choices, "fixed": fixed}
    return dataclasses.field(default=default, metadata=limits)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Base class of settings, which check themselves, are parsed from text, and convert to JSON."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check(field, getattr(self, field.name))
        self.check()

    def check(self) -> None:
        """Check that the fields fit each other, in a subclass."""

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Return settings from values that may be text, as `--set key=value` gives them.

        Raises:
            SettingError: a name is unknown, or a value is not of the field's type or outside its limits.
        """
        kinds = typing.get_type_hints(cls)
        names = {field.name for field in dataclasses.fields(cls)}
        for name in values:
            if name not in names:
                raise unknown_name("setting", name, names, listed="elman recipes NAME lists the settings of a recipe")
        return cls(**{name: _convert(name, kinds[name], value) for name, value in values.items()})

    @classmethod
    def meanings(cls) -> dict[str, tuple[str, str]]:
        """Return the default, as text, and the meaning of each setting."""
        meanings = {}
        for field in dataclasses.fields(cls):
            default = ",".join(map(str, field.default)) if isinstance(field.default, tuple) else str(field.default)
            default = default.lower() if isinstance(field.default, bool | None) else default
            meanings[field.name] = default, field.metadata["meaning"] + one_of(field.metadata.get("choices", ()))
        return meanings

    def changed(self, values: Mapping[str, Any]) -> Self:
        """Return these settings with some values replaced, which may be text."""
        return self.parse({**self.as_dict(), **values})

    def as_dict(self) -> dict[str, Any]:
        """Return the settings in types that JSON has."""
        pairs = ((field.name, getattr(self, field.name)) for field in dataclasses.fields(self))
        return {name: list(value) if isinstance(value, tuple) else value for name, value in pairs}

    def refuse_fixed_changes(self, new: Self) -> None:
        """Check that `new` keeps every fixed setting.

        Raises:
            SettingError: it changes one.
        """
        for field in dataclasses.fields(self):
            before, after = getattr(self, field.name), getattr(new, field.name)
            if field.metadata.get("fixed") and before != after:
                raise SettingError(
                    f"{field.name} cannot change in a resumed run",
                    should=f"{before!r}, as in the run",
                    found=repr(after),
                    hint="omit it, or start a new run with another --out",
                )


def one_of(choices: Sequence[str]) -> str:
    """Return the choices of a setting as the end of its meaning, empty without choices."""
    return f" (one of {', '.join(choices)})" if choices else ""


def _convert(name: str, kind: Any, value: Any) -> Any:
    """Return `value` as the field's type, parsed where it is text."""
    options = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if value is None or (isinstance(value, str) and value.strip().lower() == "none"):
        if types.NoneType in options:
            return None
        if value is not None and str in options:
            return value
        raise _wrong(name, options[0], value)
    kind = next(option for option in options if option is not types.NoneType)
    try:
        if typing.get_origin(kind) is tuple:
            parts = [part for part in value.split(",") if part.strip()] if isinstance(value, str) else value
            kinds = typing.get_args(kind)
            if kinds[-1] is not Ellipsis and len(parts) != len(kinds):
                raise ValueError
            return tuple(_convert(name, kinds[0], part) for part in parts)
        if kind is bool:
            return _WORDS[value.strip().lower()] if isinstance(value, str) else {True: True, False: False}[value]
        if kind is int:
            return _integer(value)
        if kind is float:
            return float(value.strip()) if isinstance(value, str) else float(value)
        if not isinstance(value, str):
            raise TypeError
        return value
    except (ValueError, TypeError, KeyError, OverflowError):
        raise _wrong(name, kind, value) from None


def _integer(value: Any) -> int:
    """Return an integer from 12, 12.0, "12", "1e6" or "1_000"; refuse 1.5 and True."""
    if isinstance(value, bool):
        raise TypeError
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            value = float(value)
    if not float(value).is_integer():
        raise ValueError
    return int(value)


def _wrong(name: str, kind: Any, value: Any) -> SettingError:
    names = {int: "an integer", float: "a number", bool: "true or false", str: "a string"}
    count = 0 if kind in names or typing.get_args(kind)[-1] is Ellipsis else len(typing.get_args(kind))
    values = f"{count} values with commas between" if count else "values with commas between"
    return SettingError(f"invalid value for the setting {name}", should=names.get(kind, values), found=repr(value))


def _check(field: dataclasses.Field[Any], value: Any) -> None:
    """Check a value, or each value of a tuple, against the limits of its field."""
    if isinstance(value, tuple):
        for part in value:
            _check(field, part)
        return
    limits = field.metadata
    choices = limits.get("choices", ())
    if choices and value not in choices:
        raise unknown_name(f"value of the setting {field.name}:", str(value), choices)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    low, high = limits.get("low"), limits.get("high")
    fits = math.isfinite(value) and (low is None or value >= low) and (high is None or value <= high)
    if not fits:
        least = "any number" if low is None else f"at least {low:g}"
        most = "" if high is None else f", at most {high:g}"
        raise SettingError(f"the setting {field.name} is out of range", should=least + most, found=repr(value))
