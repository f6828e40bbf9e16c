"""Lines as pieces of text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.data.text import encoding


@given(st.lists(st.text("ab\n", max_size=9), max_size=9), st.integers(1, 5))
def test_pieces_of_lines_join_to_their_text(lines: list[str], size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "PIECE", size)
        pieces = list(encoding.in_pieces(lines))
    assert "".join(pieces) == "".join(lines)
    assert all(len(piece) == size for piece in pieces[:-1])
