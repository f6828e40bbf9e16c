"""Runs for the benchmarks: language models and a transcriber, trained for a moment."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

import elman

LETTERS = "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ.,;:!?-'\"()0123456789\n"
RATE = 16_000
PITCH = {"a": 400.0, "b": 900.0, "c": 1600.0, "d": 2600.0}


def language_model(folder: Path, hidden: int) -> Path:
    """Return a run of an LSTM over characters."""
    out = folder / f"lstm{hidden}"
    if not out.exists():
        rng = random.Random(1)
        text = folder / "text.txt"
        text.write_text("".join(rng.choice(LETTERS) for _ in range(20_000)))
        sizes: dict[str, Any] = {"cell": "lstm", "hidden": hidden, "embedding": 128, "layers": 1}
        elman.train("language-model", text, out, steps=2, batch_size=4, window=16, device="cpu", **sizes)
    return out


def sound(text: str) -> Any:
    """Return a tone for each letter with a pause after it, and a longer pause for a space."""
    rng = np.random.default_rng(len(text))
    parts = []
    for letter in text:
        time = np.arange(int(RATE * 0.08)) / RATE
        tone = 0.3 * np.sin(2 * np.pi * PITCH[letter] * time) if letter != " " else 0 * time
        parts += [tone, np.zeros(RATE // 25)]
    return (np.concatenate(parts) + 0.003 * rng.standard_normal(sum(map(len, parts)))).astype(np.float32)


def transcriber(folder: Path) -> Path:
    """Return a run of a streaming transcriber of whistled letters with more than a million parameters."""
    out = folder / "transcriber"
    if not out.exists():
        rng, words = random.Random(1), ["ab", "ba", "cd", "dac", "bd"]
        data = folder / "whistles"
        data.mkdir(exist_ok=True)
        rows = ["path\ttext"]
        for n in range(40):
            text = " ".join(rng.choice(words) for _ in range(rng.randint(1, 3)))
            soundfile.write(data / f"{n}.wav", sound(text), RATE)
            rows.append(f"{n}.wav\t{text}")
        (data / "table.tsv").write_text("\n".join(rows) + "\n")
        sizes: dict[str, Any] = {"hidden": 256, "layers": 3, "cell": "gru", "stride": 3, "dropout": 0}
        elman.train(
            "transcribe", data / "table.tsv", out, steps=150, batch_size=8, streaming=True, learning_rate=0.002,
            device="cpu", **sizes,
        )  # fmt: skip
    return out
