"""Streams: every token in its place, once; cuts and breaks that change nothing."""

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from elman.data.batching import IGNORED
from elman.data.text import bptt_streams as streams_module
from elman.data.text.bptt_streams import Streams, Window, varied_length
from elman.data.text.documents import Document
from elman.data.text.token_file import TokenFile, encode_text
from elman.data.text.vocabularies import build_vocabulary
from elman.errors import DataError, RunError, SettingError

sizes = {"length": st.integers(2, 80), "batch_size": st.integers(1, 7), "window": st.integers(1, 20)}


def counting(length: int, starts: list[int] | None = None) -> TokenFile:
    """Tokens that say where they stand, so that a test sees which one it got."""
    return TokenFile.from_token_ids(np.arange(length), vocabulary_size=length, document_starts=starts or [0])


def whole(windows: list[Window]) -> tuple[list[list[int]], list[list[int]], list[list[bool]]]:
    """Inputs, targets and resets of each stream over all windows."""
    assert [window.first for window in windows] == [True] + [False] * (len(windows) - 1)
    for window in windows:
        assert window.input_TB.dtype == window.target_TB.dtype == torch.int64
        assert window.input_TB.shape == window.target_TB.shape
        assert window.count == (window.target_TB != IGNORED).sum()
        assert window.resets_TB is None or (window.resets_TB.dtype == torch.bool and window.resets_TB.any())
    resets = [
        torch.zeros_like(window.input_TB, dtype=torch.bool) if window.resets_TB is None else window.resets_TB
        for window in windows
    ]
    inputs = torch.cat([window.input_TB for window in windows])
    targets = torch.cat([window.target_TB for window in windows])
    return inputs.T.tolist(), targets.T.tolist(), torch.cat(resets).T.tolist()


@given(**sizes, vary=st.booleans())
def test_training_reads_contiguous_streams_of_equal_length(
    length: int, batch_size: int, window: int, vary: bool
) -> None:
    text = counting(length)
    if length < batch_size * window + 1:
        with pytest.raises(DataError, match="the text is shorter than one window of each stream"):
            Streams(text, batch_size=batch_size, window=window, vary=vary)
        return
    streams = Streams(text, batch_size=batch_size, window=window, vary=vary)
    windows = list(streams)
    inputs, targets, resets = whole(windows)
    stride = (length - 1) // batch_size
    assert inputs == [list(range(b * stride, (b + 1) * stride)) for b in range(batch_size)]
    assert targets == [[token + 1 for token in row] for row in inputs]
    assert not np.any(resets)
    if not vary:
        assert len(windows) == len(streams)
        assert {len(made.input_TB) for made in windows[:-1]} <= {window}


@given(
    **sizes,
    vary=st.booleans(),
    warmup=st.integers(0, 30),
    starts=st.sets(st.integers(1, 79), max_size=8),
)
def test_evaluation_predicts_every_token_once(
    length: int, batch_size: int, window: int, vary: bool, warmup: int, starts: set[int]
) -> None:
    text = counting(length, [0, *sorted(start for start in starts if start < length)])
    if length < batch_size:
        with pytest.raises(DataError, match="shorter than one window"):
            Streams(text, batch_size=batch_size, window=window, drop=False)
        return
    streams = Streams(text, batch_size=batch_size, window=window, vary=vary, drop=False, warmup=warmup)
    inputs, targets, resets = whole(list(streams))
    pairs = [
        (read, target)
        for row, judged in zip(inputs, targets, strict=True)
        for read, target in zip(row, judged, strict=True)
        if target != IGNORED
    ]
    assert all(target == read + 1 for read, target in pairs)
    expected = set(range(1, length)) - set(text.document_starts.tolist())
    assert Counter(target for _, target in pairs) == Counter(expected)
    for read_row, target_row, reset_row in zip(inputs, targets, resets, strict=True):
        check_context(text, read_row, target_row, reset_row, warmup)


def check_context(text: TokenFile, read: list[int], targets: list[int], resets: list[bool], warmup: int) -> None:
    """Before the first target of a stream stand `warmup` tokens in order, as far as its document goes."""
    judged = [step for step, target in enumerate(targets) if target != IGNORED]
    if not judged:
        return
    step = judged[0]
    begun = max([0, *(earlier for earlier in range(step + 1) if resets[earlier])])
    context = read[begun : step + 1]
    assert context == list(range(read[step] - len(context) + 1, read[step] + 1))
    document = max(start for start in text.document_starts.tolist() if start <= read[step])
    assert len(context) >= min(warmup + 1, read[step] - document + 1)
    assert context[0] >= document, "nothing of the document before is carried over"


