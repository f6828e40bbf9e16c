"""Frame encoder: frames are independent and standardised."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from elman.errors import SettingError
from elman.modules import frame_encoder as module
from elman.modules.frame_encoder import FrameEncoder


@given(st.integers(1, 4), st.integers(1, 3), st.sampled_from([(9, 13), (8, 8, 3)]), st.integers(0, 2))
def test_frames_are_independent(T: int, B: int, shape: tuple[int, ...], max_shift: int) -> None:
    torch.manual_seed(1)
    encoder = FrameEncoder(shape, 6, channels=(4, 8), max_shift=max_shift, dropout=0.5, mean=100, deviation=50).eval()
    frames = torch.randint(0, 256, (T, B, *shape), dtype=torch.uint8)
    encoded = encoder(frames)
    assert encoded.shape == (T, B, 6)
    for t in range(T):
        for b in range(B):
            alone = encoder(frames[t : t + 1, b : b + 1])
            torch.testing.assert_close(alone[0, 0], encoded[t, b], rtol=1e-4, atol=1e-5)


def test_evaluation_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = FrameEncoder((8, 8), 6).eval()
    frames = torch.rand(7, 2, 8, 8)
    whole = encoder(frames)
    monkeypatch.setattr(module, "MAX_FRAMES", 3)
    torch.testing.assert_close(encoder(frames), whole)


def test_pixels_are_standardised() -> None:
    torch.manual_seed(1)
    plain, scaled = FrameEncoder((8, 8), 6), FrameEncoder((8, 8), 6, mean=100.0, deviation=50.0)
    scaled.load_state_dict(plain.state_dict())
    frames = torch.randn(3, 2, 8, 8)
    torch.testing.assert_close(scaled(100 + 50 * frames), plain(frames), rtol=1e-4, atol=1e-5)


def test_each_parameter_has_a_gradient() -> None:
    encoder = FrameEncoder((12, 10, 3), 5, max_shift=1, horizontal_flip=True)
    encoder(torch.randn(3, 2, 12, 10, 3)).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in encoder.parameters())


def test_small_frames_are_refused() -> None:
    with pytest.raises(
        SettingError, match=r"too small for the shift\n.*more than 8 pixels.*\n.*8 x 20\n.*smaller --set"
    ):
        FrameEncoder((8, 20), 5, max_shift=4)
