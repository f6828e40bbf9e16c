"""The state of a session: a step for each event, saved and restored."""

from pathlib import Path
from typing import Any

import pytest
import torch

from elman.errors import RunError
from elman.kernels.cpu.packing import current_promise
from elman.recipes import use
from elman.storage import tensors


@pytest.fixture
def run(recommend_run: Path) -> Path:
    return recommend_run


def test_a_step_costs_a_step(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = use.load(run).session()
    read_items = []
    original = session.model.read
    monkeypatch.setattr(session.model, "read", lambda item, state: read_items.append(item) or original(item, state))
    for _ in range(50):
        session.push("p1")
        session.next(2)
    assert [len(item) for item in read_items] == [1] * 50


def test_a_weight_changed_between_two_answers_is_seen(run: Path) -> None:
    def answers(predictor: Any) -> list[Any]:
        session = predictor.session()
        for item in ("p1", "p2", "p1"):
            session.push(item)
        return [session.next(3), *(answer.fields for answer in predictor.predict(["p1", "p2", "p1"]))]

    predictor, other = use.load(run), use.load(run)
    before = answers(predictor)
    for each in (predictor, other):
        each.model.recurrent.weight_hh_l0.data.mul_(-2)
    assert answers(predictor) == answers(other) != before


def test_answers_and_events_compare_weights_once(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor, promises = use.load(run), []
    original = predictor.model.read
    monkeypatch.setattr(predictor.model, "read", lambda *given: promises.append(current_promise()) or original(*given))
    for _ in predictor.predict(["p1", "p2"]):
        assert not current_promise()
    session = predictor.session()
    for _ in range(2):
        session.push("p1")
    first, second, *events = promises
    assert 0 < first == second < events[0] == events[1]


@pytest.mark.parametrize(
    ("facts", "parts", "message"),
    [
        ({"weights": "0"}, {}, "is the state of a session of another model"),
        ({"events": -1}, {}, "is broken"),
        ({}, {"seen": torch.zeros(9, dtype=torch.uint8)}, "is broken"),
        ({}, {"state_0": torch.zeros(1, 1, 3)}, "is broken"),
        ({}, {"other": torch.zeros(1)}, "is broken"),
    ],
)
def test_a_foreign_state_is_refused(run: Path, tmp_path: Path, facts: dict, parts: dict, message: str) -> None:
    predictor, path = use.load(run), tmp_path / "state"
    session = predictor.session()
    session.push("p1")
    session.save(path)
    state, own = tensors.read(path)
    tensors.write(path, {**state, **parts}, {**own, **facts})
    with pytest.raises(RunError, match=message):
        predictor.session(path)
