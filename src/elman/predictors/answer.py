"""Answers of a predictor."""

from __future__ import annotations

from typing import Any, NamedTuple

from elman.errors import DataError


class Answer(NamedTuple):
    """What a model answers to one input.

    Attributes:
        line: for a person, a line or a few.
        fields: the same for a program, as JSON knows it.
        answered: false where the input is broken, and the line says so.
        instead: the line that then stands in the place of the answer, where a reader counts lines; None for none.
    """

    line: str
    fields: dict[str, Any]
    answered: bool = True
    instead: str | None = None


def no_answer(name: str, error: DataError) -> Answer:
    """Return what stands for the answer to an input that is broken."""
    what = error.what if name in error.what else f"{name}: {error.what}"
    facts = [f"{verb} {fact}" for verb, fact in (("should be", error.should), ("is", error.found)) if fact]
    what += f" ({', '.join(facts)})" if facts else ""
    return Answer(f"no answer: {what}", {"input": name, "error": what}, answered=False)
