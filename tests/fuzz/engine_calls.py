"""Malformed and odd calls of the layers, of their operators and of the extension's functions.

Shapes, types, strides, sizes of zero, huge expanded sizes, lengths, resets, states, wrappers of tensors. What is right
is an answer or an ElmanError, TypeError, ValueError or RuntimeError. ELMAN_TEST_ENGINE names another build of the
extension, such as one with the sanitizers.
"""

import importlib.util
import os
import random
import sys
import warnings
from pathlib import Path
from typing import Any

import torch

ENGINE = "elman.kernels.cpu._engine"
if "ELMAN_TEST_ENGINE" in os.environ:
    spec = importlib.util.spec_from_file_location(ENGINE, os.environ["ELMAN_TEST_ENGINE"])
    assert spec is not None and spec.loader is not None
    sys.modules[ENGINE] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[ENGINE])

import elman
from elman.kernels import call as kernel_call
from elman.kernels.cpu import _engine

REFUSALS = (TypeError, ValueError, RuntimeError)  # an ElmanError is a ValueError
HUGE = (2**38, 2**40, 2**60)  # smaller ones fit into some memory, and take their time
DTYPES = (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.bool, torch.complex64)


def prepare(folder: Path) -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(2)
    call = [torch.ones(2, 1, 1), torch.ones(1, 1), None, torch.ones(1, 1), torch.ones(1, 1), *[None] * 6]
    torch.ops.elman.recurrent("rnn_tanh", False, True, *call)  # what torch imports late, it imports now


def odd(tensor: torch.Tensor, rng: random.Random) -> Any:
    """Return the tensor as something else than was asked for."""
    changes = (
        lambda: tensor.to(rng.choice(DTYPES)),
        lambda: tensor.t() if tensor.dim() == 2 else tensor.transpose(0, -1) if tensor.dim() else tensor,
        lambda: torch.empty_like(tensor, device="meta"),
        lambda: tensor[..., : rng.randrange(3)],
        lambda: tensor[: rng.randrange(3)] if tensor.dim() else tensor,
        lambda: tensor.repeat_interleave(2, -1)[..., ::2],
        lambda: tensor[:1].expand(rng.choice((0, 3, *HUGE)), *tensor.shape[1:]) if tensor.dim() else tensor,
        lambda: tensor[..., :1].expand(*tensor.shape[:-1], rng.choice((0, 3, *HUGE))) if tensor.dim() else tensor,
        lambda: tensor[..., None],
        lambda: tensor.reshape(-1),
        lambda: tensor.to_sparse() if tensor.dim() else tensor,
        lambda: torch._efficientzerotensor(tuple(tensor.shape)),
        lambda: torch._to_functional_tensor(tensor),
        lambda: torch._neg_view(tensor),
        lambda: torch.full_like(tensor, rng.choice((float("inf"), float("nan"), -1e38, 0.0))),
        lambda: tensor.new_empty(0),
        lambda: torch.tensor(1.0),
        lambda: rng.choice((None, 3, "x", [1.0], object(), [None], (tensor, tensor))),
    )
    try:
        return rng.choice(changes)()
    except REFUSALS:
        return None


def maybe(value: Any, rng: random.Random, share: float) -> Any:
    return odd(value, rng) if isinstance(value, torch.Tensor) and rng.random() < share else value


def sizes(rng: random.Random) -> tuple[int, int, int, int]:
    return rng.choice((0, 1, 2, 5)), rng.choice((0, 1, 2, 7)), rng.choice((1, 2, 3, 9)), rng.choice((1, 2, 5, 16, 17))


