"""Checked records: dataclasses read from untrusted JSON."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

Record = TypeVar("Record")


RECENT = 50  # steps whose gradient norms are kept one by one


HIGHEST = 1e300  # of a number that is read; ours are far smaller, and so are sums and products of them


def read_record(kind: type[Record], values: Any) -> Record:
    """Make a dataclass of JSON, each field checked for its type and, as nothing here is negative, for its sign.

    A field's metadata may hold another lowest value under "low", None for none, and "later" where it may be missing.

    Raises:
        ValueError: a field is missing, unknown, or no such value.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    least = {name for name, field in fields.items() if not field.metadata.get("later")}
    if not isinstance(values, Mapping) or not least <= values.keys() <= fields.keys():
        raise ValueError(f"a {kind.__name__} has the fields {', '.join(fields)}")
    kinds = typing.get_type_hints(kind)
    low = {name: field.metadata.get("low", 0) for name, field in fields.items()}
    return kind(**{name: _read(name, kinds[name], value, low[name]) for name, value in values.items()})


def _read(name: str, kind: Any, value: Any, low: float | None) -> Any:
    if dataclasses.is_dataclass(kind):
        return read_record(typing.cast(type, kind), value)
    if typing.get_origin(kind) is dict:
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise ValueError(f"{name} is {str(value)[:80]!r}")
        return {key: _read(key, typing.get_args(kind)[1], number, None) for key, number in value.items()}
    if typing.get_origin(kind) is list:
        if not isinstance(value, list) or len(value) > RECENT:
            raise ValueError(f"{name} is {str(value)[:80]!r}")
        return [_read(name, typing.get_args(kind)[0], number, low) for number in value]
    options = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if value is None and types.NoneType in options:
        return None
    if (int in options and type(value) is not int) or not is_number(value) or (low is not None and value < low):
        raise ValueError(f"{name} is {str(value)[:80]!r}")
    return value


def is_number(value: Any) -> bool:
    """Return whether `value`, read from JSON, is a finite number of a size that can be reckoned with."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -HIGHEST < value < HIGHEST
