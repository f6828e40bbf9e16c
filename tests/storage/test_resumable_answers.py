"""Answers in a growing file: resumed, and refused where it is another file."""

from pathlib import Path

import pytest

from elman.errors import RunError
from elman.storage.resumable_answers import ResumableAnswers

NAMES = ("input", "answer", "beam")


def test_an_interrupted_evaluation_resumes_after_complete_lines(tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    rows = [("a\tb", "\u2028 x", "so"), ("", "y", ""), ('c"\\', "", "\n")]
    with ResumableAnswers(file, NAMES) as answers:
        assert answers.done == []
        for row in rows:
            answers.add(*row)
            assert file.read_bytes().endswith(b"\n")  # at once
    whole = file.read_bytes()
    file.write_bytes(whole + '{"input": "\u00e4'.encode()[:-1])  # cut inside a character
    with ResumableAnswers(file, NAMES) as answers:
        assert answers.done == rows
        assert file.read_bytes() == whole
        answers.add("d", "z", "zz")
    with ResumableAnswers(file, NAMES) as answers:
        assert answers.done == [*rows, ("d", "z", "zz")]


@pytest.mark.parametrize(
    "content", [b"{\n", b"[]\n", b"3\n", b'{"input": "a"}\n', b'{"input": "a", "answer": 3, "beam": "b"}\n', b"\xff\n"]
)
def test_another_file_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "answers.jsonl"
    file.write_bytes(content)
    with pytest.raises(RunError, match="is not a file of answers") as refused:
        ResumableAnswers(file, NAMES)
    assert "a JSON object with input, answer, beam on each line" in str(refused.value)
    assert file.read_bytes() == content


def test_a_place_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be used"):
        ResumableAnswers(tmp_path, NAMES)
    with pytest.raises(RunError, match="nothing"):
        ResumableAnswers(tmp_path / "nothing" / "answers.jsonl", NAMES)
