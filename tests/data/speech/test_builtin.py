"""The built-in data: Morse code as sound."""

import numpy as np

from elman.data.speech.builtin import CODE, morse_messages, morse_units


def test_the_default_data_is_morse_code() -> None:
    assert "".join("." if length == 1 else "-" for length, down in morse_units("sos") if down) == "...---..."
    assert (
        sum(length for length, _ in morse_units("paris")) - 6 + 7 == 50
    )  # dots of the standard word, its gap included
    assert len(set(CODE.values())) == 36
    first, again = (list(morse_messages("some words and 73 more", 3, seed=1, decibels=(6.0, 6.0))) for _ in range(2))
    assert [m.text for m in first] == [m.text for m in again]
    assert all(np.array_equal(a.source, b.source) for a, b in zip(first, again, strict=True))
    assert all(set(m.text) <= set(CODE) | {" "} for m in first)
