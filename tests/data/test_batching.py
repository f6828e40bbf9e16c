"""Batches of examples: every example once an epoch, another order each time, a place that can be kept."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.data.batching import BucketBatches, chunked, count_held_out, in_order, pad
from elman.errors import DataError, RunError, SettingError

LENGTHS = st.lists(st.integers(0, 20), min_size=1, max_size=60)


def batches_of(lengths: list[int], **options: int) -> BucketBatches[list[int]]:
    return BucketBatches(lengths, lambda chosen: chosen.tolist(), **{"batch_size": 4, "seed": 3, **options})


@given(LENGTHS, st.integers(1, 7), st.integers(0, 30))
def test_an_epoch_has_every_example_once(lengths: list[int], batch_size: int, tokens: int) -> None:
    for batches in (
        list(batches_of(lengths, batch_size=batch_size, tokens=tokens)),
        [chosen.tolist() for chosen in in_order(lengths, batch_size=batch_size, tokens=tokens)],
    ):
        assert sorted(n for batch in batches for n in batch) == list(range(len(lengths)))
        for batch in batches:
            assert 1 <= len(batch) <= batch_size
            assert not tokens or len(batch) == 1 or len(batch) * max(lengths[n] for n in batch) <= tokens


def test_epochs_differ_and_seeds_repeat() -> None:
    lengths = list(range(40))
    batches = batches_of(lengths)
    first, second = list(batches), list(batches)
    assert first != second
    assert list(batches_of(lengths)) == first
    assert list(batches_of(lengths, seed=4)) != first


@given(LENGTHS, st.integers(0, 50))
def test_a_place_can_be_gone_back_to(lengths: list[int], steps: int) -> None:
    def endless(batches: BucketBatches[list[int]]) -> list[list[int]]:
        found: list[list[int]] = []
        while len(found) < steps + 9:
            for batch in batches:
                found.append(batch)
                if len(found) == steps:
                    places.append(batches.position)
        return found

    places = [{"epoch": 0, "batch": 0}]
    whole = endless(batches_of(lengths))
    again = batches_of(lengths)
    again.seek(places[-1])
    assert endless(again)[:9] == whole[steps : steps + 9]


def test_progress_counts_epochs() -> None:
    batches = batches_of([1] * 8)
    assert (len(batches), batches.progress) == (2, 0)
    assert [batches.progress for _ in batches] == [0.5, 1.0]


def test_batches_hold_similar_lengths() -> None:
    lengths = np.random.default_rng(1).integers(1, 100, 200)
    spread = [int(np.ptp(lengths[batch])) for batch in batches_of(lengths.tolist())]
    assert np.mean(spread) < 10


@pytest.mark.parametrize(
    "place", [{}, {"epoch": 0, "batch": 9}, {"epoch": -1, "batch": 0}, {"epoch": 0, "batch": True}]
)
def test_an_invalid_position_is_refused(place: dict) -> None:
    with pytest.raises(RunError, match="invalid position in the data"):
        batches_of([1] * 8).seek(place)


def test_nothing_to_make_batches_of_is_refused() -> None:
    for options in ({"batch_size": 0}, {"tokens": -1}):
        with pytest.raises(SettingError, match="nothing to make batches of"):
            batches_of([1], **options)
    with pytest.raises(SettingError, match="0 examples"):
        batches_of([])


def test_padding() -> None:
    padded, lengths = pad([np.array([[1, 2]]), np.array([[3, 4], [5, 6]]), np.zeros((0, 2), int)], fill=9)
    assert padded.shape == (2, 3, 2)
    assert lengths.tolist() == [1, 2, 0]
    assert padded[:, 0].tolist() == [[1, 2], [9, 9]]
    assert padded[:, 2].tolist() == [[9, 9], [9, 9]]


def test_chunks() -> None:
    assert list(chunked(iter(range(5)), 2)) == [[0, 1], [2, 3], [4]]
    assert list(chunked([], 2)) == []


def test_a_share_is_held_out_for_validation() -> None:
    assert [count_held_out(20, share, "rows", least=2, hint="FILE") for share in (0.01, 0.26, 0.9)] == [2, 5, 18]
    for total, share in ((2, 0.5), (20, 0.0), (20, 1.0)):
        with pytest.raises(
            DataError, match=r"too few rows for a validation part\n.*at least 3, .*\n.*\n.*--set validation_data=FILE"
        ):
            count_held_out(total, share, "rows", least=2, hint="FILE")
