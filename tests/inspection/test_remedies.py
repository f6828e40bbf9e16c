"""Order of the remedies; `elman train` takes the options of each."""

import math
import shlex
from dataclasses import replace
from typing import Any

import pytest
import torch

import elman
from elman.cli.options import gather
from elman.inspection import diagnose
from elman.inspection.remedies import REMEDIES, remedies_for
from elman.inspection.results import Finding, Measurements
from elman.inspection.verdict import LayerUnderTest
from elman.recipes.registry import RECIPES


@pytest.fixture(scope="module")
def measured() -> Measurements:
    torch.manual_seed(0)
    x = torch.randn(16, 2, 3)
    return diagnose(elman.RNN(3, 4), [x], lambda m, b: m(b)[0].sum(), window=2).layers[0].measurements


def layer_with(
    measured: Measurements, *, late: bool, gated: bool, window: int | None = None, **settings: Any
) -> LayerUnderTest:
    cell, supervised = "lstm" if gated else "rnn_tanh", 1 / 400 if late else 1.0
    return LayerUnderTest(
        cell=cell,
        gated=gated,
        measured=measured,
        supervised_share=supervised,
        participation_ratio=1.0,
        shortest_period=4.68,
        memory=100,
        steps=400,
        window=window,
        settings=settings,
    )


def first(verdict: str, who: LayerUnderTest) -> str:
    return remedies_for((Finding(verdict, ""),), who)[0].options


def test_a_plain_network_with_a_late_loss_gets_gates(measured: Measurements) -> None:
    for verdict in ("vanishing", "exploding", "chaotic", "saturated"):
        expected = "--cell lstm --set init=chrono=400 --set clip=1"
        assert first(verdict, layer_with(measured, late=True, gated=False)) == expected
    assert first("vanishing", layer_with(measured, late=True, gated=True)) == "--set init=chrono=400"
    assert first("exploding", layer_with(measured, late=True, gated=True)) == "--set clip=1"


def test_a_wide_late_loss_gets_rotations_and_a_single_number_gates(measured: Measurements) -> None:
    number = layer_with(measured, late=True, gated=False)
    many = replace(number, participation_ratio=5.0)
    rotation = "--cell rnn --set nonlinearity=identity --set init=rotation=4.6 --set learning_rate=0.0002 --set clip=1"
    gates = "--cell lstm --set init=chrono=400 --set clip=1"
    for verdict in ("vanishing", "exploding", "chaotic", "saturated"):
        assert first(verdict, many) == rotation and first(verdict, number) == gates
    assert {remedy.options for remedy in REMEDIES["vanishing"](many)} >= {rotation, gates}
    assert first("narrow", many) == first("narrow", number) == rotation
    assert first("narrow", replace(many, supervised_share=1.0)).split(" --set ")[2] == "init=orthogonal"
    assert first("narrow", layer_with(measured, late=True, gated=True)) == "--set init=chrono=400"


def test_if_every_step_has_a_loss_short_memories_come_first(measured: Measurements) -> None:
    near = layer_with(measured, late=False, gated=False, window=64)
    assert first("vanishing", near) == "--cell lstm --set init=forget_bias=1 --set clip=1"
    assert first("exploding", near) == "--set clip=1"
    assert first("chaotic", near) == "--set init=orthogonal"
    assert first("saturated", near) == "--set init=orthogonal"
    sigmoid = replace(near, cell="rnn_sigmoid")  # whose derivative is at most 1/4
    assert first("saturated", sigmoid) == "--cell lstm --set init=forget_bias=1 --set clip=1"
    assert first("truncated too short", near) == "--set window=256"
    gated = remedies_for((Finding("vanishing", ""),), layer_with(measured, late=False, gated=True, window=64))
    assert [remedy.options for remedy in gated] == ["--set init=forget_bias=1", "--set init=chrono=64"]


@pytest.mark.parametrize(
    ("steps", "rate"), [(100, 0.001), (200, 0.0005), (400, 0.0002), (784, 0.0001), (10_000, 0.00001), (20, 0.001)]
)
def test_a_plain_network_moves_more_slowly_with_a_longer_memory(
    measured: Measurements, steps: int, rate: float
) -> None:
    who = replace(layer_with(measured, late=True, gated=False, learning_rate=0.001, clip=0.5), steps=steps)
    options = [remedy.options for remedy in REMEDIES["vanishing"](who)]
    slow = f"--set learning_rate={rate:g} --set clip=0.5"
    f = "identity" if steps >= 200 else "tanh"  # over many steps tanh squashes too often
    assert options[1] == f"--cell rnn --set nonlinearity={f} --set init=rotation=4.6 {slow}"
    assert options[3] == f"--cell rnn --set nonlinearity=relu --set init=identity {slow}"


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("verdict", REMEDIES)
def test_every_remedy_can_be_pasted(measured: Measurements, verdict: str, late: bool, gated: bool) -> None:
    for remedy in remedies_for(
        (Finding(verdict, ""),), layer_with(measured, late=late, gated=gated, window=2, clip=0.5)
    ):
        words = shlex.split(remedy.options)
        options = dict(zip(words[::2], words[1::2], strict=True)) if "--cell" in words else {}
        pairs = [value for option, value in zip(words[::2], words[1::2], strict=True) if option == "--set"]
        values = gather({"cell": options.get("--cell")}, pairs)
        for recipe in RECIPES.values():
            if "window" not in values or "window" in recipe.Settings.meanings():
                recipe.Settings.parse(values)
        assert remedy.reason and remedy.python


def test_the_layers_of_a_stack_get_the_same_remedies() -> None:
    """The lower layers have errors at all steps, although only the last one has a loss."""
    torch.manual_seed(0)
    layer, x = elman.RNN(3, 8, 2, bidirectional=True), torch.randn(60, 4, 3)
    lengths = torch.tensor([60, 31, 60, 8])

    def loss(model: elman.RNN, batch: torch.Tensor) -> torch.Tensor:
        return model(batch, lengths=lengths)[1][-2:].square().sum()

    layers = diagnose(layer, [x], loss).layers
    assert [layer.verdict for layer in layers] == ["vanishing"] * 4
    assert {layer.remedies[0].options for layer in layers} == {"--cell lstm --set init=chrono=60 --set clip=1"}
    shares = [layer.measurements.flow.supervised_share for layer in layers]
    assert shares[0] > 0.5
    assert shares[2] == shares[3] == 4 / (60 + 31 + 60 + 8)
    for layer in layers:
        assert layer.measurements.contributions.remainder <= 1e-5 * layer.measurements.contributions.total_norm


def test_width_is_measured_at_the_top_layer_and_the_period_over_all_layers() -> None:
    torch.manual_seed(0)
    layer, x = elman.RNN(3, 8, 2), torch.randn(60, 9, 3)
    read_BH = torch.randn(9, 8)
    layers = diagnose(layer, [x], lambda m, b: (m(b)[1][1] * read_BH).sum(), settings={"learning_rate": 0.01}).layers
    periods = [layer.measurements.shortest_period for layer in layers]
    assert min(periods) < max(periods)
    (options,) = {layer.remedies[0].options for layer in layers}
    period = math.floor(10 * min(periods)) / 10
    expected = f"--set init=rotation={period:g} --set learning_rate=0.001 --set clip=1"
    assert options == f"--cell rnn --set nonlinearity=tanh {expected}"
