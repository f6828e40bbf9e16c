"""Isolation of measurements from training: random state and threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def preserved_rng_state(model: nn.Module) -> Iterator[None]:
    """Restore the random states that a run of the model changes."""
    devices = {p.device.index for p in model.parameters() if p.is_cuda}
    with torch.random.fork_rng(sorted(devices)):
        yield


@contextmanager
def single_thread() -> Iterator[None]:
    """Compute with one thread: for thousands of small products in a row, synchronisation costs more than it saves."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
