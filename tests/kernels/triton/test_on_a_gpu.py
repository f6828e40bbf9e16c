"""What only a GPU can show; skipped without one. Where there is one, the other tests of this folder run on it too."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import elman
from elman.kernels import triton
from elman.kernels.triton import plan
from elman.testing import TOLERANCE

pytestmark = pytest.mark.gpu


def layers(kind: str, I: int, H: int, dtype: torch.dtype) -> tuple[Any, nn.Module]:
    torch.manual_seed(0)
    theirs = getattr(nn, kind)(I, H, device="cuda", dtype=dtype)
    ours = getattr(elman, kind)(I, H, device="cuda", dtype=dtype)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize(("B", "H"), [(1, 64), (33, 100), (16, 512), (64, 1024), (256, 1024), (3, 2048)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sizes_of_every_tier(kind: str, B: int, H: int, dtype: torch.dtype) -> None:
    """Against torch.nn in float64: programs that wait for each other, graphs, tensor cores."""
    ours, theirs = layers(kind, 40, H, dtype)
    exact = getattr(nn, kind)(40, H, device="cuda", dtype=torch.float64)
    exact.load_state_dict(theirs.state_dict())
    x = torch.randn(70, B, 40, device="cuda", dtype=dtype)
    results = []
    for layer in (ours, exact):
        leaf = x.to(next(layer.parameters()).dtype).requires_grad_()
        y = layer(leaf)[0]
        y.square().mean().backward()
        results.append([y, leaf.grad, *(p.grad for p in layer.parameters())])
    for found, wanted in zip(*results, strict=True):
        assert (found - wanted).abs().max() <= 2 * TOLERANCE[dtype] * wanted.abs().max()


@pytest.mark.parametrize("tier", [1, 2, 3])
def test_more_steps_than_a_grid_may_have(tier: int) -> None:
    ours, _ = layers("LSTM", 3, 20, torch.float32)
    x = torch.randn(70_000, 2, 3, device="cuda")
    with triton.use(tier=tier), torch.no_grad():
        whole, state = ours(x)
        first, between = ours(x[:66_000])
        rest, last = ours(x[66_000:], between)
    torch.testing.assert_close(whole, torch.cat([first, rest]))
    torch.testing.assert_close(state, last)


def test_places_beyond_32_bits() -> None:
    """More than 2^31 numbers in the gates."""
    ours, _ = layers("LSTM", 8, 128, torch.bfloat16)
    x = torch.randn(4200, 1024, 8, device="cuda", dtype=torch.bfloat16)
    with torch.no_grad():
        whole, state = ours(x)
        torch.testing.assert_close(whole[-100:], ours(x[-100:], ours(x[:-100])[1])[0])
    assert 4200 * 1024 * 4 * 128 > 2**31 and torch.isfinite(state[0]).all()


@pytest.mark.parametrize("H", [64, 512, 2048])
def test_inside_a_graph_of_the_user_and_on_another_stream(H: int) -> None:
    ours, _ = layers("LSTM", 16, H, torch.bfloat16)
    x = torch.randn(40, 8, 16, device="cuda", dtype=torch.bfloat16)
    with torch.no_grad():
        wanted = ours(x)[0]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            beside = ours(x)[0]
        torch.cuda.current_stream().wait_stream(stream)
        assert torch.equal(beside, wanted)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            recorded = ours(x)[0]
        graph.replay()
        assert torch.equal(recorded, wanted)


def test_the_card_has_the_memory_that_the_plan_counts_on() -> None:
    from elman.kernels.triton import launch

    processors, shared = launch.card(torch.device("cuda", torch.cuda.current_device()))
    assert processors >= 1 and shared >= 48 * 1024
    found = plan.plan("lstm", 16, 512, 2, processors, shared)
    assert found.tier == 3 or shared > found.BH * found.KP * 4 * 2
