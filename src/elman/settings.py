"""Settings: frozen dataclasses whose fields say their meaning and limits, and how text becomes one of them."""

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
    default: Any,
    meaning: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    fixed: bool = False,
) -> Any:
    """Declare a field: its default, its meaning in one line, and its limits (both included).

    Args:
        default: the value where the user says nothing.
        meaning: the field's comment, which `elman recipes NAME` prints.
        low: the least value.
        high: the greatest value.
        choices: the names that a text may be.
        fixed: a run that has begun cannot change it.
    """
    limits = {"meaning": meaning, "low": low, "high": high, "choices": choices, "fixed": fixed}
    return dataclasses.field(default=default, metadata=limits)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What every frozen group of settings can do: check itself, be read from text, and become JSON."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check(field, getattr(self, field.name))
        self.check()

    def check(self) -> None:
        """Check what holds between the fields; a subclass says what."""

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Make settings from values that may be text, as `--set key=value` gives them.

        Raises:
            SettingError: an unknown name, or a value that is not of the field's type or outside its limits.
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
        fields = ((field, field.default) for field in dataclasses.fields(cls))
        return {
            field.name: (
                ",".join(map(str, default))
                if isinstance(default, tuple)
                else str(default).lower()
                if isinstance(default, bool | None)
                else str(default),
                field.metadata["meaning"] + one_of(field.metadata.get("choices", ())),
            )
            for field, default in fields
        }

    def changed(self, values: Mapping[str, Any]) -> Self:
        """Return these settings with some values replaced, each of which may be text."""
        return self.parse({**self.as_dict(), **values})

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as JSON knows them."""
        pairs = ((field.name, getattr(self, field.name)) for field in dataclasses.fields(self))
        return {name: list(value) if isinstance(value, tuple) else value for name, value in pairs}

    def refuse_fixed_changes(self, new: Self) -> None:
        """Check that `new` changes nothing that a run which has begun cannot change.

        Raises:
            SettingError: it does.
        """
        for field in dataclasses.fields(self):
            before, after = getattr(self, field.name), getattr(new, field.name)
            if field.metadata.get("fixed") and before != after:
                raise SettingError(
                    f"{field.name} cannot change in a run that has begun",
                    should=f"{before!r}, as the run has it",
                    found=repr(after),
                    hint="leave it out, or start a new run with another --out",
                )


def one_of(choices: Sequence[str]) -> str:
    """Return the choices of a setting as its meaning ends with them, or nothing."""
    return f" (one of {', '.join(choices)})" if choices else ""


def _convert(name: str, kind: Any, value: Any) -> Any:
    """Return `value` as the field's type, reading it from text where it is text."""
    options = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if value is None or (isinstance(value, str) and value.strip().lower() == "none"):
        if types.NoneType in options or str in options:
            return None if types.NoneType in options else value
        raise _wrong(name, options[0], value)
    main = next(option for option in options if option is not types.NoneType)
    try:
        if typing.get_origin(main) is tuple:
            parts = [part for part in value.split(",") if part.strip()] if isinstance(value, str) else value
            kinds = typing.get_args(main)
            if kinds[-1] is not Ellipsis and len(parts) != len(kinds):
                raise ValueError
            return tuple(_convert(name, kinds[0], part) for part in parts)
        if main is bool:
            return _WORDS[value.strip().lower()] if isinstance(value, str) else {True: True, False: False}[value]
        if main is int:
            return _whole(value)
        if main is float:
            return float(value.strip()) if isinstance(value, str) else float(value)
        if not isinstance(value, str):
            raise TypeError
        return value
    except (ValueError, TypeError, KeyError, OverflowError):
        raise _wrong(name, main, value) from None


def _whole(value: Any) -> int:
    """Return a whole number from 12, 12.0, "12", "1e6" or "1_000"; refuse 1.5 and True."""
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
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    count = 0 if kind in names or typing.get_args(kind)[-1] is Ellipsis else len(typing.get_args(kind))
    several = f"{count} values with commas between" if count else "values with commas between"
    return SettingError(f"the setting {name} has a wrong value", should=names.get(kind, several), found=repr(value))


def _check(field: dataclasses.Field[Any], value: Any) -> None:
    """Check a value, or each of several, against the limits of its field."""
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
