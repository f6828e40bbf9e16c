"""Morse code as sound, keyed by a hand that varies, with drift and noise: transcription that needs no download.

The code is ITU-R M.1677-1: a dash is three dots long, the gap within a letter one, between letters three, between
words seven.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from elman.data.speech.readers import TranscribedFile
from elman.data.text.builtin import python_reference

RATE = 4000
"""Sample rate (Hz); the tones lie below 1 kHz."""

TRAINING, VALIDATION = 1200, 200  # messages for training and for validation
NOISE, NOISE_VALIDATION = (3.0, 20.0), (6.0, 6.0)  # decibels

SIGNS = """
a .-    b -...  c -.-.  d -..   e .     f ..-.  g --.   h ....  i ..    j .---  k -.-   l .-..
m --    n -.    o ---   p .--.  q --.-  r .-.   s ...   t -     u ..-   v ...-  w .--   x -..-
y -.--  z --..  0 ----- 1 .---- 2 ..--- 3 ...-- 4 ....- 5 ..... 6 -.... 7 --... 8 ---.. 9 ----.
"""
CODE = dict(zip(SIGNS.split()[::2], SIGNS.split()[1::2], strict=True))


def morse_sentences(seed: int) -> tuple[Iterator[TranscribedFile], Iterator[TranscribedFile]]:
    """Return messages out of the Python language reference, for training and for validation, as they are made."""
    text = "".join(python_reference().pieces())
    training = morse_messages(text, TRAINING, seed=seed, decibels=NOISE)
    validation = morse_messages(text, VALIDATION, seed=seed + 2**32, decibels=NOISE_VALIDATION)
    return training, validation


def morse_messages(text: str, count: int, *, seed: int, decibels: tuple[float, float]) -> Iterator[TranscribedFile]:
    """Yield messages of two to four words out of a text, each by another hand.

    A hand has a speed of 18 to 30 words a minute, varies every mark and gap by some tenth, and a tone of 450 to 850 Hz
    that drifts by up to 5 % and fades by up to 6 dB.

    Args:
        text: where the words are from; those of letters and digits with 2 to 7 signs are taken, as often as they occur.
        count: how many messages.
        seed: of everything random.
        decibels: least and greatest power of the tone, where the key is down, against that of the white noise over all
            frequencies up to half the rate.
    """
    words = re.findall(r"\b[a-z0-9]{2,7}\b", text.lower())
    rng = np.random.default_rng(seed)
    for _ in range(count):
        chosen = " ".join(words[n] for n in rng.integers(len(words), size=rng.integers(2, 5)))
        yield TranscribedFile(morse_sound(chosen, rng, float(rng.uniform(*decibels))), chosen)


def morse_sound(text: str, rng: np.random.Generator, decibels: float) -> NDArray[np.float32]:
    """Return the sound of a text as one hand keys it; see `morse_messages`."""
    dot = 1.2 / rng.uniform(18, 30)  # seconds; the word PARIS is 50 dots
    jitter = rng.uniform(0.03, 0.12)
    marks = [(length * float(np.exp(jitter * rng.standard_normal())), down) for length, down in morse_units(text)]
    edges = np.round(np.cumsum([0.0, *(length * dot for length, _ in marks)]) * RATE).astype(int)
    key = np.zeros(edges[-1])
    for (_, pressed), begin, end in zip(marks, edges, edges[1:], strict=False):
        key[begin:end] = pressed
    ramp = np.hanning(round(0.01 * RATE) + 2)[1:-1]
    envelope = np.convolve(key, ramp / ramp.sum(), "same")
    time = np.arange(len(key)) / RATE
    wave = np.sin(2 * np.pi * (rng.uniform(0.02, 0.2) * time + rng.uniform()))
    tone = rng.uniform(450, 850) * (1 + rng.uniform(0, 0.05) * wave)
    fade = 10 ** (-rng.uniform(0, 6) / 20 * (0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(0.05, 0.3) * time)))
    signal = envelope * fade * np.sin(2 * np.pi * np.cumsum(tone) / RATE)
    down = key > 0
    power = float((signal[down] ** 2).mean())
    noise = rng.standard_normal(len(signal)) * np.sqrt(power / 10 ** (decibels / 10))
    sound = signal + noise
    loud: NDArray[np.float32] = (0.5 * sound / np.abs(sound).max()).astype(np.float32)
    return loud


def morse_units(text: str) -> Iterator[tuple[int, bool]]:
    """Yield the marks and gaps of a text, each with its length in dots, and whether the key is down."""
    yield 3, False
    for w, word in enumerate(text.split()):
        if w:
            yield 7, False
        for c, character in enumerate(word):
            if c:
                yield 3, False
            for m, mark in enumerate(CODE[character]):
                if m:
                    yield 1, False
                yield (1 if mark == "." else 3), True
    yield 3, False
