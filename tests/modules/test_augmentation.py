"""Data augmentation: within its bounds in training, off in evaluation, and the formulas of stretching and warping."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from elman.modules.augmentation import FrequencyMasking, RandomCrop, TimeMasking, frequency_warp, time_stretch


def runs_of(masked: torch.Tensor) -> int:
    """Return how many runs of true there are in a vector."""
    return int((masked & ~torch.cat([torch.tensor([False]), masked[:-1]])).sum())


@given(st.integers(0, 8), st.integers(1, 3), st.lists(st.integers(0, 30), min_size=1, max_size=4), st.integers(0, 99))
def test_masked_steps_are_runs_within_the_length(longest: int, runs: int, lengths: list[int], seed: int) -> None:
    torch.manual_seed(seed)
    x_TBI = torch.ones(32, len(lengths), 2)
    masked = (TimeMasking(longest, runs)(x_TBI, torch.tensor(lengths)) == 0).all(2)
    for b, length in enumerate(lengths):
        assert not masked[length:, b].any()
        assert masked[:, b].sum() <= runs * min(longest, length // 3)
        assert runs_of(masked[:, b]) <= runs


def test_mask_lengths_and_positions_are_uniform() -> None:
    torch.manual_seed(1)
    masked = TimeMasking(2)(torch.ones(6, 30_000, 1))[..., 0] == 0
    widths = masked.sum(0).bincount() / 30_000
    torch.testing.assert_close(widths, torch.full((3,), 1 / 3), atol=0.015, rtol=0)
    ones = masked[:, masked.sum(0) == 1]
    torch.testing.assert_close(ones.float().mean(1), torch.full((6,), 1 / 6), atol=0.015, rtol=0)


def test_features_are_masked_at_all_steps() -> None:
    torch.manual_seed(1)
    x_TBI = torch.ones(4, 50, 9)
    augmented = FrequencyMasking(3, 2)(x_TBI)
    assert (augmented == augmented[:1]).all()
    masked_BI = augmented[0] == 0
    assert masked_BI.any() and masked_BI.sum(1).max() <= 6
    assert all(runs_of(row) <= 2 for row in masked_BI)


@given(st.integers(0, 3), st.integers(0, 99))
def test_frames_of_a_sequence_have_one_crop(max_shift: int, seed: int) -> None:
    torch.manual_seed(seed)
    frames = torch.rand(3, 2, 9, 11)
    augmented = RandomCrop(max_shift, horizontal_flip=True)(frames)
    assert augmented.shape == (3, 2, 9 - 2 * max_shift, 11 - 2 * max_shift)
    for b in range(2):
        matches = [
            (top, left, flip)
            for top in range(2 * max_shift + 1)
            for left in range(2 * max_shift + 1)
            for flip in (False, True)
            if torch.equal(_window(frames[:, b], top, left, max_shift, flip), augmented[:, b])
        ]
        assert len(matches) == 1


def _window(frames: torch.Tensor, top: int, left: int, max_shift: int, flip: bool) -> torch.Tensor:
    window = frames[:, top : top + frames.shape[1] - 2 * max_shift, left : left + frames.shape[2] - 2 * max_shift]
    return window.flip(2) if flip else window


@pytest.mark.parametrize("layer", [TimeMasking(3), FrequencyMasking(3), RandomCrop(0, horizontal_flip=True)])
def test_evaluation_does_not_augment(layer: torch.nn.Module) -> None:
    x = torch.rand(6, 2, 5) if not isinstance(layer, RandomCrop) else torch.rand(6, 2, 5, 5)
    before = torch.get_rng_state()
    assert torch.equal(layer.eval()(x), x)
    assert torch.equal(torch.get_rng_state(), before)


def test_evaluation_crops_the_centre() -> None:
    frames = torch.rand(2, 3, 8, 9)
    assert torch.equal(RandomCrop(2).eval()(frames), frames[:, :, 2:6, 2:7])


def test_repr() -> None:
    assert repr(TimeMasking(3, 2)) == "TimeMasking(3, runs=2)"
    assert repr(FrequencyMasking(3)) == "FrequencyMasking(3, runs=1)"
    assert repr(RandomCrop(2, True)) == "RandomCrop(2, horizontal_flip=True)"


def test_time_stretch() -> None:
    x_TBI = torch.arange(20.0).view(10, 2, 1)
    slow_TBI, lengths_B = time_stretch(x_TBI, torch.tensor([10, 5]), 1.5)
    assert slow_TBI.shape == (15, 2, 1)
    assert lengths_B.tolist() == [15, 7]
    torch.testing.assert_close(slow_TBI[:, 0].diff(dim=0)[3:-3], torch.full((8, 1), 2 / 1.5))
    torch.testing.assert_close(slow_TBI[:7, 1].diff(dim=0)[1:], torch.full((5, 1), 2 / 1.5))
    same_TBI, lengths_B = time_stretch(x_TBI, torch.tensor([10, 5]), 1.0)
    torch.testing.assert_close(same_TBI[:, 0], x_TBI[:, 0])
    torch.testing.assert_close(same_TBI[:5, 1], x_TBI[:5, 1])
    assert lengths_B.tolist() == [10, 5]


@given(st.floats(0.5, 1.5), st.lists(st.integers(1, 12), min_size=2, max_size=2))
def test_time_stretch_ignores_padding(factor: float, lengths: list[int]) -> None:
    x_TBI, lengths_B = torch.ones(12, 3, 2), torch.tensor([12, *lengths])
    for b, length in enumerate(lengths_B):
        x_TBI[length:, b] = 1e6
    augmented_TBI, sizes_B = time_stretch(x_TBI, lengths_B, factor)
    for b, size in enumerate(sizes_B):
        torch.testing.assert_close(augmented_TBI[:size, b], torch.ones(int(size), 2))


def test_time_stretch_of_an_empty_sequence() -> None:
    augmented_TBI, sizes_B = time_stretch(torch.ones(4, 2, 1), torch.tensor([4, 0]), 1.5)
    assert augmented_TBI[:, 0].tolist() == [[1.0]] * 6 and sizes_B.tolist() == [6, 0]


def test_frequency_warp() -> None:
    x_TBI = torch.arange(6.0).expand(3, 2, 6)
    augmented_TBI = frequency_warp(x_TBI, torch.tensor([2.0, 0.5]))
    torch.testing.assert_close(augmented_TBI[:, 0], torch.arange(0, 3, 0.5).expand(3, 6))
    torch.testing.assert_close(augmented_TBI[:, 1], torch.tensor([0.0, 2, 4, 5, 5, 5]).expand(3, 6))
    torch.testing.assert_close(frequency_warp(x_TBI, torch.ones(2)), x_TBI)
