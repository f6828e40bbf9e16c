"""Transcripts of an evaluation, which are resumed from their file."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from elman.evaluation import transcripts
from elman.evaluation.transcripts import resumed_transcripts

SENTENCES = [("a.wav", "a"), ("b.wav", "b"), ("a.wav", "a"), ("c.wav", "c")]


@pytest.mark.parametrize("chunk", [1, 2, 64])
def test_transcripts_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(transcripts, "CHUNK", chunk)
    file, made = tmp_path / "transcripts.jsonl", list[int]()

    def transcribe(numbers: Sequence[int]) -> list[tuple[str, str]]:
        made.extend(numbers)
        return [(f"greedy {SENTENCES[n][1]}", f"beam {SENTENCES[n][1]}") for n in numbers]

    expected = [(f"greedy {text}", f"beam {text}") for _, text in SENTENCES]
    assert resumed_transcripts(SENTENCES, transcribe, None) == expected
    assert resumed_transcripts(SENTENCES[:2], transcribe, file) == expected[:2]
    made.clear()
    assert resumed_transcripts(SENTENCES, transcribe, file) == expected
    assert made == [3]
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert rows[2] == {"path": "c.wav", "reference": "c", "greedy": "greedy c", "beam_search": "beam c"}
    assert len(rows) == 3
