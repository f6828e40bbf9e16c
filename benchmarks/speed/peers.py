"""The layers that elman's are timed against, each as functions of no arguments: a training step and a forward pass.

JAX and ONNX Runtime are used where they are installed; nothing of the project needs them.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from elman.kernels.weights import Weights

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


class Runner(NamedTuple):
    """One implementation, ready to run one case; None where it cannot."""

    train: Callable[[], object] | None  # forward and backward, all gradients made
    infer: Callable[[], Any] | None  # forward alone, no gradients; returns the output


def torch_runner(
    layer: nn.Module, x: Tensor, d_y: Tensor, lengths: Tensor | None = None, packed: bool = False
) -> Runner:
    """Run an elman or a torch.nn layer; under `packed` lengths go in as torch.nn wants them."""
    leaf = x.clone().requires_grad_()

    def output(x: Tensor) -> Tensor:
        if lengths is None:
            return layer(x)[0]  # type: ignore[no-any-return]
        if not packed:
            return layer(x, lengths=lengths)[0]  # type: ignore[no-any-return]
        y, _ = layer(pack_padded_sequence(x, lengths, enforce_sorted=False))
        return pad_packed_sequence(y, total_length=x.shape[0])[0]

    def train() -> None:
        leaf.grad = None
        layer.zero_grad()
        output(leaf).backward(d_y)  # type: ignore[no-untyped-call]

    def infer() -> Tensor:
        with torch.no_grad():
            return output(x)

    return Runner(train, infer)


def jax_runner(kind: str, weights: Weights, x: Tensor, d_y: Tensor) -> Runner | None:
    """Run the same layer written as a compiled `jax.lax.scan`, with the input's product before the loop."""
    if importlib.util.find_spec("jax") is None:
        return None
    import jax
    import jax.numpy as jnp

    def array(t: Tensor) -> Any:
        return jnp.asarray(t.detach().numpy())

    def lstm(gx: Any, gh: Any, state: Any) -> Any:
        i, f, g, o = jnp.split(gx + gh, 4, axis=-1)
        c = jax.nn.sigmoid(f) * state[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
        return jax.nn.sigmoid(o) * jnp.tanh(c), c

    def gru(gx: Any, gh: Any, state: Any) -> Any:
        (xr, xz, xn), (hr, hz, hn) = jnp.split(gx, 3, axis=-1), jnp.split(gh, 3, axis=-1)
        z = jax.nn.sigmoid(xz + hz)
        n = jnp.tanh(xn + jax.nn.sigmoid(xr + hr) * hn)
        return ((1 - z) * n + z * state[0],)

    def rnn(gx: Any, gh: Any, state: Any) -> Any:
        return (jnp.tanh(gx + gh),)

    step = {"LSTM": lstm, "GRU": gru, "RNN": rnn}[kind]
    states = 2 if kind == "LSTM" else 1

    def forward(w: Any, x: Any) -> Any:
        gx = x @ w[0].T + w[2]
        first = tuple(jnp.zeros((x.shape[1], w[1].shape[1]), x.dtype) for _ in range(states))

        def body(state: Any, gx: Any) -> Any:
            after = step(gx, state[0] @ w[1].T + w[3], state)
            return after, after[0]

        return jax.lax.scan(body, first, gx)[1]

    given, x_, d_ = [array(t) for t in weights[:4] if t is not None], array(x), array(d_y)
    infer = jax.jit(forward)
    train = jax.jit(lambda w, x: jax.vjp(forward, w, x)[1](d_))
    return Runner(
        lambda: jax.block_until_ready(train(given, x_)),
        lambda: jax.block_until_ready(infer(given, x_)),
    )


def onnx_runner(kind: str, weights: Weights, x: Tensor) -> Runner | None:
    """Run the same layer as ONNX Runtime's own operator (inference only)."""
    if importlib.util.find_spec("onnxruntime") is None or importlib.util.find_spec("onnx") is None:
        return None
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    # ONNX orders the gates LSTM i o f c, GRU z r n; torch has i f g o and r z n.
    order = {"LSTM": [0, 3, 1, 2], "GRU": [1, 0, 2], "RNN": [0]}[kind]
    H = weights.hh.shape[1]

    def reorder(t: Tensor) -> Tensor:
        return torch.cat([t.detach().unflatten(0, (-1, H))[k] for k in order])

    assert weights.b_ih is not None and weights.b_hh is not None
    bias = torch.cat([reorder(weights.b_ih), reorder(weights.b_hh)])
    tensors = {"W": reorder(weights.ih)[None], "R": reorder(weights.hh)[None], "B": bias[None]}
    options = {"linear_before_reset": 1} if kind == "GRU" else {}
    node = helper.make_node(kind, ["X", "W", "R", "B"], ["Y"], hidden_size=H, **options)
    graph = helper.make_graph(
        [node],
        "layer",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, list(x.shape))],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, [x.shape[0], 1, x.shape[1], H])],
        [numpy_helper.from_array(t.contiguous().numpy(), name) for name, t in tensors.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    stream = io.BytesIO()
    onnx.save(model, stream)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(stream.getvalue(), settings, providers=["CPUExecutionProvider"])
    numbers = x.numpy()
    return Runner(None, lambda: session.run(None, {"X": numbers})[0])
