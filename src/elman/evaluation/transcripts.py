"""Transcripts of the sentences of an evaluation, in a file from which an interrupted evaluation is resumed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from elman.data.batching import chunked
from elman.storage.resumable_answers import ResumableAnswers

CHUNK = 64  # sentences that are transcribed together
KEYS = ("path", "reference", "greedy", "beam_search")


def resumed_transcripts(
    sentences: Sequence[tuple[str, str]],
    transcribe: Callable[[Sequence[int]], Iterable[tuple[str, str]]],
    file: Path | None,
) -> list[tuple[str, ...]]:
    """Return the transcripts of sentences; those that are in the file already are not made again.

    Args:
        sentences: the name and the text of each.
        transcribe: (numbers of sentences) -> the transcripts of each, by greedy decoding and by beam search.
        file: of transcripts, with a line for each sentence; None for no file.

    Raises:
        RunError: the file is broken or cannot be written.
    """
    with TemporaryDirectory() as folder, ResumableAnswers(file or Path(folder) / "transcripts", KEYS) as table:
        done = {row[:2] for row in table.done}
        numbers = {sentence: n for n, sentence in enumerate(sentences) if sentence not in done}
        for chunk in chunked(numbers.values(), CHUNK):
            for n, transcripts in zip(chunk, transcribe(chunk), strict=True):
                table.add(*sentences[n], *transcripts)
    transcripts_of = {row[:2]: row[2:] for row in table.done}
    return [transcripts_of[sentence] for sentence in sentences]
