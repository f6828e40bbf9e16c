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


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(Settings):
    """What every recipe's training can be told; a recipe adds the settings of its data and model."""

    steps: int | None = setting(None, "budget: optimiser steps in all", low=1)
    epochs: float | None = setting(None, "budget: passes over the training data", low=0)
    minutes: float | None = setting(None, "budget: minutes of training, counted across --resume", low=0)
    seed: int = setting(1, "seed of weights, dropout and the order of the data", low=0, high=2**63 - 1, fixed=True)
    device: str = setting("auto", "auto, cpu, cuda, cuda:1 ...; auto takes a GPU where there is one")
    optimiser: str = setting("adamw", "adamw or sgd", choices=("adamw", "sgd"), fixed=True)
    learning_rate: float = setting(0.003, "step size at the top of the schedule", low=0)
    schedule: str = setting("cosine", "constant, cosine or plateau", choices=("constant", "cosine", "plateau"))
    warmup: float = setting(0.02, "share of the budget in which the learning rate rises from 0", low=0, high=1)
    final_rate: float = setting(0.05, "cosine: share of the learning rate that is left at the end", low=0, high=1)
    plateau_factor: float = setting(0.5, "plateau: what the learning rate is multiplied by", low=0, high=1)
    plateau_patience: int = setting(2, "plateau: evaluations without a new best before that", low=1)
    beta1: float = setting(0.9, "AdamW: decay of the mean of gradients", low=0, high=0.9999999)
    beta2: float = setting(0.99, "AdamW: decay of the mean of squared gradients", low=0, high=0.9999999)
    momentum: float = setting(0.9, "SGD: momentum", low=0, high=0.9999999)
    weight_decay: float = setting(0.01, "decay of weight matrices, never of biases", low=0)
    clip: float = setting(1.0, "largest norm of the whole gradient; 0 clips nothing", low=0)
    evaluate_every: int = setting(0, "steps from one evaluation to the next; 0: about 20 over the run", low=0)
    checkpoint_every: int = setting(0, "steps between checkpoints beside those at evaluations; 0: none", low=0)
    patience: int = setting(0, "stop after so many evaluations without a new best; 0: never", low=0)

    def check(self) -> None:
        given = {
            name: getattr(self, name) for name in ("steps", "epochs", "minutes") if getattr(self, name) is not None
        }
        if len(given) > 1:
            raise SettingError(
                "the budget is given more than once",
                should="one of steps, epochs and minutes",
                found=", ".join(f"{name}={value}" for name, value in given.items()),
            )
        for name, value in given.items():
            if value <= 0:
                raise SettingError(f"the setting {name} is out of range", should="more than 0", found=repr(value))
        if self.learning_rate == 0:
            raise SettingError("the setting learning_rate is out of range", should="more than 0", found="0")
