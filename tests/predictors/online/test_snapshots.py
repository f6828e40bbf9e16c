"""Snapshots that were made up: each has a valid checksum, and fits no model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import elman
from elman.errors import RunError
from elman.predictors.online.base import OnlinePredictor
from elman.predictors.online.kinds import online_predictor
from elman.predictors.online.state import FORMAT, OnlineState, from_snapshot, to_snapshot
from elman.storage import tensors


@pytest.fixture(scope="module")
def models(
    language_run: Path, recommend_run: Path, forecast_run: Path, transcription_run: Path
) -> dict[str, OnlinePredictor]:
    runs = {"text": language_run, "events": recommend_run, "series": forecast_run, "sound": transcription_run}
    models = {kind: online_predictor(elman.load(run)) for kind, run in runs.items()}
    return {kind: model for kind, model in models.items() if model is not None}


def refuse(model: OnlinePredictor, tree: Any) -> None:
    content = to_snapshot(OnlineState(tree, 1), model.kind, model.weights)
    with pytest.raises(RunError):
        model.restore(content)


@pytest.mark.parametrize("kind", ["text", "events", "series", "sound"])
def test_trees_with_other_keys_or_no_keys_are_refused(models: dict[str, OnlinePredictor], kind: str) -> None:
    model = models[kind]
    tree = model.begin({"series": "a"} if kind == "series" and len(model.predictor.spec.groups) > 1 else {}).tree
    assert model.restore(to_snapshot(OnlineState(tree), kind, model.weights)).tree.keys() == tree.keys()
    refuse(model, {**tree, "more": torch.zeros(9)})
    refuse(model, torch.zeros(3))
    refuse(model, (tree,))
    for name in tree:
        refuse(model, {key: value for key, value in tree.items() if key != name})
        for value in (torch.zeros(2, dtype=torch.int16), {}, 1.5, ()):
            if not (name == "loudest" and type(value) is float):
                refuse(model, {**tree, name: value})


def test_recent_symbols_are_a_list(models: dict[str, OnlinePredictor]) -> None:
    tree = models["text"].begin({}).tree
    for recent in ((1, 2), (), "ab", {"a": 1}, [True], [[1]], [1] * 9):
        refuse(models["text"], {**tree, "last": 1, "recent": recent})


def test_words_that_do_not_end_are_lists(models: dict[str, OnlinePredictor]) -> None:
    tree = models["sound"].begin({}).tree
    for pending in (([1, 0, 1, 0.5],), [(1, 0, 1, 0.5)], [[]], [[1, 0, 1]], "x"):
        refuse(models["sound"], {**tree, "pending": pending})


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.complex64])
def test_numbers_of_unknown_types_are_refused(dtype: torch.dtype) -> None:
    parts: dict[str, torch.Tensor] = {}
    tree = tensors.flatten({"layers": torch.zeros(2).to(dtype)}, "state", parts)
    facts = {"format": FORMAT, "kind": "text", "weights": "w", "position": 0, "tree": tree, "checksum": "x"}
    with pytest.raises(RunError, match="unknown type"):
        from_snapshot(tensors.to_bytes(parts, facts))