@given(length=st.integers(2, 60), window=st.integers(1, 70), starts=st.sets(st.integers(1, 59), max_size=5))
def test_exact_evaluation_is_the_text_in_one_row(length: int, window: int, starts: set[int]) -> None:
    begin = [0, *sorted(start for start in starts if start < length)]
    text = counting(length, begin)
    inputs, targets, resets = whole(list(Streams(text, batch_size=1, window=window, drop=False)))
    assert inputs == [list(range(length - 1))]
    assert targets == [[IGNORED if token + 1 in begin else token + 1 for token in range(length - 1)]]
    assert resets == [[token in begin[1:] for token in range(length - 1)]]


def test_resets_stand_where_documents_begin() -> None:
    text = counting(13, [0, 3, 6, 8])
    first, second = Streams(text, batch_size=2, window=3)
    assert first.input_TB.T.tolist() == [[0, 1, 2], [6, 7, 8]]
    assert first.target_TB.T.tolist() == [[1, 2, IGNORED], [7, IGNORED, 9]]
    assert first.resets_TB is not None
    assert first.resets_TB.T.tolist() == [[False, False, False], [False, False, True]], "the state is new at step 0"
    assert second.resets_TB is not None
    assert second.resets_TB.T.tolist() == [[True, False, False], [False, False, False]]
    assert second.target_TB.T.tolist() == [[4, 5, IGNORED], [10, 11, 12]]
    assert (first.count, second.count) == (4, 5)


def test_without_documents_inside_there_are_no_resets() -> None:
    assert all(window.resets_TB is None for window in Streams(counting(50), batch_size=3, window=4))


def same(one: Window, other: Window) -> bool:
    resets = [window.resets_TB for window in (one, other)]
    return (
        torch.equal(one.input_TB, other.input_TB)
        and torch.equal(one.target_TB, other.target_TB)
        and (one.first, one.count) == (other.first, other.count)
        and (resets[0] is resets[1] is None or torch.equal(*(r for r in resets if r is not None)))
    )


@given(vary=st.booleans(), seed=st.integers(0, 1 << 64), broken_at=st.integers(0, 40), window=st.integers(1, 12))
def test_a_break_changes_nothing(vary: bool, seed: int, broken_at: int, window: int) -> None:
    settings: dict[str, Any] = {"batch_size": 3, "window": window, "vary": vary, "seed": seed}
    text = counting(100, [0, 17, 50])
    unbroken = Streams(text, **settings)
    for _ in range(broken_at):
        unbroken.next_batch()
    position = json.loads(json.dumps(unbroken.position))
    resumed = Streams(text, **settings)
    resumed.seek(position)
    assert resumed.progress == unbroken.progress
    for _ in range(40):
        assert same(resumed.next_batch(), unbroken.next_batch())
        assert resumed.position == unbroken.position


def test_epochs_follow_one_another() -> None:
    streams = Streams(counting(31), batch_size=3, window=4)
    assert (streams.position, streams.progress) == ({"epoch": 0, "offset": 0}, 0.0)
    assert [len(window.input_TB) for window in streams] == [4, 4, 2]
    assert (streams.position, streams.progress) == ({"epoch": 1, "offset": 0}, 1.0)
    iterator = iter(streams)
    assert next(iterator).first
    assert streams.position == {"epoch": 1, "offset": 4}, "inside the loop the place is the next window's"
    assert [window.first for window in iterator] == [False, False]
    assert streams.position == {"epoch": 2, "offset": 0}


def test_windows_vary_from_epoch_to_epoch_and_seed_to_seed() -> None:
    def lengths(seed: int) -> list[list[int]]:
        streams = Streams(counting(3000), batch_size=1, window=70, vary=True, seed=seed)
        return [[len(window.input_TB) for window in streams] for _ in range(2)]

    first, second = lengths(1)
    assert first != second
    assert lengths(1) == [first, second]
    assert lengths(2) != [first, second]
    assert lengths((1 << 64) - 1) != lengths((1 << 64) - 2), "large seeds keep their last digits"


