"""Inputs of a client that is not trusted: texts, numbers and the content of files, never the name of one."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from elman.data.in_memory import RowText, without_folder
from elman.errors import DataError, ElmanError, SettingError, unknown_name
from elman.predictors.answer import Answer
from elman.predictors.base import Predictor
from elman.storage.files import temporary_folder


class UploadedFile(NamedTuple):
    """A file that a client sent.

    Attributes:
        name: as the client calls it.
        content: its bytes.
    """

    name: str
    content: bytes


def options_of(predictor: Predictor, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return options, checked, without those that name files.

    Raises:
        SettingError: an option is unknown, invalid, or names a file.
    """
    kinds = typing.get_type_hints(predictor.Options)
    names = {field.name for field in dataclasses.fields(predictor.Options)}
    valid = {name for name in names if str not in (typing.get_args(kinds[name]) or (kinds[name],))}
    for name in values:
        if name in names - valid:
            raise SettingError(
                f"the option {name} is not for clients", should=", ".join(sorted(valid)) or "no option",
                found=f"{name}, which names a file", hint="omit it",
            )  # fmt: skip
        if name not in valid:
            raise unknown_name("option", name, valid)
    return dict(vars(predictor.Options.parse(values)))


def answers_to_values(predictor: Predictor, inputs: Sequence[Any], options: Mapping[str, Any]) -> Iterator[Answer]:
    """Yield the answers to texts, rows of texts, rows of numbers, or arrays as nested lists.

    Raises:
        DataError: an input is of another type, or the model reads files alone.
        ElmanError: as `Predictor.predict`.
    """
    chosen = options_of(predictor, options)
    values = [_value(predictor, value) for value in inputs]
    if values and all(isinstance(value, tuple) for value in values):
        rows = predictor.input_rows
        if rows is None or rows.files == rows.columns[0] or len(rows.columns) < 2:
            raise DataError("the model does not read rows of texts", should="a text for each input", found="lists")
    return _named(predictor.predict(values, **chosen), "")


def answers_to_files(
    predictor: Predictor, files: Sequence[UploadedFile], options: Mapping[str, Any]
) -> Iterator[Answer]:
    """Yield the answers to files, which lie in a temporary folder meanwhile, under names of our own.

    Raises:
        ElmanError: as `Predictor.predict`.
    """
    chosen = options_of(predictor, options)
    with temporary_folder() as folder:
        paths, names = [], {}
        for number, file in enumerate(files):
            suffix = re.search(r"\.[A-Za-z0-9]{1,8}$", file.name)
            path = folder / f"{number:06}{suffix[0].lower() if suffix else ''}"
            path.write_bytes(file.content)
            paths.append(path)
            names[path.name] = file.name[-200:] or path.name
        yield from _named(predictor.predict(paths, **chosen), str(folder), names)


def _value(predictor: Predictor, value: Any) -> Any:
    """Return an input as `predict` takes it; a text is never the name of a file."""
    if isinstance(value, str):
        if not predictor.reads_text:
            raise DataError(
                "the model does not read texts", should="rows of numbers, or files that are sent", found="a text",
                hint="curl -F files=@FILE sends a file",
            )  # fmt: skip
        return RowText(value)
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        return tuple(RowText(part) for part in value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = [value]
    if isinstance(value, list) and value and predictor.input_rows is not None:
        if predictor.reads_text:
            raise DataError("the model does not read numbers", should="a text for each input", found="numbers")
        try:
            array = np.asarray(value, np.float64)
        except (ValueError, TypeError, OverflowError) as error:
            raise DataError("an input is not an array of numbers", should="numbers", found=str(error)[:80]) from error
        return list(array.tolist()) if predictor.input_rows.counter else array
    raise DataError("an input has a type that cannot be read", should="texts or numbers", found=repr(value)[:80])


def _named(answers: Iterator[Answer], folder: str, names: Mapping[str, str] | None = None) -> Iterator[Answer]:
    """Yield answers and raise errors with the client's names of files in place of ours."""

    def renamed(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: renamed(part) for key, part in value.items()}
        if isinstance(value, list):
            return [renamed(part) for part in value]
        if not isinstance(value, str):
            return value
        for ours, theirs in (names or {}).items():
            value = value.replace(ours, theirs)
        return value

    def cleaned(value: Any) -> Any:
        return renamed(without_folder(value, folder)) if folder else value

    try:
        for answer in answers:
            yield answer._replace(line=cleaned(answer.line), fields=cleaned(answer.fields))
    except ElmanError as error:
        parts = cleaned({"what": error.what, "should": error.should, "found": error.found, "hint": error.hint})
        raise error.amended(**parts) from error
