"""The frame encoder: padding and company change nothing, and what stands still counts for nothing."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from elman.errors import SettingError
from elman.models import frames as module
from elman.models.frames import FrameEncoder


def clips(lengths: list[int], *shape: int) -> list[torch.Tensor]:
    return [torch.randint(0, 256, (n, *shape), dtype=torch.uint8) for n in lengths]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=4), st.sampled_from([(9, 13), (8, 8, 3)]), st.integers(0, 2))
def test_a_clip_alone_is_encoded_as_in_company(lengths: list[int], shape: tuple[int, ...], margin: int) -> None:
    torch.manual_seed(1)
    encoder = FrameEncoder(shape, 6, channels=(4, 8), margin=margin, dropout=0.5).eval()
    alone = clips(lengths, *shape)
    batch = torch.full((max(lengths) + 1, len(lengths), *shape), 255, dtype=torch.uint8)
    for b, clip in enumerate(alone):
        batch[: len(clip), b] = clip
    together = encoder(batch, torch.tensor(lengths))
    assert together.shape == (max(lengths) + 1, len(lengths), 6)
    for b, clip in enumerate(alone):
        assert (together[len(clip) :, b] == 0).all()
        if len(clip):
            torch.testing.assert_close(encoder(clip[:, None])[:, 0], together[: len(clip), b], rtol=1e-4, atol=1e-5)


def test_pieces_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = FrameEncoder((8, 8), 6).eval()
    (clip,) = clips([7], 8, 8)
    whole = encoder(clip[:, None])
    monkeypatch.setattr(module, "AT_ONCE", 3)
    torch.testing.assert_close(encoder(clip[:, None]), whole)


def test_light_and_contrast_and_what_stands_still_count_for_nothing() -> None:
    encoder = FrameEncoder((8, 8), 6).eval()
    moving = torch.randn(5, 1, 8, 8) * 1000
    face = torch.rand(8, 8) * 1000
    torch.testing.assert_close(encoder(3 * moving + face + 9), encoder(moving), rtol=1e-3, atol=1e-4)
    still = encoder(face.expand(4, 1, 8, 8))
    torch.testing.assert_close(still, encoder(torch.zeros(4, 1, 8, 8)), rtol=1e-4, atol=1e-5)


def test_the_gradient_reaches_every_weight() -> None:
    encoder = FrameEncoder((12, 10, 3), 5, margin=1, mirror=True)
    frames = torch.rand(3, 2, 12, 10, 3) * 255
    encoder(frames, torch.tensor([3, 2])).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in encoder.parameters())


def test_frames_that_a_margin_eats_up_are_refused() -> None:
    with pytest.raises(
        SettingError, match=r"too small for the margin\n.*more than 8 pixels.*\n.*8 x 20\n.*smaller margin"
    ):
        FrameEncoder((8, 20), 5, margin=4)
