"""Which remedy comes first, for whom; and that each can be pasted behind `elman train`."""

import math
import shlex
from dataclasses import replace
from typing import Any

import pytest
import torch

import elman
from elman.cli import gather
from elman.inspection import diagnose
from elman.inspection.remedies import REMEDIES, LayerUnderTest, prescribe
from elman.inspection.results import Finding, Measured
from elman.recipes.registry import RECIPES


@pytest.fixture(scope="module")
def measured() -> Measured:
    torch.manual_seed(0)
    x = torch.randn(16, 2, 3)
    return diagnose(elman.RNN(3, 4), [x], lambda m, b: m(b)[0].sum(), window=2).layers[0].measured


def patient(
    measured: Measured, *, late: bool, gated: bool, window: int | None = None, **settings: Any
) -> LayerUnderTest:
    cell, spoken = "lstm" if gated else "rnn_tanh", 1 / 400 if late else 1.0
    return LayerUnderTest(
        cell=cell,
        gated=gated,
        measured=measured,
        spoken=spoken,
        directions=1.0,
        period=4.68,
        memory=100,
        steps=400,
        window=window,
        settings=settings,
    )


def first(verdict: str, who: LayerUnderTest) -> str:
    return prescribe((Finding(verdict, ""),), who)[0].paste


def test_a_plain_network_that_has_to_remember_from_far_back_gets_gates(measured: Measured) -> None:
    for verdict in ("vanishing", "exploding", "chaotic", "saturated"):
        wanted = "--cell lstm --set init=chrono=400 --set clip=1"
        assert first(verdict, patient(measured, late=True, gated=False)) == wanted
    assert first("vanishing", patient(measured, late=True, gated=True)) == "--set init=chrono=400"
    assert first("exploding", patient(measured, late=True, gated=True)) == "--set clip=1"


def test_many_things_from_far_back_get_rotations_and_one_number_gets_gates(measured: Measured) -> None:
    number = patient(measured, late=True, gated=False)
    many = replace(number, directions=5.0)
    turns = "--cell rnn --set nonlinearity=identity --set init=rotation=4.6 --set learning_rate=0.0002 --set clip=1"
    gates = "--cell lstm --set init=chrono=400 --set clip=1"
    for verdict in ("vanishing", "exploding", "chaotic", "saturated"):
        assert first(verdict, many) == turns and first(verdict, number) == gates
    assert {remedy.paste for remedy in REMEDIES["vanishing"](many)} >= {turns, gates}
    assert first("narrow", many) == first("narrow", number) == turns
    assert first("narrow", replace(many, spoken=1.0)).split(" --set ")[2] == "init=orthogonal"
    assert first("narrow", patient(measured, late=True, gated=True)) == "--set init=chrono=400"


def test_where_every_step_is_judged_memories_need_not_all_be_long(measured: Measured) -> None:
    near = patient(measured, late=False, gated=False, window=64)
    assert first("vanishing", near) == "--cell lstm --set init=forget_bias=1 --set clip=1"
    assert first("exploding", near) == "--set clip=1"
    assert first("chaotic", near) == "--set init=orthogonal"
    assert first("saturated", near) == "--set init=orthogonal"
    sigmoid = replace(near, cell="rnn_sigmoid")  # whose slope is never over 1/4
    assert first("saturated", sigmoid) == "--cell lstm --set init=forget_bias=1 --set clip=1"
    assert first("truncated too short", near) == "--set window=256"
    gated = prescribe((Finding("vanishing", ""),), patient(measured, late=False, gated=True, window=64))
    assert [remedy.paste for remedy in gated] == ["--set init=forget_bias=1", "--set init=chrono=64"]


@pytest.mark.parametrize(
    ("steps", "rate"), [(100, 0.001), (200, 0.0005), (400, 0.0002), (784, 0.0001), (10_000, 0.00001), (20, 0.001)]
)
def test_a_plain_network_moves_the_slower_the_longer_its_memory(measured: Measured, steps: int, rate: float) -> None:
    who = replace(patient(measured, late=True, gated=False, learning_rate=0.001, clip=0.5), steps=steps)
    pastes = [remedy.paste for remedy in REMEDIES["vanishing"](who)]
    slow = f"--set learning_rate={rate:g} --set clip=0.5"
    f = "identity" if steps >= 200 else "tanh"  # over long times tanh bends what is remembered too often
    assert pastes[1] == f"--cell rnn --set nonlinearity={f} --set init=rotation=4.6 {slow}"
    assert pastes[3] == f"--cell rnn --set nonlinearity=relu --set init=identity {slow}"


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("verdict", REMEDIES)
def test_every_remedy_can_be_pasted(measured: Measured, verdict: str, late: bool, gated: bool) -> None:
    for remedy in prescribe((Finding(verdict, ""),), patient(measured, late=late, gated=gated, window=2, clip=0.5)):
        words = shlex.split(remedy.paste)
        options = dict(zip(words[::2], words[1::2], strict=True)) if "--cell" in words else {}
        pairs = [value for option, value in zip(words[::2], words[1::2], strict=True) if option == "--set"]
        values = gather({"cell": options.get("--cell")}, pairs)
        for recipe in RECIPES.values():
            if "window" not in values or "window" in recipe.Settings.meanings():
                recipe.Settings.parse(values)
        assert remedy.why and remedy.python


def test_the_layers_of_a_stack_get_one_treatment() -> None:
    """The lower layers have errors at all steps, though the loss speaks at the last one alone."""
    torch.manual_seed(0)
    layer, x = elman.RNN(3, 8, 2, bidirectional=True), torch.randn(60, 4, 3)
    lengths = torch.tensor([60, 31, 60, 8])

    def loss(model: elman.RNN, batch: torch.Tensor) -> torch.Tensor:
        return model(batch, lengths=lengths)[1][-2:].square().sum()

    layers = diagnose(layer, [x], loss).layers
    assert [layer.verdict for layer in layers] == ["vanishing"] * 4
    assert {layer.remedies[0].paste for layer in layers} == {"--cell lstm --set init=chrono=60 --set clip=1"}
    assert layers[0].measured.flow.spoken > 0.5
    assert layers[2].measured.flow.spoken == layers[3].measured.flow.spoken == 4 / (60 + 31 + 60 + 8)
    for layer in layers:
        assert layer.measured.parts.beyond <= 1e-5 * layer.measured.parts.total


def test_the_top_of_a_stack_says_about_how_many_things_and_its_fastest_input_how_fast() -> None:
    torch.manual_seed(0)
    layer, x = elman.RNN(3, 8, 2), torch.randn(60, 9, 3)
    read_BH = torch.randn(9, 8)
    layers = diagnose(layer, [x], lambda m, b: (m(b)[1][1] * read_BH).sum(), settings={"learning_rate": 0.01}).layers
    assert min(each.measured.period for each in layers) < max(each.measured.period for each in layers)
    (paste,) = {each.remedies[0].paste for each in layers}
    period = math.floor(10 * min(each.measured.period for each in layers)) / 10
    wanted = f"--set init=rotation={period:g} --set learning_rate=0.001 --set clip=1"
    assert paste == f"--cell rnn --set nonlinearity=tanh {wanted}"
