"""The embedded text is there, is prose, and is always the same."""

import sys

import pytest

from elman.data.text.builtin import python_reference
from elman.errors import DataError


def test_the_reference_is_one_long_text() -> None:
    document = python_reference()
    text = "".join(document.pieces())
    assert 300_000 < len(text) < 1_200_000
    assert 'The "assert" statement' in text
    assert document == python_reference()


def test_a_python_without_it_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(DataError, match=r"no default text\n(.*\n)*.*name a text file"):
        python_reference()
