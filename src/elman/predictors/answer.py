"""Answers of a predictor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from elman.errors import DataError
from elman.plots.labels import legend_line


class Note(NamedTuple):
    """What a person should know about an answer.

    Attributes:
        kind: in a few words, the same for all answers of which the same is true.
        text: a line, with the place of the input.
    """

    kind: str
    text: str


class Answer(NamedTuple):
    """What a model answers to one input.

    Attributes:
        line: for a person, a line or a few.
        fields: the same for a program, as JSON knows it.
        answered: false where the input is broken, and the line says so.
        instead: the line that then stands in the place of the answer, where a reader counts lines; None for none.
        notes: what a person should know about the answer; `fields` has it too.
    """

    line: str
    fields: dict[str, Any]
    answered: bool = True
    instead: str | None = None
    notes: tuple[Note, ...] = ()


def no_answer(name: str, error: DataError) -> Answer:
    """Return what stands for the answer to an input that is broken."""
    what = error.what if name in error.what else f"{name}: {error.what}"
    facts = [f"{verb} {fact}" for verb, fact in (("should be", error.should), ("is", error.found)) if fact]
    what += f" ({', '.join(facts)})" if facts else ""
    return Answer(f"no answer: {what}", {"input": name, "error": what}, answered=False)


def label_notes(fields: Mapping[str, Any]) -> list[Note]:
    """Return the note about the labels of a picture that no installed font draws, if there are such."""
    legend = fields.get("picture_labels", {})
    what = f"{fields.get('picture')}: {legend_line(legend)}"
    return [Note("pictures with numbers for characters that no installed font has", what)] if legend else []
