"""The export of a recommender: items of a session to scores of the next one, whole sessions and step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import torch

from elman.exporters.applications.application import (
    NO_DATA,
    VALIDATION_INPUTS,
    Application,
    Comparison,
    finished,
    initial_rows,
    outputs,
    validation_data,
)
from elman.exporters.applications.blocks import (
    affine,
    array,
    embedding,
    linear,
    recurrent,
    recurrent_step,
    state_inputs,
    states_of,
)
from elman.exporters.onnx.graph import GraphBuilder, value
from elman.exporters.parity import ParityRow
from elman.exporters.stack import Array, stack_of
from elman.predictors.recommender import RecommendPredictor

LONGEST = 200
"""Events of a session that are compared."""


def application(predictor: RecommendPredictor, precision: str) -> Application:
    """Return the export of a recommender."""
    items, stack, data = predictor.items, stack_of(predictor.model.recurrent), validation_data(predictor)
    return Application(
        "recommend",
        {name: _graph(predictor, precision, whole=name == "whole") for name in ("whole", "step")},
        {
            "x": "number of an item, as in items.json",
            "y": "score of each item as the next one" + ("; their softmax is p" if predictor.probabilities else ""),
            **dict.fromkeys(states_of(stack), "state before"),
            **dict.fromkeys(states_of(stack, ending="_n"), "state after"),
        },
        lambda comparison: _compare(predictor, data, comparison),
        facts={
            "exclude_seen": predictor.exclude_seen,
            "probabilities": predictor.probabilities,
            "initial_states": initial_rows(stack),
        },
        files={"items.json": {"items": items.names, "counts": items.counts.tolist()}},
        remarks=() if data is not None else (NO_DATA,),
    )


def _graph(predictor: RecommendPredictor, precision: str, *, whole: bool) -> onnx.ModelProto:
    graph, model = GraphBuilder(precision), predictor.model
    stack, step = stack_of(model.recurrent), recurrent if whole else recurrent_step
    s, after = step(graph, model.recurrent, embedding(graph, model.embedding.weight, "x"), list(stack.states))
    features = s if isinstance(model.project, torch.nn.Identity) else linear(graph, model.project, s)
    weight = array(model.embedding.weight if model.tie_weights else model.weight)
    axes: tuple[int | str, ...] = ("T", "B") if whole else ("B",)
    shapes = states_of(stack, ending="_n").items()
    described = {"y": (affine(graph, features, weight, array(model.bias)), (*axes, len(predictor.items)))}
    described |= {name: (state, shape) for (name, shape), state in zip(shapes, after, strict=True)}
    results = outputs(graph, described)
    return finished(graph, "whole" if whole else "step", [value("x", axes, "int64"), *state_inputs(stack)], results)


def _compare(predictor: RecommendPredictor, data: Any, comparison: Comparison) -> list[ParityRow]:
    """Compare scores of random and validation sessions, whole and step by step, and the items of the program."""
    whole, step = (comparison.session(name) for name in ("whole", "step"))
    program, stack = comparison.program.NextItems(comparison.folder), stack_of(predictor.model.recurrent)
    rng, V = np.random.default_rng(1), len(predictor.items)
    sessions: dict[str, list[Array]] = {"random sessions": [rng.integers(0, V, T) for T in (1, 2, 30)]}
    if data is not None:
        chosen = [np.asarray(data[n]["item"], np.int64)[:LONGEST] for n in range(min(len(data), VALIDATION_INPUTS))]
        sessions["validation sessions"] = [items[items >= 0] for items in chosen if (items >= 0).any()]
    rows: list[ParityRow] = []
    names: tuple[list[Any], list[Any]] = ([], [])
    for title, each in [(title, each) for title, group in sessions.items() for each in group]:
        states = dict(zip(stack.states, stack.initial_states(1), strict=True))
        with torch.no_grad():
            y_TBV, after = predictor.model(torch.from_numpy(each)[:, None])
        originals = [y_TBV, *(after if isinstance(after, tuple) else (after,))]
        exported = whole.run({"x": each[:, None], **states})
        for name, original, actual in zip(whole.outputs, originals, exported, strict=True):
            rows.append(comparison.numbers(f"{name} of whole.onnx", title, original.numpy(), actual))
        steps = []
        for number in each:
            y_BV, *following = step.run({"x": np.array([number]), **states})
            states = dict(zip(states, following, strict=True))
            steps.append(y_BV)
        rows.append(comparison.numbers("y of step.onnx", title, y_TBV.numpy(), np.stack(steps)))
        own, theirs = predictor.session(), program.session()
        for number in each:
            own.push(predictor.items.names[number])
            program.push(theirs, predictor.items.names[number])
        for exclude_seen in (False, True):
            inputs = f"{title}, exclude_seen={str(exclude_seen).lower()}"
            expected = own.next(VALIDATION_INPUTS, exclude_seen=exclude_seen)
            answer = program.answer(theirs, (), VALIDATION_INPUTS, exclude_seen)
            values = [value for _, value in expected]
            rows.append(comparison.numbers("scores of predict.py", inputs, values, answer["scores"]))
            if len(answer["items"]) != len(values):
                continue  # which the comparison of scores refuses
            tolerance = 1e-4 * (np.abs(values) if predictor.probabilities else np.maximum(1.0, np.abs(values)))
            names[0].extend(_ranked([name for name, _ in expected], values, tolerance))
            names[1].extend(_ranked(answer["items"], values, tolerance))
    return [*rows, *comparison.texts("items of all sessions", *names)]


def _ranked(names: Sequence[str], values: Sequence[float], tolerance: Array) -> list[tuple[str, ...]]:
    """Return the items in groups whose scores are equal but for the last digits, which may change their order.

    The last group is left out: a score that is equal to its own may be behind the list.

    Args:
        names: of the items, the best first.
        values: their scores.
        tolerance: scores that differ by less are equal.
    """
    groups: list[list[str]] = []
    for n, name in enumerate(names):
        if n == 0 or values[n - 1] - values[n] > tolerance[n]:
            groups.append([])
        groups[-1].append(name)
    return [tuple(sorted(group)) for group in groups[:-1]]
