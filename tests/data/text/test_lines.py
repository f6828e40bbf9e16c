"""Lines of files, read and kept."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.data.text import documents as text_module
from elman.data.text.documents import Document
from elman.data.text.lines import LineStore, document_lines


@given(st.text(st.sampled_from("ab\n"), min_size=1, max_size=20), st.integers(1, 4))
def test_lines_are_those_of_the_text_wherever_it_is_cut(text: str, piece: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_module, "PIECE", piece)
        assert list(document_lines(Document("here", text))) == text.splitlines(keepends=True)


def test_kept_lines(tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_bytes("one\r\n\nüber\nlast".encode())
    lines = LineStore(path, tmp_path)
    assert list(lines) == ["one", "", "über", "last"]
    assert (len(lines), lines[2]) == (4, "über")
