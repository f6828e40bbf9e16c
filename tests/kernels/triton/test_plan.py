"""The choice of tier by sizes, as docs/decisions/0005-the-gpu-engine.md states it."""

from __future__ import annotations

import pytest

from elman.kernels.triton.plan import KINDS, PROCESSORS, SHARED, plan


@pytest.mark.parametrize(
    ("kind", "B", "H", "size", "tier"),
    [
        ("lstm", 256, 64, 2, 1),
        ("lstm", 256, 128, 2, 1),  # W is 128 KiB
        ("lstm", 16, 129, 2, 2),
        ("lstm", 16, 64, 4, 1),
        ("lstm", 16, 128, 4, 2),
        ("rnn_tanh", 64, 256, 2, 1),
        ("lstm", 16, 1024, 2, 2),
        ("lstm", 64, 1024, 2, 2),
        ("gru", 16, 1024, 4, 2),
        ("lstm", 256, 256, 2, 2),
        ("lstm", 256, 1024, 2, 3),  # 8 tiles of rows by 64 of units are more than the card has room for
        ("lstm", 1, 2048, 2, 3),
        ("rnn_relu", 1, 2048, 2, 2),
    ],
)
def test_the_tier_follows_from_the_sizes(kind: str, B: int, H: int, size: int, tier: int) -> None:
    assert plan(kind, B, H, size).tier == tier


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [2, 4, 8])
@pytest.mark.parametrize(("processors", "shared"), [(PROCESSORS, SHARED), (24, 99 * 1024), (1, 48 * 1024)])
def test_every_size_has_a_plan_that_fits(kind: str, size: int, processors: int, shared: int) -> None:
    blocks = KINDS[kind].blocks
    for H in (1, 2, 15, 16, 17, 100, 650, 2048, 5000):
        for B in (1, 16, 17, 256, 70_000):
            found = plan(kind, B, H, size, processors, shared)
            rows, units = found.grid(B, H)
            assert rows * found.BB >= B and units * found.BH >= H
            if found.tier != 3:
                assert found.KP >= H and blocks * found.BH * found.KP * size < shared
            if found.tier == 2:
                assert rows * units <= processors
            if found.tier == 1:
                assert units == 1


def test_what_the_compiler_makes_badly_is_left_to_the_last_tier() -> None:
    assert plan("gru", 16, 1024, 4).tier == 2 and plan("gru", 16, 1024, 4, exact=True).tier == 3
    assert plan("gru", 16, 512, 4, exact=True).tier == 2
    assert plan("rnn_tanh", 16, 128, 4).tier == 1 and plan("rnn_tanh", 16, 128, 4, exact=True).tier == 2
    assert plan("gru", 1, 16, 8).tier == 3 and plan("gru", 1, 16, 8, tier=1).tier == 1


def test_a_tier_can_be_asked_for_where_it_is_possible() -> None:
    assert [plan("gru", 4, 8, 4, tier=t).tier for t in (1, 2, 3)] == [1, 2, 3]
    assert plan("lstm", 4, 4096, 4, tier=1).tier == 3
