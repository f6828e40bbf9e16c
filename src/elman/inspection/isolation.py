"""Measurements that leave training untouched: random state and threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def untouched_random_state(model: nn.Module) -> Iterator[None]:
    """Put the random states back that a run of the model changes."""
    devices = {p.device.index for p in model.parameters() if p.is_cuda}
    with torch.random.fork_rng(sorted(devices)):
        yield


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread: thousands of small products in a row wait for a second one more than it helps them.

    On a machine that does other work besides, this takes a fifth of the time.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
