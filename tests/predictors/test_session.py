"""The state of a session: a step for each event, saved and restored."""

from pathlib import Path

import pytest
import torch

from elman.errors import RunError
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
