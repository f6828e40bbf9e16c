"""Answers of an evaluation, in a file from which an interrupted evaluation is resumed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from elman.data.batching import chunked
from elman.evaluation.progress import reported
from elman.storage.files import temporary_folder
from elman.storage.resumable_answers import ResumableAnswers

Texts = tuple[str, ...]


def resumed_answers(
    examples: Sequence[Texts],
    answer: Callable[[Sequence[int]], Iterable[Texts]],
    file: Path | None,
    *,
    names: Sequence[str],
    chunk: int,
) -> list[Texts]:
    """Return the answers to examples; those that are in the file already are not made again.

    Args:
        examples: the texts that an example consists of; equal ones are answered once.
        answer: (numbers of examples) -> the answers to each.
        file: of answers, with a line for each example; None for no file.
        names: of the texts of an example and of its answers, in the file.
        chunk: examples that are answered together.

    Raises:
        RunError: the file is broken or cannot be written.
    """
    size = len(examples[0]) if examples else 0
    with temporary_folder() as folder, ResumableAnswers(file or folder / "answers", names) as table:
        done = {row[:size] for row in table.done}
        numbers = {example: n for n, example in enumerate(examples) if example not in done}
        for part in reported(chunked(numbers.values(), chunk), len(numbers), "examples", len):
            for n, answers in zip(part, answer(part), strict=True):
                table.add(*examples[n], *answers)
    answers_to = {row[:size]: row[size:] for row in table.done}
    return [answers_to[example] for example in examples]
