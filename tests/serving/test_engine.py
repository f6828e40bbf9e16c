"""The engine loop goes on: what fails ends those that it was computed with, and nobody else."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import elman
from elman.predictors.online.kinds import online_predictor
from elman.predictors.online.state import OnlineState
from elman.predictors.online.text import GenerationBatch, OnlineText, TextSettings
from elman.serving.engine import Engine, Generation
from elman.serving.errors import Failed, TooBusy
from elman.serving.metrics import Metrics
from elman.serving.settings import Limits


@pytest.fixture(scope="module")
def model(language_run: Path) -> OnlineText:
    model = online_predictor(elman.load(language_run))
    assert isinstance(model, OnlineText)
    return model


async def taken(engine: Engine, generation: Generation) -> str:
    return "".join([choice.text async for choices in engine.choices(generation) for choice in choices])


def begun(engine: Engine, model: OnlineText, seed: int) -> Generation:
    return engine.begin(model, model.row(model.begin({}), model.encode("ein"), TextSettings(length=20, seed=seed)))


@pytest.mark.parametrize("place", ["_read", "_generate", "_accept", "_draw"])
def test_a_batch_that_fails_ends_its_sessions_and_the_loop_goes_on(
    model: OnlineText, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def broken(*_: Any) -> None:
        raise AttributeError("made up")

    async def run() -> None:
        engine = Engine(Limits(), Metrics())
        with monkeypatch.context() as context:
            context.setattr(GenerationBatch, place, broken)
            results = await asyncio.wait_for(
                asyncio.gather(*(taken(engine, begun(engine, model, n)) for n in range(3)), return_exceptions=True), 5
            )
        assert [type(result) for result in results] == [Failed] * 3
        assert engine.active == 0 and not engine._silent
        text = await asyncio.wait_for(taken(engine, begun(engine, model, 1)), 5)
        alone = Engine(Limits(), Metrics())
        assert text == await taken(alone, begun(alone, model, 1)) and text

    asyncio.run(run())


class Counter:
    """A model of sessions that fails at one input, after it has changed other states."""

    together = 8

    def advance(self, states: list[OnlineState], inputs: list[int]) -> list[int]:
        for state, value in zip(states, inputs, strict=True):
            if value == 13:
                raise ZeroDivisionError("made up")
            state.tree, state.position = {"sum": state.tree["sum"] + value}, state.position + 1
        return [state.tree["sum"] for state in states]


def test_an_input_that_fails_fails_alone() -> None:
    async def run() -> None:
        engine, model = Engine(Limits(), Metrics()), Counter()
        states = [OnlineState({"sum": 0}) for _ in range(4)]
        values = zip(states, (1, 2, 13, 4), strict=True)
        results = await asyncio.gather(
            *(engine.advance(model, state, value) for state, value in values),  # type: ignore[arg-type]
            return_exceptions=True,
        )
        assert results[:2] == [1, 2] and isinstance(results[2], Failed) and results[3] == 4
        assert [state.position for state in states] == [1, 1, 0, 1]

    asyncio.run(run())


def test_predictions_that_wait_count() -> None:
    engine = Engine(Limits(active=1, waiting=3, predictions=2), Metrics())
    engine.predicting = 5
    engine.admit()
    engine.predicting = 6
    with pytest.raises(TooBusy):
        engine.admit()
