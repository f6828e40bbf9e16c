"""Lines that share words with a text, judged by counting."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.data.pairs import inverted_index as line_words
from elman.data.pairs.inverted_index import InvertedIndex
from elman.evaluation.baselines.word_overlap import shared_words

TEXTS = st.lists(st.sampled_from(["a", "The", "the", "cat", "dog,", ""]), max_size=4).map(" ".join)


@given(st.lists(TEXTS, min_size=1, max_size=12), TEXTS, st.integers(1, 5), st.integers(1, 13))
def test_they_are_those_that_share_most(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], text: str, count: int, piece: int
) -> None:
    kept = InvertedIndex(lines, tmp_path_factory.mktemp("words"))
    shared = [shared_words(text, line) for line in lines]
    expected = [n for n in sorted(range(len(lines)), key=lambda n: -shared[n]) if shared[n] > 0][:count]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(line_words, "PIECE", piece)
        assert kept.nearest(text, count) == expected


def test_no_lines(tmp_path: Path) -> None:
    assert InvertedIndex(["", " "], tmp_path).nearest("a cat", 3) == []
