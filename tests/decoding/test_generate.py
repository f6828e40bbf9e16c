"""Generation: each symbol follows from the ones before, at once, without end, without growth."""

import tracemalloc
from itertools import islice

import pytest
import torch
from torch import Tensor

from elman.decoding.generate import generate
from elman.decoding.sampling import Sampler
from elman.errors import SettingError

V = 11


def step(ids_B: Tensor, state: int) -> tuple[Tensor, int]:
    """A model whose next symbol is the sum of all that it has read: only the right order of inputs gives it."""
    assert ids_B.shape == (1,)
    assert ids_B.dtype == torch.int64
    assert not torch.is_grad_enabled()
    state = (3 * state + int(ids_B) + 1) % V
    return torch.nn.functional.one_hot(torch.tensor([state]), V).float(), state


def by_hand(prompt: list[int], length: int) -> list[int]:
    state, made = 0, []
    for number in prompt:
        state = (3 * state + number + 1) % V
    for _ in range(length):
        made.append(state)
        state = (3 * state + made[-1] + 1) % V
    return made


greedy = Sampler(temperature=0)


@pytest.mark.parametrize("prompt", [[4], [1, 2, 3], [7] * 20])
def test_each_symbol_follows_from_the_ones_before(prompt: list[int]) -> None:
    assert list(generate(step, 0, prompt, sampler=greedy, length=30)) == by_hand(prompt, 30)
    assert list(generate(step, 0, torch.tensor(prompt).numpy(), sampler=greedy, length=3)) == by_hand(prompt, 3)


def test_without_a_length_it_never_ends() -> None:
    assert list(islice(generate(step, 0, [1], sampler=greedy), 500)) == by_hand([1], 500)


def test_symbols_come_as_they_are_made() -> None:
    taken = []

    def watched(ids_B: Tensor, state: int) -> tuple[Tensor, int]:
        taken.append(int(ids_B))
        return step(ids_B, state)

    symbols = generate(watched, 0, [1, 2], sampler=greedy, length=5)
    assert taken == []
    first = next(symbols)
    assert taken == [1, 2], "the symbol is out before the next step is taken"
    next(symbols)
    assert taken == [1, 2, first]


def test_the_callers_gradient_mode_is_left_alone() -> None:
    for _ in generate(step, 0, [1], sampler=greedy, length=2):
        assert torch.is_grad_enabled()


def test_the_same_seed_gives_the_same_text() -> None:
    def made(seed: int) -> list[int]:
        generator = torch.Generator().manual_seed(seed)
        sampler = Sampler(temperature=2.0)
        return list(generate(step, 0, [1], sampler=lambda logits_BV: sampler(logits_BV, generator), length=50))

    assert made(1) == made(1) != made(2)


def test_memory_does_not_grow() -> None:
    symbols = generate(step, 0, [1], sampler=greedy)
    for _ in islice(symbols, 200):
        pass
    files = [tracemalloc.Filter(True, name) for name in (generate.__code__.co_filename, __file__)]
    tracemalloc.start()
    for _ in islice(symbols, 3000):
        pass
    snapshot = tracemalloc.take_snapshot().filter_traces(files)  # without what other threads do
    tracemalloc.stop()
    grown = sum(trace.size for trace in snapshot.traces)
    assert grown < 3000, "less than a byte a symbol"


def test_the_model_reads_on_its_device() -> None:
    """The device `meta` is always there, and has no numbers to sample from."""
    seen = []

    def elsewhere(ids_B: Tensor, state: int) -> tuple[Tensor, int]:
        seen.append(ids_B.device.type)
        return torch.zeros(1, V, device="meta"), state

    list(generate(elsewhere, 0, [1, 2], sampler=lambda logits_BV: torch.tensor([3]), length=2, device="meta"))
    assert seen == ["meta"] * 3


def test_length_zero_takes_no_step() -> None:
    def never(ids_B: Tensor, state: int) -> tuple[Tensor, int]:
        raise AssertionError

    assert list(generate(never, 0, [1, 2], sampler=greedy, length=0)) == []


def test_impossible_requests_are_refused_at_the_call() -> None:
    with pytest.raises(SettingError, match=r"the prompt is empty\n.*at least one symbol.*\n.*none\n.*--prompt TEXT"):
        generate(step, 0, [], sampler=greedy)
    with pytest.raises(SettingError, match=r"invalid value for length\n.*0 or more\n.*-1\n.*--length 300"):
        generate(step, 0, [1], sampler=greedy, length=-1)
