"""Answers that are kept while they are made."""

from pathlib import Path

import pytest

from elman.errors import RunError
from elman.storage.resumable_answers import ResumableAnswers

NAMES = ("input", "answer", "beam")


def test_a_stopped_measurement_goes_on_from_whole_lines(tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    rows = [("a\tb", "\u2028 x", "so"), ("", "y", ""), ('c"\\', "", "\n")]
    with ResumableAnswers(file, NAMES) as kept:
        assert kept.done == []
        for row in rows:
            kept.add(*row)
            assert file.read_bytes().endswith(b"\n")  # at once
    whole = file.read_bytes()
    file.write_bytes(whole + '{"input": "\u00e4'.encode()[:-1])  # cut inside a character
    with ResumableAnswers(file, NAMES) as kept:
        assert kept.done == rows
        assert file.read_bytes() == whole
        kept.add("d", "z", "zz")
    with ResumableAnswers(file, NAMES) as kept:
        assert kept.done == [*rows, ("d", "z", "zz")]


@pytest.mark.parametrize(
    "content", [b"{\n", b"[]\n", b"3\n", b'{"input": "a"}\n', b'{"input": "a", "answer": 3, "beam": "b"}\n', b"\xff\n"]
)
def test_another_file_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "answers.jsonl"
    file.write_bytes(content)
    with pytest.raises(RunError, match="holds no answers") as refused:
        ResumableAnswers(file, NAMES)
    assert "a JSON object with input, answer, beam on each line" in str(refused.value)
    assert file.read_bytes() == content


def test_a_place_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be used"):
        ResumableAnswers(tmp_path, NAMES)
    with pytest.raises(RunError, match="nothing"):
        ResumableAnswers(tmp_path / "nothing" / "answers.jsonl", NAMES)
