"""Answers of an evaluation, which are resumed from their file."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from elman.evaluation.resumed_answers import resumed_answers

SENTENCES = [("a.wav", "a"), ("b.wav", "b"), ("a.wav", "a"), ("c.wav", "c")]
NAMES = ("path", "reference", "greedy", "beam_search")


@pytest.mark.parametrize("chunk", [1, 2, 64])
def test_answers_are_made_once(tmp_path: Path, chunk: int) -> None:
    file, made = tmp_path / "transcripts.jsonl", list[int]()

    def transcribe(numbers: Sequence[int]) -> list[tuple[str, str]]:
        made.extend(numbers)
        return [(f"greedy {SENTENCES[n][1]}", f"beam {SENTENCES[n][1]}") for n in numbers]

    def resumed(examples: list[tuple[str, str]], file: Path | None) -> list[tuple[str, ...]]:
        return resumed_answers(examples, transcribe, file, names=NAMES, chunk=chunk)

    expected = [(f"greedy {text}", f"beam {text}") for _, text in SENTENCES]
    assert resumed(SENTENCES, None) == expected
    assert resumed(SENTENCES[:2], file) == expected[:2]
    made.clear()
    assert resumed(SENTENCES, file) == expected
    assert made == [3]
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert rows[2] == {"path": "c.wav", "reference": "c", "greedy": "greedy c", "beam_search": "beam c"}
    assert len(rows) == 3
    assert resumed([], None) == []
