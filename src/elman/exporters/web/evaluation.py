"""An evaluation of an exported folder by NumPy in float64: what its weights compute where no JavaScript runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from elman.exporters.stack import Array
from elman.modules.normalisation import ATTACK, HEADROOM, RELEASE

FLOOR = 1e-10


def sigmoid(a: Array) -> Array:
    """Return the logistic function."""
    value: Array = 0.5 * (1 + np.tanh(0.5 * a))
    return value


NONLINEARITIES: dict[str, Callable[[Array], Array]] = {
    "rnn_tanh": np.tanh,
    "rnn_relu": lambda a: np.maximum(a, 0),
    "rnn_sigmoid": sigmoid,
    "rnn_identity": lambda a: a,
}


def cell_step(cell: str, gx: Array, gh: Array, state: list[Array]) -> list[Array]:
    """Return the state after one step of a cell."""
    if cell == "gru":
        (r, z, n), (hr, hz, hn) = np.split(gx, 3), np.split(gh, 3)
        z = sigmoid(z + hz)
        return [(1 - z) * np.tanh(n + sigmoid(r + hr) * hn) + z * state[0]]
    if cell == "lstm":
        i, f, g, o = np.split(gx + gh, 4)
        c = sigmoid(f) * state[1] + sigmoid(i) * np.tanh(g)
        return [sigmoid(o) * np.tanh(c), c]
    return [NONLINEARITIES[cell](gx + gh)]


class Evaluation:
    """The model of a folder.

    Args:
        folder: with the manifest and the weights.
    """

    def __init__(self, folder: Path) -> None:
        self.manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        content = (folder / self.manifest["weights"]["file"]).read_bytes()
        self.tensors: dict[str, Array] = {}
        for place in self.manifest["weights"]["tensors"]:
            flat = np.frombuffer(content, "<f4", int(np.prod(place["shape"])), place["offset"])
            self.tensors[place["name"]] = flat.reshape(place["shape"]).astype(np.float64)

    def linear(self, name: str, x: Array) -> Array:
        """Return a linear layer of vectors (..., I)."""
        y: Array = x @ self.tensors[f"{name}.weight"].T
        return y + self.tensors.get(f"{name}.bias", 0.0)

    def recurrent(self, x_TI: Array, state: list[list[Array]] | None = None) -> tuple[Array, list[list[Array]]]:
        """Return the outputs (T, D*H) of recurrent layers, and the states of each layer and direction."""
        spec, after = self.manifest["recurrent"], []
        for layer in range(spec["layers"]):
            outputs = []
            for d in range(spec["directions"]):
                unit = layer * spec["directions"] + d
                past = self.initial(unit) if state is None else state[unit]
                U, W, b, bh = (
                    self.tensors.get(f"recurrent.{layer}.{d}.{name}", 0.0) for name in ("U", "W", "b", "b_hidden")
                )
                row = []
                for x in x_TI[:: -1 if d else 1]:
                    past = cell_step(spec["cell"], U @ x + b, W @ past[0] + bh, past)
                    row.append(past[0])
                after.append(past)
                outputs.append(row[:: -1 if d else 1])
            x_TI = np.concatenate([np.array(row) for row in outputs], -1)
        return x_TI, after

    def initial(self, unit: int) -> list[Array]:
        """Return the state of a layer and direction before the first step."""
        spec = self.manifest["recurrent"]
        count = 2 if spec["cell"] == "lstm" else 1
        if spec["learned"]:
            return [self.tensors[f"recurrent.initial.{k}"][unit] for k in range(count)]
        return [np.zeros(spec["hidden_size"])] * count

    def language_model(self, request: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return logits and states of symbols; texts need the page's vocabulary."""
        if "text" in request:
            return None
        embedding = np.concatenate([self.tensors["embedding"], np.zeros((1, self.tensors["embedding"].shape[1]))])
        ids = np.minimum(request["ids"], len(embedding) - 1)
        y, state = self.recurrent(embedding[ids])
        states = {f"state {k}": np.array([parts[k] for parts in state]) for k in range(len(state[0]))}
        return {"logits": self._symbol_scores(y), **states}

    def _symbol_scores(self, y: Array) -> Array:
        cutoffs = self.manifest["cutoffs"]
        if not cutoffs:
            weight = self.tensors.get("output.weight", self.tensors["embedding"])
            return y @ weight.T + self.tensors["output.bias"]
        head = log_softmax(y @ self.tensors["output.head"].T)
        parts = [head[:, : cutoffs[0]]]
        for k in range(len(cutoffs) - 1):
            low = y @ self.tensors[f"output.tail.{k}.0"].T @ self.tensors[f"output.tail.{k}.1"].T
            parts.append(log_softmax(low) + head[:, cutoffs[0] + k : cutoffs[0] + k + 1])
        return np.concatenate(parts, 1)

    def classify(self, request: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the scores of a sequence, whole or after each step, or the answer that they mean."""
        if "text" in request:
            return None
        y, state = self.recurrent(self._vectors(np.asarray(request["steps"], np.float64)))
        if self.manifest["labels"]["target"] == "tags":
            scores = self.linear("output", y)
            if request.get("answer"):
                return self._classified(scores)
            return {"scores": scores, "scores after each step": scores}
        if request.get("stream"):
            pooled = np.array([self._pooled(y[: t + 1], y[t]) for t in range(len(y))])
            return {"scores after each step": self.linear("output", pooled)}
        last = np.concatenate([parts[0] for parts in state[-self.manifest["recurrent"]["directions"] :]])
        scores = self.linear("output", self._pooled(y, last))[None]
        return self._classified(scores) if request.get("answer") else {"scores": scores}

    def _classified(self, scores: Array) -> dict[str, Any]:
        """Return the number, or the probabilities and the numbers of the classes, of scores (N, C)."""
        labels = self.manifest["labels"]
        if labels["target"] == "number":
            return {"number": scores[:, 0] * labels["deviation"] + labels["mean"]}
        scores = scores / labels["temperature"]
        if labels["target"] == "classes":
            probabilities = 1 / (1 + np.exp(-scores))
            return {"probabilities": probabilities, "labels": np.flatnonzero(probabilities > 0.5)}
        probabilities, best = np.exp(log_softmax(scores)), scores.argmax(1)
        tags = labels["target"] == "tags"
        return {"probabilities": probabilities.max(1, keepdims=True) if tags else probabilities, "labels": best}

    def _vectors(self, steps: Array) -> Array:
        if "embedding" in self.tensors:
            return self.tensors["embedding"][steps.astype(np.int64)]
        form = self.manifest["input"]
        if form["offset"]:
            steps = (steps - form["offset"]) / form["unit"]
        scaled: Array = (steps.astype(np.float32) - self.tensors["front.mean"]) / self.tensors["front.deviation"]
        return scaled

    def _pooled(self, y: Array, last: Array) -> Array:
        pooling = self.manifest["pooling"]
        if pooling == "attention":
            scores = (np.tanh(self.linear("pooling.hidden", y)) @ self.tensors["pooling.score.weight"].T)[:, 0]
            mean: Array = np.exp(log_softmax(scores)) @ y
            return mean
        pooled: dict[str, Array] = {"last": last, "mean": y.mean(0), "max": y.max(0)}
        return pooled[pooling]

    def transcribe(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the features and the logits of samples."""
        spec = self.manifest["transcribe"]
        features = log_mel(np.array(request["samples"]), spec["features"])
        x = features.copy()
        if spec["gain_control"]:
            level = None
            for row in x:
                loudness = np.log(np.exp(row - row.max()).mean()) + row.max()
                level = loudness + HEADROOM if level is None else level
                above = loudness - level
                level += ATTACK * max(above, 0) + RELEASE * min(above + HEADROOM, 0)
                row -= level
        x = (x - self.tensors["mean"]) / self.tensors["deviation"]
        x = np.concatenate([np.zeros((spec["kernel"] - spec["stride"], x.shape[1])), x])
        begins = range(0, len(x) - spec["kernel"] + 1, spec["stride"])
        windows = np.array([x[begin : begin + spec["kernel"]].ravel() for begin in begins])
        y, _ = self.recurrent(np.maximum(self.linear("front", windows), 0))
        return {"features": features, "logits": self.linear("output", y)}


def log_softmax(a: Array) -> Array:
    """Return log probabilities of scores (..., C)."""
    shifted = a - a.max(-1, keepdims=True)
    scores: Array = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return scores


def log_mel(samples: Array, form: Mapping[str, Any]) -> Array:
    """Return log-mel energies, (T, F), as `sound.js` computes them."""
    width, hop, bins, bands = (form[name] for name in ("width", "hop", "bins", "bands"))
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(width) / width)
    frames = np.lib.stride_tricks.sliding_window_view(samples, width)[::hop] * (window / np.sqrt((window**2).sum()))
    energy = np.abs(np.fft.rfft(frames, bins)) ** 2
    low, high = (2595 * np.log10(1 + form[name] / 700) for name in ("low", "high"))
    edges = 700 * (10 ** (np.linspace(low, high, bands + 2) / 2595) - 1)
    f = np.arange(bins // 2 + 1)[:, None] * form["rate"] / bins
    rising, falling = (f - edges[:-2]) / np.diff(edges[:-1]), (edges[2:] - f) / np.diff(edges[1:])
    log_energy: Array = np.log(np.maximum(energy @ np.maximum(0, np.minimum(rising, falling)), FLOOR))
    return log_energy
