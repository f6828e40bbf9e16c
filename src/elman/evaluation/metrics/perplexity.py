"""How well a model predicts a text: nats per symbol, bits per character, perplexity."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from elman.data.text.bptt_streams import Streams
from elman.data.text.token_file import TokenFile
from elman.errors import DataError

STREAM = 2048
"""About how many symbols of the text a stream of the evaluation is judged on; a shorter text is one stream."""

WARMUP = 512
"""How many symbols before its part a stream reads first, without being judged, to gather its state."""

MOST_STREAMS = 256
WINDOW = 256
_LARGEST = 700.0  # nats whose exponential is a number

Nats = Callable[..., tuple[Tensor, Any]]
"""`nats(input_TB, target_TB, state, resets=resets_TB) -> (sum, state)`: -log p of the targets that are not -100."""


def perplexity(
    nats: Nats,
    text: TokenFile,
    *,
    characters: int | None = None,
    device: torch.device | str = "cpu",
    streams: int | None = None,
    window: int = WINDOW,
) -> dict[str, float | None]:
    """Predict every symbol of a text but each document's first, once, with the state carried along.

    How the text is cut follows from its length alone, never from how a model was trained: into streams of about
    `STREAM` symbols, each of which reads the `WARMUP` symbols before its part first. `window` bounds memory and changes
    nothing but the rounding. `streams=1` gives every symbol all of its past, and takes longer.

    Args:
        nats: of the model, in evaluation mode.
        text: what is predicted.
        characters: how many characters the symbols that are judged stand for; None where that has no meaning.
        device: where the model is.
        streams: how many streams; None for the rule above.
        window: steps at a time.

    Returns:
        nats_per_symbol, bits_per_character (where `characters` is given), perplexity (per symbol; None where it is no
        number of a computer's), and symbols, the
        number of them that were judged.

    Raises:
        DataError: the text has no symbol to predict.
    """
    batch_size = streams or max(1, min(MOST_STREAMS, len(text) // STREAM))
    windows = Streams(text, batch_size=batch_size, window=window, drop=False, warmup=WARMUP)
    total, count, state = 0.0, 0, None
    with torch.no_grad():
        for piece in windows:
            resets = piece.resets_TB.to(device) if piece.resets_TB is not None else None
            found, state = nats(piece.input_TB.to(device), piece.target_TB.to(device), state, resets=resets)
            total += float(found)
            count += piece.count
    if count == 0:
        raise DataError("the text has nothing to predict", should="a document of two symbols or more", found="none")
    return summary(total, count, characters)


def summary(nats: float, symbols: int, characters: int | None = None) -> dict[str, float | None]:
    """Return the metrics of a text whose symbols cost so many nats in all."""
    mean = nats / symbols
    metrics: dict[str, float | None] = {
        "nats_per_symbol": mean,
        "perplexity": math.exp(mean) if mean < _LARGEST else None,
    }
    if characters:
        metrics["bits_per_character"] = nats / math.log(2) / characters
    return {**metrics, "symbols": symbols}
