"""The constants of a model in C, read back from its text, and the model's equations over them in NumPy."""

from __future__ import annotations

import re

import numpy as np

from elman.exporters.chain import NONLINEARITIES, Chain
from elman.exporters.stack import Array

_ARRAY = re.compile(r"static const (float|int8_t) (\w+)\[\d+\] = \{([^}]*)\};")
_MATRIX = re.compile(r"static const matrix (\w+) = \{(\w+), (?:(\w+), )?(\d+), (\d+)\};")


def read_constants(text: str) -> dict[str, Array]:
    """Return the arrays of a source file by their names, and the matrices (rows, columns) with their scales applied."""
    arrays = {}
    for kind, name, numbers in _ARRAY.findall(text):
        words = [word.strip().rstrip("f") for word in numbers.split(",") if word.strip()]
        arrays[name] = np.array(words, np.float32 if kind == "float" else np.int8).astype(np.float64)
    matrices = {}
    for name, numbers, scales, rows, columns in _MATRIX.findall(text):
        matrix = arrays[numbers].reshape(int(columns), int(rows)).T
        matrices[name] = matrix * arrays[scales][:, None] if scales else matrix
    return {**arrays, **matrices}


def run_constants(chain: Chain, constants: dict[str, Array], x: Array) -> tuple[Array, tuple[Array, ...]]:
    """Run a model in float64 over the constants of its C.

    Args:
        chain: the model, for its cells and sizes.
        constants: its weights.
        x: (T, B, I), or symbols (T, B).

    Returns:
        y: (T, B, O).
        states: (L, B, P or H) for each state.
    """
    if chain.embedding is not None:
        table = constants["embedding"].reshape(chain.embedding.shape)
        if "embedding_scales" in constants:
            table = table * constants["embedding_scales"][:, None]
        x = table[x]
    stack, B = chain.stack, x.shape[1]
    finals = []
    with np.errstate(over="ignore", invalid="ignore"):
        for k in range(len(stack.layers)):
            zeros = [np.zeros(size) for size in stack.state_sizes]
            rows = [constants.get(f"initial_{name}{k}", zero) for name, zero in zip(stack.states, zeros, strict=True)]
            state = [np.repeat(row[None], B, axis=0) for row in rows]
            x, state = _layer(chain, constants, k, x, state)
            finals.append(state)
        for k, dense in enumerate(chain.dense):
            x = NONLINEARITIES[dense.activation](x @ constants[f"A{k}"].T + constants.get(f"a{k}", 0.0))
    return x, tuple(np.stack(parts) for parts in zip(*finals, strict=True))


def _layer(
    chain: Chain, constants: dict[str, Array], k: int, x: Array, state: list[Array]
) -> tuple[Array, list[Array]]:
    """Return the outputs of layer `k` at all steps and its last state."""
    gx = x @ constants[f"U{k}"].T + constants.get(f"b{k}", 0.0)
    W, sigmoid = constants[f"W{k}"].T, NONLINEARITIES["sigmoid"]
    y = np.zeros((*x.shape[:2], chain.stack.state_sizes[0]))
    for t, row in enumerate(gx):
        h = state[0]
        if chain.stack.cell == "rnn":
            state = [NONLINEARITIES[chain.stack.nonlinearity or "tanh"](row + h @ W)]
        elif chain.stack.cell == "gru":
            gates, candidate = row[:, : W.shape[1]], row[:, W.shape[1] :]
            r, u = np.split(sigmoid(gates + h @ W), 2, axis=1)
            n = np.tanh(candidate + r * (h @ constants[f"V{k}"].T + constants.get(f"c{k}", 0.0)))
            state = [(1 - u) * n + u * h]
        else:
            i, f, g, o = np.split(row + h @ W, 4, axis=1)
            c = sigmoid(f) * state[1] + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            state = [h @ constants[f"R{k}"].T if f"R{k}" in constants else h, c]
        y[t] = state[0]
    return y, state
