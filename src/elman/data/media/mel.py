"""What an ear makes of sound: the logarithm of the energy in bands of the mel scale, step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elman.errors import SettingError

FLOOR = 1e-10
"""The least energy that is told apart from none, where full scale is 1."""

FRAMES = 2048  # that are transformed at a time, so that memory does not grow with the sound


def log_mel(
    samples: NDArray[np.float32],
    rate: int,
    *,
    bands: int = 40,
    window: float = 0.025,
    step: float = 0.01,
    low: float = 20.0,
    high: float | None = None,
) -> NDArray[np.float32]:
    """Return the log-mel energies of sounds of one length.

    Frame t covers the samples from t * step on, for the length of the window, and no others: a sound may be cut
    anywhere between frames. A sound shorter than a window is one frame, filled up with zeros.

    Args:
        samples: (N,) or (B, N).
        rate: samples a second.
        bands: F, triangular filters, evenly spaced on the mel scale, each as high as it is in the middle of its band.
        window: seconds of a frame, weighted by Hann's window.
        step: seconds from one frame to the next.
        low: Hz where the lowest band begins.
        high: Hz where the highest band ends; None: half the rate.

    Returns:
        float32, (T, F) or (B, T, F): natural logarithms of the energy, at least log(FLOOR).

    Raises:
        SettingError: impossible bounds, or bands too narrow for the window.
    """
    width, hop = max(1, round(window * rate)), max(1, round(step * rate))
    bins = 1 << (2 * width - 1).bit_length()  # at least twice the window: fine enough for the low bands
    filters = torch.from_numpy(mel_filters(rate, bins, bands, low, rate / 2 if high is None else high))
    sound = torch.from_numpy(np.ascontiguousarray(samples, np.float32))
    sound = torch.nn.functional.pad(sound, (0, max(0, width - sound.shape[-1])))
    weights = torch.hann_window(width)
    weights = weights / weights.square().sum().sqrt()  # the energy is that of a sample, however long the window
    count = 1 + (sound.shape[-1] - width) // hop
    blocks = [
        _block(sound[..., begin * hop : (min(count, begin + FRAMES) - 1) * hop + width], weights, hop, bins, filters)
        for begin in range(0, count, FRAMES)
    ]
    return torch.cat(blocks, -2).numpy()


def _block(sound: Tensor, weights: Tensor, hop: int, bins: int, filters: Tensor) -> Tensor:
    frames = sound.unfold(-1, len(weights), hop) * weights  # (..., T, width)
    energy: Tensor = torch.fft.rfft(frames, n=bins).abs().square()
    return (energy @ filters).clamp(min=FLOOR).log()


def mel(hertz: Any) -> Any:
    """Return the pitch of a frequency in mel: 2595 log10(1 + f / 700) (O'Shaughnessy 1987, Speech Communication)."""
    return 2595.0 * np.log10(1.0 + np.asarray(hertz) / 700.0)


def hertz(mel: Any) -> Any:
    """Return the frequency of a pitch in mel; the inverse of `mel`."""
    return 700.0 * (10.0 ** (np.asarray(mel) / 2595.0) - 1.0)


def mel_filters(rate: int, bins: int, bands: int, low: float, high: float) -> NDArray[np.float32]:
    """Return the weight of each frequency in each band, (bins // 2 + 1, bands).

    The triangles overlap by half and their tips are 1, as in the HTK Book (Young et al. 2006, section 5.4).

    Args:
        rate: samples a second.
        bins: of the Fourier transform.
        bands: how many filters.
        low, high: Hz where the lowest begins and the highest ends.

    Raises:
        SettingError: impossible bounds, or a band in which no frequency of the transform lies.
    """
    if not (bands >= 1 and 0 <= low < high <= rate / 2):
        raise SettingError(
            "the bands are impossible",
            should=f"at least one, between 0 and {rate / 2:g} Hz, half the rate",
            found=f"{bands} between {low:g} and {high:g} Hz",
            hint="a higher rate, or other bounds",
        )
    edges = hertz(np.linspace(mel(low), mel(high), bands + 2))
    frequencies = np.arange(bins // 2 + 1) * rate / bins
    rising = (frequencies[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - frequencies[:, None]) / (edges[2:] - edges[1:-1])
    filters: NDArray[np.float32] = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    if not filters.any(0).all():
        raise SettingError(
            "the bands are too narrow",
            should=f"each wider than {rate / bins:g} Hz",
            found=f"{bands} bands between {low:g} and {high:g} Hz",
            hint="fewer bands, or a longer window",
        )
    return filters
