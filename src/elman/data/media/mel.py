"""Log-mel filterbank features."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elman.errors import SettingError

FLOOR = 1e-10
"""The least energy, where full scale is 1."""

FRAMES = 2048
"""The frames that are transformed at a time, so that memory does not grow with the sound."""


def log_mel(
    samples: NDArray[np.float32], rate: int, *, bands: int = 40, window: float = 0.025, step: float = 0.01,
    low: float = 20.0, high: float | None = None,
) -> NDArray[np.float32]:  # fmt: skip
    """Log-mel energies of sounds of one length.

    Frame t covers the samples from t * step on, for the length of the window, and no others, so that a sound may be
    split between any frames. A sound shorter than a window is one frame, padded with zeros.

    Args:
        samples: (N,) or (B, N).
        rate: the sample rate (Hz).
        bands: F, the number of mel bands: triangular filters, evenly spaced on the mel scale.
        window: seconds of a frame, weighted by a Hann window.
        step: seconds between frames.
        low: the lower edge of the lowest band (Hz).
        high: the upper edge of the highest band (Hz); None: half the sample rate.

    Returns:
        float32, (T, F) or (B, T, F): natural logarithms of the energy, at least log(FLOOR).

    Raises:
        SettingError: the edges are invalid, or the bands too narrow for the window.
    """
    width, hop, bins = max(1, round(window * rate)), max(1, round(step * rate)), transform_size(rate, window)
    filters = torch.from_numpy(mel_filters(rate, bins, bands, low, rate / 2 if high is None else high))
    sound = torch.from_numpy(np.ascontiguousarray(samples, np.float32))
    sound = torch.nn.functional.pad(sound, (0, max(0, width - sound.shape[-1])))
    weights = _hann(width)
    count = 1 + (sound.shape[-1] - width) // hop
    blocks = [
        _block(sound[..., begin * hop : (min(count, begin + FRAMES) - 1) * hop + width], weights, hop, bins, filters)
        for begin in range(0, count, FRAMES)
    ]
    return torch.cat(blocks, -2).numpy()


def transform_size(rate: int, window: float = 0.025) -> int:
    """Return the length of the Fourier transform: at least twice the window, fine enough for the low bands."""
    return 1 << (2 * max(1, round(window * rate)) - 1).bit_length()


@lru_cache(8)  # as for the filters
def _hann(width: int) -> Tensor:
    """Return a Hann window that keeps the energy of a sample, for any length of the window, (width,)."""
    weights = torch.hann_window(width)
    return weights / weights.square().sum().sqrt()


def _block(sound: Tensor, weights: Tensor, hop: int, bins: int, filters: Tensor) -> Tensor:
    frames = sound.unfold(-1, len(weights), hop) * weights  # (..., T, width)
    energy: Tensor = torch.fft.rfft(frames, n=bins).abs().square()
    return (energy @ filters).clamp(min=FLOOR).log()


def mel(hertz: Any) -> Any:
    """Mel scale of a frequency (Hz): 2595 log10(1 + f / 700) (O'Shaughnessy 1987, Speech Communication)."""
    return 2595.0 * np.log10(1.0 + np.asarray(hertz) / 700.0)


def hertz(mel: Any) -> Any:
    """Frequency (Hz) of a value on the mel scale; the inverse of `mel`."""
    return 700.0 * (10.0 ** (np.asarray(mel) / 2595.0) - 1.0)


@lru_cache(8)  # a stream asks for the same ones at every block
def mel_filters(rate: int, bins: int, bands: int, low: float, high: float) -> NDArray[np.float32]:
    """Mel filters: the weight of each frequency in each band, (bins // 2 + 1, bands).

    The triangles overlap by half and their maximum is 1, as in the HTK Book (Young et al. 2006, section 5.4). `bins` is
    the length of the Fourier transform, `low` and `high` are the edges of the lowest and highest band (Hz).

    Raises:
        SettingError: the edges are invalid, or a band has no frequency of the transform.
    """
    if not (bands >= 1 and 0 <= low < high <= rate / 2):
        raise SettingError(
            "invalid mel bands",
            should=f"at least one, between 0 and {rate / 2:g} Hz, half the sample rate",
            found=f"{bands} between {low:g} and {high:g} Hz",
            hint="a higher sample rate, or other edges",
        )
    edges = hertz(np.linspace(mel(low), mel(high), bands + 2))
    frequencies = np.arange(bins // 2 + 1) * rate / bins
    rising = (frequencies[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - frequencies[:, None]) / (edges[2:] - edges[1:-1])
    filters: NDArray[np.float32] = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    if not filters.any(0).all():
        raise SettingError(
            "the mel bands are too narrow",
            should=f"each wider than {rate / bins:g} Hz",
            found=f"{bands} bands between {low:g} and {high:g} Hz",
            hint="fewer bands, or a longer window",
        )
    return filters
