"""How many words and characters of a transcription are wrong, and in which way, by jiwer."""

from __future__ import annotations

from collections.abc import Sequence

from elman.errors import extra


def error_rates(written: Sequence[str], references: Sequence[str]) -> dict[str, float | None]:
    """Return the errors of transcriptions against what was said.

    The rates are edits over the words (characters) of the references; they may be above 1.

    Args:
        written: the transcriptions.
        references: what was said, none of them empty, in the same order.

    Returns:
        character_error_rate, word_error_rate, and of the latter's words the shares that were substituted, deleted
        and inserted.

    Raises:
        MissingExtraError: jiwer is not installed.
    """
    with extra("transcribe", "measuring transcriptions"):
        import jiwer
    words = jiwer.process_words(list(references), list(written))
    characters = jiwer.process_characters(list(references), list(written))
    count = words.hits + words.substitutions + words.deletions
    return {
        "character_error_rate": float(characters.cer),
        "word_error_rate": float(words.wer),
        "substituted": words.substitutions / count,
        "deleted": words.deletions / count,
        "inserted": words.insertions / count,
    }
