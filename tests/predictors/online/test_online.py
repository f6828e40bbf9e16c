"""Online predictors: batches of any company have the bits of the session alone, and states are values."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch

import elman
from elman.errors import RunError
from elman.predictors.online.kinds import online_predictor
from elman.predictors.online.text import GenerationBatch, OnlineText, TextSettings

WORDS = ["ein ", "Öl ", "paar ", "\n"]


def settings(number: int) -> TextSettings:
    choices: list[dict[str, Any]] = [{}, {"temperature": 0.7, "top_p": 0.9}, {"temperature": 0.0}, {"top_k": 3}]
    return TextSettings(length=20 + number % 5, seed=number, **choices[number % 4])


def alone(model: OnlineText, prompt: str, number: int) -> tuple[str, bytes]:
    batch, row = GenerationBatch(model), model.row(model.begin({}), model.encode(prompt), settings(number))
    batch.add(row)
    while len(batch):
        batch.run()
    return "".join(choice.text for choice in row.choices), model.dump(row.state)


@pytest.mark.parametrize("piece", [1, 3, 32])
def test_texts_have_the_same_bits_in_any_company(language_run: Path, piece: int) -> None:
    predictor, rng = elman.load(language_run), random.Random(piece)
    model = online_predictor(predictor)
    assert isinstance(model, OnlineText)
    prompts = ["".join(rng.choice(WORDS) for _ in range(rng.randint(0, 9))) for _ in range(24)]
    rows = [model.row(model.begin({}), model.encode(prompt), settings(n)) for n, prompt in enumerate(prompts)]
    batch, waiting = GenerationBatch(model, piece=piece, readers=3), list(rows)
    while waiting or len(batch):
        for _ in range(min(len(waiting), rng.randint(0, 3))):
            batch.add(waiting.pop())
        if len(batch) > 4 and rng.random() < 0.2:  # one leaves, and comes back
            row = rng.choice([*batch.rows, *batch.reading])
            batch.remove({row})
            waiting.append(row)
        batch.run()
    for n, (prompt, row) in enumerate(zip(prompts, rows, strict=True)):
        text = "".join(choice.text for choice in row.choices)
        assert (text, model.dump(row.state)) == alone(model, prompt, n)
        chosen = settings(n)
        expected = predictor.generate(
            prompt, length=chosen.length, seed=n, temperature=chosen.temperature, top_k=chosen.top_k, top_p=chosen.top_p
        )
        assert text + row.decoder.finish() == "".join(expected)


def test_a_session_that_reads_one_symbol_is_the_same_in_any_company(language_run: Path) -> None:
    model = online_predictor(elman.load(language_run))
    assert isinstance(model, OnlineText)
    states = []
    for company in ([], ["ein paar "]):
        batch = GenerationBatch(model)
        rows = [model.row(model.begin({}), model.encode(text), TextSettings()) for text in ["e", *company]]
        for row in rows:
            batch.add(row)
        while len(batch):
            batch.run()
        states.append(model.dump(rows[0].state))
    assert states[0] == states[1]


def test_numbers_that_are_not_finite_end_one_session_alone(language_run: Path) -> None:
    model = online_predictor(elman.load(language_run))
    assert isinstance(model, OnlineText)
    rows = [model.row(model.begin({}), model.encode("ein"), settings(n)) for n in range(3)]
    bad = model.initial()
    rows[1].state.tree.update(layers=tuple(part.fill_(torch.nan) for part in bad), last=0)
    batch = GenerationBatch(model)
    for row in rows:
        batch.add(row)
    while len(batch):
        batch.run()
    assert [isinstance(row.finish, str) for row in rows] == [True, False, True]
    for n in (0, 2):
        assert "".join(choice.text for choice in rows[n].choices) == alone(model, "ein", n)[0]


def test_a_state_belongs_to_its_weights(language_run: Path) -> None:
    predictor = elman.load(language_run)
    model = online_predictor(predictor)
    assert model is not None
    content = model.dump(model.begin({}))
    assert model.dump(model.restore(content)) == content
    other = elman.load(language_run)
    with torch.no_grad():
        other.model.output.bias[0] += 1
    changed = online_predictor(other)
    assert changed is not None
    with pytest.raises(RunError, match="belongs to another model"):
        changed.restore(content)


def test_models_that_need_the_future_have_no_sessions(classify_run: Path, similarity_run: Path) -> None:
    assert online_predictor(elman.load(classify_run)) is None
    assert online_predictor(elman.load(similarity_run)) is None
