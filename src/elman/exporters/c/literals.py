"""Arrays of numbers as the text of C."""

from __future__ import annotations

import numpy as np

from elman.exporters.stack import Array

WIDTH = 110
"""The most letters in a line of numbers."""


def constant(name: str, array: Array) -> str:
    """Return the definition of a constant array, float32 or int8, whose numbers follow one another in memory."""
    kind = "int8_t" if array.dtype == np.int8 else "float"
    words = [str(number) for number in array.ravel()] if kind == "int8_t" else map(literal, array.ravel())
    return f"static const {kind} {name}[{array.size}] = {{\n{_lines(list(words))}\n}};\n"


def literal(number: np.float32) -> str:
    """Return a float32 as C reads it back without loss."""
    text = f"{float(number):.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def _lines(words: list[str]) -> str:
    lines, line = [], "   "
    for word in words:
        if len(line) + len(word) + 2 > WIDTH:
            lines.append(line)
            line = "   "
        line += f" {word},"
    return "\n".join([*lines, line])