def test_varied_lengths_have_the_distribution_of_their_source() -> None:
    """19 of 20 around T = 70 and one around 35, with standard deviation 5, rounded to whole steps."""
    drawn = np.array([varied_length(70, 7, epoch, offset) for epoch in range(10) for offset in range(2000)])
    short = drawn < 52
    assert abs(short.mean() - 0.05) < 4 * np.sqrt(0.05 * 0.95 / len(drawn))
    for part, mean in ((drawn[~short], 70), (drawn[short], 35)):
        spread = np.sqrt(25 + 1 / 12)
        assert abs(part.mean() - mean) < 4 * spread / np.sqrt(len(part))
        assert abs(part.std() - spread) < 4 * spread / np.sqrt(2 * len(part))


@given(window=st.integers(1, 200), offset=st.integers(0, 1 << 40), seed=st.integers(0, 1 << 70))
def test_varied_lengths_have_bounds(window: int, offset: int, seed: int) -> None:
    assert 1 <= varied_length(window, seed, 3, offset) <= 2 * window


def test_a_varied_length_is_the_same_everywhere() -> None:
    """Fixed numbers: a run that goes on with another version must draw the same windows."""
    assert [varied_length(70, 0, 0, offset) for offset in range(0, 500, 70)] == [76, 72, 72, 57, 71, 62, 70, 70]
    assert [varied_length(70, 5, 9, offset) for offset in range(3)] == [63, 35, 49]


@pytest.mark.parametrize("drop", [True, False])
def test_a_text_that_is_too_short_says_what_would_fit(drop: bool) -> None:
    with pytest.raises(DataError) as refused:
        Streams(counting(100), batch_size=8, window=16)
    assert str(refused.value) == (
        "the text is shorter than one window of each stream\n"
        "  should be: at least 129 tokens (batch_size 8, window 16)\n"
        "  is:        100 tokens\n"
        "  try:       --set window=12, or a smaller batch_size"
    )
    assert len(list(Streams(counting(100), batch_size=8, window=12))) == 1
    with pytest.raises(DataError, match=r"at least 2 tokens .*\n.*1 tokens\n.*more text"):
        Streams(counting(1), batch_size=1, window=4, drop=False)
    with pytest.raises(DataError, match=r"at least 9 tokens .*\n.*5 tokens\n.*a smaller batch_size, or more text"):
        Streams(counting(5), batch_size=8, window=1)


@pytest.mark.parametrize(("name", "value"), [("batch_size", 0), ("window", 0), ("window", -5), ("warmup", -1)])
def test_invalid_sizes_are_refused(name: str, value: int) -> None:
    with pytest.raises(SettingError, match=rf"invalid value for {name}\n.*at least .\n.*{value}\n  try: +{name}=\d"):
        Streams(counting(100), **{"batch_size": 2, "window": 3, name: value})


@pytest.mark.parametrize(
    "position",
    [
        {},
        {"epoch": 0},
        {"epoch": -1, "offset": 0},
        {"epoch": 0, "offset": 33},
        {"epoch": 0, "offset": -1},
        {"epoch": 0.0, "offset": 0},
        {"epoch": True, "offset": 0},
        {"epoch": 1 << 63, "offset": 0},
        {"epoch": 0, "offset": "1"},
    ],
)
def test_an_invalid_position_is_refused(position: dict[str, Any]) -> None:
    streams = Streams(counting(100), batch_size=3, window=4)
    streams.seek({"epoch": 4, "offset": 32})
    with pytest.raises(RunError, match=r"invalid position in the data\n.*from 0 to 32 for offset\n.*\n.*same data"):
        streams.seek(position)
    assert streams.position == {"epoch": 4, "offset": 32}


def test_pages_are_released_without_a_trace(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    document = Document("text", "abcde" * 3000)
    vocabulary = build_vocabulary("bytes", [document])
    text = encode_text([document], vocabulary, tmp_path / "tokens")
    settings: dict[str, Any] = {"batch_size": 4, "window": 9}
    kept = list(Streams(text, **settings))
    released = []
    monkeypatch.setattr(streams_module, "_RELEASE_AFTER", 1)
    release = TokenFile.release
    monkeypatch.setattr(TokenFile, "release", lambda self: (released.append(1), release(self)))
    assert all(same(*pair) for pair in zip(kept, Streams(text, **settings), strict=True))
    assert len(released) == len(kept)