def call_layer(rng: random.Random) -> None:
    T, B, I, H = sizes(rng)
    kind = rng.choice(("RNN", "GRU", "LSTM"))
    layers, both, first = rng.choice((1, 1, 2)), rng.random() < 0.3, rng.random() < 0.3
    layer = getattr(elman, kind)(
        I, H, layers, bidirectional=both, batch_first=first, learn_initial_state=rng.random() < 0.3
    )
    states = [torch.randn(layers * (1 + both), B, H) for _ in range(1 + (kind == "LSTM"))]
    x = torch.randn(B, T, I) if first else torch.randn(T, B, I)
    share = rng.choice((0.0, 0.2, 0.5))
    options: dict[str, Any] = {}
    if rng.random() < 0.4:
        options["lengths"] = maybe(
            torch.randint(-1 if rng.random() < 0.3 else 0, T + 2 - (rng.random() < 0.7), (B,)), rng, share
        )
    if rng.random() < 0.4:
        options["resets"] = maybe(torch.rand(x.shape[:2]) < 0.4, rng, share)
    given = [maybe(s, rng, share) for s in states]
    hx: Any = None if rng.random() < 0.4 else tuple(given) if kind == "LSTM" else given[0]
    if rng.random() < 0.1:
        hx = odd(states[0], rng)
    if rng.random() < 0.2:
        spoil(layer, rng)
    x = maybe(x, rng, share)
    if isinstance(x, torch.Tensor) and rng.random() < 0.3 and x.is_floating_point():
        x = x.detach().requires_grad_()
    if rng.random() < 0.3:
        with torch.no_grad():
            row = x[0] if isinstance(x, torch.Tensor) and x.dim() > 1 and len(x) else x
            for _ in range(3):
                layer.step(row, hx)
                if rng.random() < 0.3:
                    spoil(layer, rng)
        return
    y, _ = layer(x, hx, **options)
    if y.requires_grad and y.numel() < 10**6:
        d_y = maybe(torch.ones_like(y), rng, share)
        y.backward(d_y if isinstance(d_y, torch.Tensor) else None)


def spoil(layer: Any, rng: random.Random) -> None:
    """Change a layer as a user may, between calls."""
    name, parameter = rng.choice(list(layer.named_parameters()))
    change = rng.randrange(6)
    if name.startswith("initial"):
        change = min(change, 3)  # torch.stack itself reads memory that is not there
    if change == 0:
        layer.to(rng.choice((torch.bfloat16, torch.float64, torch.float16)))
    elif change == 1:
        parameter.data = parameter.data[: rng.randrange(3)]
    elif change == 2:
        layer.weight_ih_l0, layer.weight_hh_l0 = layer.weight_hh_l0, layer.weight_ih_l0
    elif change == 3:
        layer.to("meta")
    elif change == 4:
        parameter.untyped_storage().resize_(0)
    else:
        replacement = odd(parameter.detach(), rng)
        if isinstance(replacement, torch.Tensor) and replacement.is_floating_point():
            setattr(layer, name, torch.nn.Parameter(replacement))


def arguments(rng: random.Random, share: float) -> tuple[int, int, list[Any]]:
    """Return kind, nonlinearity and the tensors of a call."""
    T, B, I, H = sizes(rng)
    H = rng.choice((H, H, 0))
    kind, f = rng.choice(list(_engine.KINDS.values()))
    rows = (1, 3, 4)[kind] * H
    values: list[Any] = [torch.randn(T, B, I), torch.randn(B, H), torch.randn(B, H) if kind == 2 else None]
    values += [torch.randn(rows, I), torch.randn(rows, H)]
    values += [torch.randn(rows), torch.randn(rows)] if rng.random() < 0.7 else [None, None]
    resets = torch.rand(T, B) < 0.4 if rng.random() < 0.4 else None
    values += [None, None] if resets is None else [torch.randn(H), torch.randn(H) if kind == 2 else None]
    values += [torch.randint(0, T + 1, (B,)) if rng.random() < 0.4 else None, resets]
    return kind, f, [maybe(value, rng, share) for value in values]


def call_operator(rng: random.Random) -> None:
    kind, f, values = arguments(rng, rng.choice((0.0, 0.1, 0.3)))
    name = next(name for name, of in _engine.KINDS.items() if of == (kind, f))
    name = name if rng.random() < 0.9 else rng.choice(("", "x", "lstm"))
    reverse, save = rng.random() < 0.5, rng.random() < 0.7
    y, hn, cn, saved = torch.ops.elman.recurrent(name, reverse, save, *values)
    mask = [rng.random() < 0.7 for _ in range(rng.choice((5, 5, 5, 3)))]
    share = rng.choice((0.0, 0.2))
    gradients = [maybe(torch.ones_like(t), rng, share) for t in (y, hn)] + [torch.ones_like(cn) if cn.numel() else None]
    torch.ops.elman.recurrent_backward(name, reverse, mask, *values, y, maybe(saved, rng, share), *gradients)


