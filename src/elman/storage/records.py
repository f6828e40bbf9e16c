"""Checked records: dataclasses read from untrusted JSON, and written as JSON.

Metadata of a field may hold its bounds:

    low      the least number, 0 without it, None for no bound
    high     the greatest number
    length   the greatest length of a list
    choices  the strings that are allowed
    later    whether the field may be missing, because earlier versions did not write it

A record with a method `check` is asked last; it raises a ValueError where fields contradict each other.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from elman.storage.files import LARGEST_JSON, checked_json, read_checked, write_json

Record = TypeVar("Record")

HIGHEST = 1e300
"""The bound of every number that is read, so that sums and products of them stay finite."""


def write(path: Path, record: Any) -> None:
    """Write a dataclass as JSON.

    Raises:
        RunError: the file cannot be written.
    """
    write_json(path, dataclasses.asdict(record))


def read(path: Path, kind: type[Record], should: str, *, largest: int = LARGEST_JSON) -> Record:
    """Read a dataclass from a JSON file of a run, as `read_checked` does.

    Raises:
        BrokenRun: the file is missing, too large, or not such a record.
    """
    record: Record = read_checked(path, should, lambda text: read_record(kind, checked_json(text)), largest=largest)
    return record


def read_record(kind: type[Record], values: Any) -> Record:
    """Return a dataclass from JSON, each field checked for its type and bounds.

    Raises:
        ValueError: a field is missing, unknown, or has an invalid value.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    required = {name for name, field in fields.items() if not field.metadata.get("later")}
    if not isinstance(values, Mapping) or not required <= values.keys() <= fields.keys():
        raise ValueError(f"a {kind.__name__} has the fields {', '.join(fields)}")
    kinds = typing.get_type_hints(kind)
    record = kind(**{name: _read(name, kinds[name], value, fields[name].metadata) for name, value in values.items()})
    if hasattr(record, "check"):
        record.check()
    return record


def _read(name: str, kind: Any, value: Any, bounds: Mapping[str, Any]) -> Any:
    """Return `value` as the type `kind`, or raise a ValueError that names the field."""
    if dataclasses.is_dataclass(kind):
        return read_record(typing.cast(type, kind), value)
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is dict and isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _read(key, parts[1], part, {"low": None, **bounds}) for key, part in value.items()}
    if origin in (list, tuple) and isinstance(value, list) and len(value) <= bounds.get("length", len(value)):
        if origin is list or parts[-1] is Ellipsis or len(parts) == len(value):
            return origin(_read(name, parts[0], part, bounds) for part in value)
    elif kind is Any or (origin not in (dict, list, tuple) and _is_valid(parts or (kind,), value, bounds)):
        # JSON has 1 where a float is 1.0; an integer beyond 64 bits is one that torch and NumPy cannot take.
        return float(value) if type(value) is int and float in (parts or (kind,)) else value
    choices = f", not one of {', '.join(bounds['choices'])}" if "choices" in bounds else ""
    raise ValueError(f"{name} is {str(value)[:80]!r}{choices}")


def _is_valid(kinds: tuple[Any, ...], value: Any, bounds: Mapping[str, Any]) -> bool:
    """Return whether `value` is of one of the plain types `kinds`, and within its bounds."""
    if value is None or isinstance(value, bool | str):
        return type(value) in kinds and value in bounds.get("choices", (value,))
    low, high = bounds.get("low", 0), bounds.get("high", HIGHEST)
    kind = type(value) in kinds or (type(value) is int and float in kinds)
    return kind and is_number(value) and (low is None or value >= low) and value <= high


def is_number(value: Any) -> bool:
    """Return whether `value`, read from JSON, is a finite number of at most `HIGHEST`."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -HIGHEST < value < HIGHEST
