"""Lines to answer, and those that have been answered."""

import io
import sys
from pathlib import Path

import pytest

from elman.errors import DataError
from elman.predictors.inputs import count_lines, spoken_lines, together


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "x.txt"
    path.write_text("b\n\nc\n")
    return path


def typed(monkeypatch: pytest.MonkeyPatch, raw: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw), encoding="ascii"))


def test_inputs_are_lines_files_or_standard_input(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, "\u00e9\n f\n".encode())
    found = list(spoken_lines([" a ", str(path), "-"]))
    assert [line.text for line in found] == ["a", "b", "", "c", "\u00e9", "f"]
    assert [line.where for line in found[1:5]] == [*(f"{path}, line {n}" for n in (1, 2, 3)), "standard input, line 1"]
    some = list(together(found, 2, lambda line: line.typed))
    assert [[line.text for line in lines] for lines in some] == [["a", "b"], ["", "c"], ["\u00e9"], ["f"]]
    with pytest.raises(DataError, match="nothing to answer"):
        list(spoken_lines([]))


def test_lines_that_are_answered_are_passed_over(path: Path) -> None:
    for after in range(4):
        assert [line.text for line in spoken_lines(["a", path], after)] == ["a", "b", "", "c"][after:]
    with pytest.raises(DataError, match=r"more answers than lines\n.*at most 4 answers.*\n.*5"):
        list(spoken_lines(["a", path], 5))


def test_what_came_before_a_mistake_is_handed_out_first(path: Path) -> None:
    path.write_bytes(b"a\nb\n\xff\nc\n")
    some = together(spoken_lines([path]), 32, lambda line: line.typed)
    assert [line.text for line in next(some)] == ["a", "b"]
    with pytest.raises(DataError, match=r"x\.txt, line 3 is not valid UTF-8"):
        next(some)


def test_standard_input_is_refused_for_what_a_file_is(monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, b"a\nb\xe4h\n")
    with pytest.raises(DataError, match=r"standard input, line 2 is not valid UTF-8\n.*\n.*0xe4 at offset 1"):
        list(spoken_lines(["-"]))
    typed(monkeypatch, b"a" * (1 << 20) + b"b")
    with pytest.raises(DataError, match="standard input, line 1 is too long"):
        list(spoken_lines(["-"]))


def test_whole_lines_are_counted(path: Path) -> None:
    assert count_lines(path) == 3
    path.write_text("")
    assert count_lines(path) == 0
    path.write_text("a\nb")
    with pytest.raises(DataError, match=r"line 2 is not whole(\n.*){2}\n.*sed -i"):
        count_lines(path)
    with pytest.raises(DataError, match="cannot be read"):
        count_lines(path.with_name("nothing"))
