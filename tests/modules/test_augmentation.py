"""What training sees is changed within its bounds, and evaluation sees all as it is."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from elman.modules.augmentation import MaskFeatures, MaskSteps, ShiftFrames, frequency_warp, time_stretch


def runs_of(masked: torch.Tensor) -> int:
    """Return how many runs of true there are in a vector."""
    return int((masked & ~torch.cat([torch.tensor([False]), masked[:-1]])).sum())


@given(st.integers(0, 8), st.integers(1, 3), st.lists(st.integers(0, 30), min_size=1, max_size=4), st.integers(0, 99))
def test_masked_steps_are_few_runs_within_the_length(longest: int, runs: int, lengths: list[int], seed: int) -> None:
    torch.manual_seed(seed)
    x_TBI = torch.ones(32, len(lengths), 2)
    masked = (MaskSteps(longest, runs)(x_TBI, torch.tensor(lengths)) == 0).all(2)
    for b, length in enumerate(lengths):
        assert not masked[length:, b].any()
        assert masked[:, b].sum() <= runs * min(longest, length // 3)
        assert runs_of(masked[:, b]) <= runs


def test_every_length_and_place_of_a_mask_comes_up_equally_often() -> None:
    torch.manual_seed(1)
    masked = MaskSteps(2)(torch.ones(6, 30_000, 1))[..., 0] == 0
    widths = masked.sum(0).bincount() / 30_000
    torch.testing.assert_close(widths, torch.full((3,), 1 / 3), atol=0.015, rtol=0)
    ones = masked[:, masked.sum(0) == 1]
    torch.testing.assert_close(ones.float().mean(1), torch.full((6,), 1 / 6), atol=0.015, rtol=0)


def test_features_are_masked_at_all_steps_alike() -> None:
    torch.manual_seed(1)
    x_TBI = torch.ones(4, 50, 9)
    found = MaskFeatures(3, 2)(x_TBI)
    assert (found == found[:1]).all()
    masked_BI = found[0] == 0
    assert masked_BI.any() and masked_BI.sum(1).max() <= 6
    assert all(runs_of(row) <= 2 for row in masked_BI)


@given(st.integers(0, 3), st.integers(0, 99))
def test_a_shift_is_the_same_for_all_frames_of_a_sequence(margin: int, seed: int) -> None:
    torch.manual_seed(seed)
    frames = torch.rand(3, 2, 9, 11)
    found = ShiftFrames(margin, mirror=True)(frames)
    assert found.shape == (3, 2, 9 - 2 * margin, 11 - 2 * margin)
    for b in range(2):
        places = [
            (top, left, turn)
            for top in range(2 * margin + 1)
            for left in range(2 * margin + 1)
            for turn in (False, True)
            if torch.equal(_window(frames[:, b], top, left, margin, turn), found[:, b])
        ]
        assert len(places) == 1


def _window(frames: torch.Tensor, top: int, left: int, margin: int, turn: bool) -> torch.Tensor:
    window = frames[:, top : top + frames.shape[1] - 2 * margin, left : left + frames.shape[2] - 2 * margin]
    return window.flip(2) if turn else window


@pytest.mark.parametrize("layer", [MaskSteps(3), MaskFeatures(3), ShiftFrames(0, mirror=True)])
def test_in_evaluation_nothing_changes_and_nothing_is_drawn(layer: torch.nn.Module) -> None:
    x = torch.rand(6, 2, 5) if not isinstance(layer, ShiftFrames) else torch.rand(6, 2, 5, 5)
    before = torch.get_rng_state()
    assert torch.equal(layer.eval()(x), x)
    assert torch.equal(torch.get_rng_state(), before)


def test_in_evaluation_the_middle_is_seen() -> None:
    frames = torch.rand(2, 3, 8, 9)
    assert torch.equal(ShiftFrames(2).eval()(frames), frames[:, :, 2:6, 2:7])


def test_the_layers_say_what_they_are() -> None:
    assert repr(MaskSteps(3, 2)) == "MaskSteps(3, runs=2)"
    assert repr(MaskFeatures(3)) == "MaskFeatures(3, runs=1)"
    assert repr(ShiftFrames(2, True)) == "ShiftFrames(2, mirror=True)"


def test_stretching_changes_the_speed() -> None:
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
def test_stretching_sees_nothing_beyond_an_end(factor: float, lengths: list[int]) -> None:
    x_TBI, lengths_B = torch.ones(12, 3, 2), torch.tensor([12, *lengths])
    for b, length in enumerate(lengths_B):
        x_TBI[length:, b] = 1e6
    found_TBI, sizes_B = time_stretch(x_TBI, lengths_B, factor)
    for b, size in enumerate(sizes_B):
        torch.testing.assert_close(found_TBI[:size, b], torch.ones(int(size), 2))


def test_stretching_nothing_gives_nothing() -> None:
    found_TBI, sizes_B = time_stretch(torch.ones(4, 2, 1), torch.tensor([4, 0]), 1.5)
    assert found_TBI[:, 0].tolist() == [[1.0]] * 6 and sizes_B.tolist() == [6, 0]


def test_warping_moves_each_sequence_along_its_features() -> None:
    x_TBI = torch.arange(6.0).expand(3, 2, 6)
    found_TBI = frequency_warp(x_TBI, torch.tensor([2.0, 0.5]))
    torch.testing.assert_close(found_TBI[:, 0], torch.arange(0, 3, 0.5).expand(3, 6))
    torch.testing.assert_close(found_TBI[:, 1], torch.tensor([0.0, 2, 4, 5, 5, 5]).expand(3, 6))
    torch.testing.assert_close(frequency_warp(x_TBI, torch.ones(2)), x_TBI)