def call_extension(rng: random.Random) -> None:
    share = rng.choice((0.0, 0.05, 0.2))
    kind, f, values = arguments(rng, share)
    kind, f = (kind, f) if rng.random() < 0.95 else (rng.choice((-1, 3, 2**31 - 1)), rng.choice((-1, 4)))
    call = kernel_call.Call(*values)
    threads = rng.choice((-1, 0, 1, 2))
    function = rng.randrange(7)
    if function == 0:
        width = rng.choice((0, 1, *HUGE, -1))
        _engine.fresh(((rng.choice((0, 1, *HUGE)), width), values[0], None), rng.random() < 0.5, 1 << 18, False)
    elif function == 1:
        _engine.saved_width(kind, rng.choice((0, 3, *HUGE, -1)), True)
    elif function == 2:
        x = maybe(torch.randn(rng.randrange(40)), rng, 0.5)
        _engine.activation(f, x, maybe(torch.empty(40), rng, 0.5) if rng.random() < 0.5 else torch.empty_like(x))
    else:
        packed = _engine.pack(kind, f, *call[3:7], threads)
        packed.matches(*(maybe(value, rng, 0.2) for value in call[3:7]), rng.random() < 0.5, threads)
        T, B = call.x_TBI.shape[:2]
        H = call.hh.shape[1]
        if T * B * H > 10**6:
            return
        results = [torch.empty(T, B, H), torch.empty(B, H), torch.empty(B, H) if kind == 2 else None]
        if function == 3:
            outputs = [maybe(torch.empty(B, H), rng, share), maybe(results[2], rng, share)]
            _engine.step(packed, values[0][0], values[1], values[2], *outputs, threads)
            return
        saved = torch.empty(
            T * B, _engine.saved_width(kind, H, call.x_TBI.dtype == torch.float32), dtype=call.x_TBI.dtype
        )
        results = [maybe(result, rng, share) for result in results]
        kept = maybe(saved, rng, share)
        _engine.forward(
            kind, f, packed if rng.random() < 0.5 else None, call, rng.random() < 0.5, threads, *results, kept
        )
        made = [None if t is None else maybe(torch.empty_like(t), rng, share) for t in call[:9]]
        given = (torch.ones(T, B, H), None, None)
        _engine.backward(kind, f, call, rng.random() < 0.5, threads, kept, given[: rng.choice((3, 3, 3, 2))], made)


def call_output_layer(rng: random.Random) -> None:
    N, _, H, V = sizes(rng)
    N, V = rng.choice((N, 50)), rng.choice((V, V, 150))
    share = rng.choice((0.0, 0.1, 0.3))
    target = torch.randint(-1 if rng.random() < 0.2 else 0, V + (rng.random() < 0.2), (N,))
    values = [torch.randn(N, H), torch.randn(V, H), torch.randn(V) if rng.random() < 0.7 else None, target]
    weight = torch.rand(V) if rng.random() < 0.3 else None
    smoothing, z = rng.choice((0.0, 0.1, 1.0, float("nan"))), rng.choice((0.0, 0.1, float("inf")))
    values = [maybe(value, rng, share) for value in values]
    if rng.random() < 0.5:
        made = [torch.empty(N), torch.empty(N, H), torch.empty(V, H), torch.empty(V)]
        call = (*values, weight, torch.ones(N), *(maybe(t, rng, share) for t in made))
        call = call[: rng.choice((10, 10, 10, 9))]
        _engine.linear_cross_entropy(call, rng.choice((-100, 0)), smoothing, z, rng.choice((-1, 0, 1, 2)))
        return
    for i in range(3):
        if isinstance(values[i], torch.Tensor) and values[i].is_floating_point() and rng.random() < 0.7:
            values[i] = values[i].detach().requires_grad_()
    reduction = rng.choice(("mean", "sum", "none", "x"))
    options = {"label_smoothing": smoothing, "z_loss": z, "ignore_index": rng.choice((-100, -1, 0))}
    loss = elman.linear_cross_entropy(*values, weight=maybe(weight, rng, share), reduction=reduction, **options)
    if loss.requires_grad:
        loss.backward(torch.ones_like(loss))


def attempt(rng: random.Random, folder: Path) -> None:
    torch.manual_seed(rng.randrange(2**31))
    try:
        rng.choice((call_layer, call_layer, call_operator, call_extension, call_output_layer))(rng)
    except REFUSALS as error:
        if isinstance(error, UnicodeError):
            raise
    except (AttributeError, IndexError) as error:
        if str(error).startswith("Target "):  # outside the vocabulary, as torch says it
            return
        # Python's own, of this file's handling of what `odd` returned
        import traceback

        frames = traceback.extract_tb(sys.exc_info()[2])
        if Path(frames[-1].filename).name != Path(__file__).name:
            raise
