"""Pairs that are read once and gone through again and again."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.data.translation.readers import SentencePair
from elman.data.translation.spool import SpooledPairs

lines = st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=8)
some_pairs = st.lists(st.tuples(st.integers(1, 10**9), st.builds(SentencePair, lines, lines)), max_size=8)


@given(rows=some_pairs, place=st.integers(0, 8))
def test_they_come_back_whole_and_in_parts(tmp_path_factory: pytest.TempPathFactory, rows: list, place: int) -> None:
    path: Path = tmp_path_factory.mktemp("spooled") / "pairs"
    pairs = SpooledPairs.write(path, ("here",), iter(rows))
    assert list(pairs.numbered()) == rows
    assert list(pairs) == list(pairs) == [pair for _, pair in rows]
    cut = min(place, len(rows))
    first, others = pairs.cut(cut)
    assert (len(first), len(others)) == (cut, len(rows) - cut)
    assert list(first.numbered()) == rows[:cut]
    assert list(others.numbered()) == rows[cut:]
