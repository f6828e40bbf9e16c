"""Language-model metrics: nats per symbol, bits per character, perplexity."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from elman.data.text.bptt_streams import Streams
from elman.data.text.token_file import TokenFile
from elman.data.text.vocabularies import Vocabulary
from elman.errors import DataError
from elman.evaluation.progress import reported
from elman.evaluation.result import Metrics

STREAM = 2048
"""About how many symbols of the text a stream of the evaluation predicts; a shorter text is one stream."""

WARMUP = 512
"""Symbols before its part that a stream reads to initialise its state; they are not evaluated."""

MAX_STREAMS = 256
WINDOW = 256
_OVERFLOW = 700.0  # nats whose exponential overflows

Nats = Callable[..., tuple[Tensor, Any]]
"""`nats(input_TB, target_TB, state, resets=resets_TB) -> (sum, state)`: -log p of the targets that are not -100."""


def perplexity(
    nats: Nats,
    text: TokenFile,
    *,
    characters: int | None = None,
    unscored: int | None = None,
    device: torch.device | str = "cpu",
    streams: int | None = None,
    window: int = WINDOW,
) -> Metrics:
    """Predict every symbol of a text except each document's first, once, with the state carried over.

    The text is split by its length alone, independent of training: into streams of about `STREAM` symbols, each of
    which reads the `WARMUP` symbols before its part first. `window` bounds memory and affects the rounding only.
    `streams=1` gives every symbol its whole past, and takes longer.

    Args:
        nats: of the model, in evaluation mode.
        text: the text to predict.
        characters: the number of characters of the predicted symbols; None if undefined.
        unscored: the token id of unknown symbols that are read and not predicted; None for none.
        device: where the model is.
        streams: how many streams; None for the rule above.
        window: steps at a time.

    Returns:
        nats_per_symbol, bits_per_character (if `characters` is given), perplexity (per symbol; None on overflow), and
        symbols, the number of predicted ones.

    Raises:
        DataError: the text has no symbol to predict.
    """
    batch_size = streams or max(1, min(MAX_STREAMS, len(text) // STREAM))
    windows = Streams(text, batch_size=batch_size, window=window, drop=False, warmup=WARMUP, unscored=unscored)
    total, count, state = 0.0, 0, None
    with torch.no_grad():
        for piece in reported(windows, len(windows), "windows"):
            moved = piece.to(device)
            loss, state = nats(moved.input_TB, moved.target_TB, state, resets=moved.resets_TB)
            total += float(loss)
            count += piece.count
    if count == 0:
        raise DataError("the text has nothing to predict", should="a document of at least two symbols", found="none")
    return perplexity_metrics(total, count, characters)


def perplexity_metrics(nats: float, symbols: int, characters: int | None = None) -> Metrics:
    """Return the metrics of a text from the sum of -log p of its symbols, in nats."""
    mean = nats / symbols
    metrics: dict[str, float | None] = {
        "nats_per_symbol": mean,
        "perplexity": math.exp(mean) if mean < _OVERFLOW else None,
    }
    if characters:
        metrics["bits_per_character"] = nats / math.log(2) / characters
    return {**metrics, "symbols": symbols}


@lru_cache(maxsize=1)  # all symbols are decoded, and every evaluation of a training is on the same text
def count_characters(vocabulary: Vocabulary, text: TokenFile) -> int | None:
    """Return how many characters the predicted symbols stand for, those after each document's first; None for words."""
    if vocabulary.kind == "words":
        return None
    if vocabulary.kind == "characters":
        unknown = text.count_of(vocabulary.unknown)
        starts = int(np.count_nonzero(text.token_ids[text.document_starts] == vocabulary.unknown)) if unknown else 0
        return len(text) - len(text.document_starts) - (unknown - starts)
    firsts = set(text.document_starts.tolist())
    decoder = vocabulary.decoder()
    # The first symbol of a document is not predicted, but a character may begin in it.
    pushed = ((i, len(decoder.push(int(token_id)))) for i, token_id in enumerate(text.token_ids))
    return sum(length for i, length in pushed if i not in firsts)


def unscored_symbol(vocabulary: Vocabulary) -> int | None:
    """Return the token id of unknown symbols, where the model has none of that id and cannot predict it."""
    return vocabulary.unknown if vocabulary.unknown is not None and vocabulary.unknown >= len(vocabulary) else None


def unknown_metrics(vocabulary: Vocabulary, text: TokenFile) -> dict[str, Any]:
    """Return how many symbols of a text are unknown, and how they count; nothing where no symbol is unknown."""
    count = text.count_of(vocabulary.unknown)
    if not count:
        return {}
    is_scored = unscored_symbol(vocabulary) is None
    how = "each is predicted as the symbol <unk>" if is_scored else "they are read as zeros, and not predicted"
    return {"unknown_symbols": count, "unknown": f"{count} of {len(text)} symbols are not in the vocabulary; {how}"}
