"""The output layer with its loss: against float64 with every option, on every kind of tensor.

The judge is torch's linear and cross_entropy in float64; of rounding it is held to what torch's own float32 does.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import elman
from elman.errors import SettingError, ShapeError
from elman.kernels import output_layer
from elman.kernels.cpu import _engine, passes
from elman.kernels.dispatch import SlowPathError

SIZES = [(1, 1, 2), (3, 5, 7), (17, 33, 50), (100, 64, 131), (320, 20, 1000), (70, 17, 3001)]
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "smoothing": {"label_smoothing": 0.1},
    "z-loss": {"z_loss": 0.01},
    "weights": {"weight": True},
    "all": {"weight": True, "label_smoothing": 0.2, "z_loss": 0.01, "ignore_index": 1},
}


@pytest.fixture(autouse=True)
def whole_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(passes, "poison", True)
    monkeypatch.setattr(output_layer, "LEAST_VOCABULARY", 0)  # so that small cases run on the engine too
    yield
    torch.set_num_threads(1)


def by_definition(s: Tensor, V: Tensor, c: Tensor | None, target: Tensor, **options: Any) -> Tensor:
    z, reduction = options.pop("z_loss", 0.0), options.get("reduction", "mean")
    logits = functional.linear(s, V, c)
    counts = target != options.get("ignore_index", -100)
    square = z * logits.logsumexp(1)[counts].square()
    loss = functional.cross_entropy(logits, target, **options)
    if reduction == "none":
        return loss + torch.zeros_like(loss).masked_scatter(counts, square)
    return loss + (square.mean() if reduction == "mean" else square.sum())


def draw(N: int, H: int, V: int, dtype: torch.dtype = torch.float32, bias: bool = True) -> tuple[Any, ...]:
    generator = torch.Generator().manual_seed(N + V)
    s, weight, c = (torch.randn(*size, generator=generator, dtype=dtype) for size in ((N, H), (V, H), (V,)))
    target = torch.randint(V, (N,), generator=generator)
    target[0], target[1::3] = 0, -100
    return s, weight / H**0.5, c if bias else None, target


def gradients(
    function: Callable[..., Tensor], tensors: tuple[Any, ...], d_loss: Tensor | None, **options: Any
) -> list[Any]:
    """Return the loss and the gradients of s, V and c."""
    leaves = [None if t is None else t.detach().clone().requires_grad_() for t in tensors[:3]]
    loss = function(*leaves, tensors[3], **options)
    loss.backward(torch.ones_like(loss) if d_loss is None else d_loss.to(loss.dtype))
    return [loss.detach(), *(None if leaf is None else leaf.grad for leaf in leaves)]


def in_float64(value: Any) -> Any:
    return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value


def assert_near(made: list[Any], expected: list[Any], tolerance: float) -> None:
    for m, e in zip(made, expected, strict=True):
        if e is not None:
            assert m.shape == e.shape
            assert float((m - e).abs().max()) <= tolerance * max(float(e.abs().max()), 1e-2)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_loss_and_gradients(size: tuple[int, int, int], name: str, reduction: str) -> None:
    options = {**OPTIONS[name], "reduction": reduction}
    for dtype, tolerance in ((torch.float32, 4e-6), (torch.float64, 1e-13)):
        tensors = draw(*size, dtype, bias=reduction != "sum")
        tensors[3][tensors[3] == -100] = options.get("ignore_index", -100)
        if options.get("weight") is not None:
            options["weight"] = torch.rand(size[2], generator=torch.Generator().manual_seed(1), dtype=dtype)
        d_loss = torch.linspace(-1, 2, size[0], dtype=dtype) if reduction == "none" else torch.tensor(0.7, dtype=dtype)
        with elman.strict():
            made = gradients(elman.linear_cross_entropy, tensors, d_loss, **options)
        exact = {key: in_float64(value) for key, value in options.items()}
        expected = gradients(by_definition, tuple(map(in_float64, tensors)), d_loss, **exact)
        assert_near(made, expected, tolerance)
        with torch.no_grad():
            assert_near([elman.linear_cross_entropy(*tensors, **options)], expected[:1], tolerance)


def test_a_large_vocabulary_is_as_exact_as_torch() -> None:
    s, V, c, target = draw(20, 24, 30_000)
    exact = gradients(by_definition, (s.double(), V.double(), c.double(), target), None)
    made, theirs = (gradients(f, (s, V, c, target), None) for f in (elman.linear_cross_entropy, by_definition))
    for m, t, e in zip(made, theirs, exact, strict=True):
        assert float((m - e).abs().max()) <= 3 * float((t - e).abs().max()) + 1e-7 * float(e.abs().max())


def test_the_numbers_do_not_depend_on_threads_nor_rows_on_their_company() -> None:
    tensors, results = draw(300, 70, 500), []
    for threads in (1, 2, 3, 20):
        torch.set_num_threads(threads)
        results.append(gradients(elman.linear_cross_entropy, tensors, None, reduction="sum"))
    assert all(torch.equal(a, b) for r in results[1:] for a, b in zip(results[0], r, strict=True))
    s, V, c, target = tensors
    part = gradients(elman.linear_cross_entropy, (s[40:47], V, c, target[40:47]), None, reduction="sum")
    assert torch.equal(part[1], results[0][1][40:47])


@pytest.mark.parametrize("isa", _engine.isas()[1:])
def test_the_other_instruction_sets(isa: str) -> None:
    program = """
import torch, elman
from torch.nn import functional
torch.manual_seed(1)
s, V, c = (torch.randn(*size).requires_grad_() for size in ((61, 21), (600, 21), (600,)))
target = torch.randint(600, (61,))
with elman.strict():
    made = torch.autograd.grad(elman.linear_cross_entropy(s, V, c, target, label_smoothing=0.1), (s, V, c))
d = [t.detach().double().requires_grad_() for t in (s, V, c)]
expected = torch.autograd.grad(functional.cross_entropy(functional.linear(*d), target, label_smoothing=0.1), d)
for m, e in zip(made, expected):
    torch.testing.assert_close(m, e.float(), rtol=1e-4, atol=1e-7)
"""
    environment = {**os.environ, "ELMAN_CPU_ISA": isa}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_nothing_to_count() -> None:
    s, V, c, target = draw(6, 5, 7)
    for ignored in (torch.full_like(target, -100), target[:0]):
        rows = s[: len(ignored)]
        for reduction in ("mean", "sum", "none"):
            made = gradients(
                elman.linear_cross_entropy, (rows, V, c, ignored), None, reduction=reduction, label_smoothing=0.1
            )
            expected = gradients(by_definition, (rows, V, c, ignored), None, reduction=reduction, label_smoothing=0.1)
            torch.testing.assert_close(made[0], expected[0], equal_nan=True)
            assert all(not g.any() for g in made[1:])


@pytest.mark.parametrize("wrong", [7, -1, -101, 2**40])
@pytest.mark.parametrize("weight", [None, torch.ones(7)])
def test_a_target_out_of_bounds(wrong: int, weight: Tensor | None) -> None:
    s, V, c, target = draw(6, 5, 7)
    target[4] = wrong
    with pytest.raises(IndexError, match=rf"Target {wrong} is out of bounds"):
        functional.cross_entropy(functional.linear(s, V, c), target)
    for V_of_call in (V, V.clone().requires_grad_()):
        with pytest.raises(IndexError, match=rf"Target {wrong} is out of bounds"):
            elman.linear_cross_entropy(s, V_of_call, c, target, weight=weight)


def test_only_what_needs_gradients_has_them() -> None:
    tensors = draw(20, 6, 11)
    expected = gradients(by_definition, tensors, None)
    for only in range(3):
        leaves = [t.clone().requires_grad_(i == only) for i, t in enumerate(tensors[:3])]
        with elman.strict():
            elman.linear_cross_entropy(*leaves, tensors[3]).backward()
        torch.testing.assert_close(leaves[only].grad, expected[1 + only])
        assert all(leaf.grad is None for i, leaf in enumerate(leaves) if i != only)


def test_strided_and_negative_tensors() -> None:
    s, V, c, target = draw(20, 6, 11)
    expected = gradients(by_definition, (s, V, c, target), None)
    odd = (s.t().contiguous().t(), V.repeat(1, 2)[:, :6], c.repeat_interleave(2)[::2], target.repeat_interleave(2)[::2])
    for given in (odd, (s.repeat(1, 3)[:, :6], V.t().contiguous().t(), c, target)):
        leaves = [t.detach().requires_grad_() for t in given[:3]]
        with elman.strict():
            made = elman.linear_cross_entropy(*leaves, given[3])
        torch.testing.assert_close([made, *torch.autograd.grad(made, leaves)], expected)
    torch.testing.assert_close(elman.linear_cross_entropy(torch._neg_view(-s), V, c, target), expected[0])
    row = s[:1].expand(20, 6)
    torch.testing.assert_close(elman.linear_cross_entropy(row, V, c, target), by_definition(row, V, c, target))


def test_gradients_twice_and_of_gradients() -> None:
    s, V, c, target = (t.double() if t.is_floating_point() else t for t in draw(5, 3, 4))
    leaves = [t.requires_grad_() for t in (s, V, c)]
    for reduction in ("mean", "none"):
        loss = elman.linear_cross_entropy(*leaves, target, reduction=reduction)
        d_loss = torch.full_like(loss, 0.3)
        first = [g.clone() for g in torch.autograd.grad(loss, leaves, d_loss, retain_graph=True)]
        again = torch.autograd.grad(loss, leaves, 2 * d_loss, retain_graph=True)
        torch.testing.assert_close([2 * g for g in first], list(again))
        many = torch.autograd.grad(loss, leaves, torch.stack((d_loss, -d_loss)), is_grads_batched=True)
        torch.testing.assert_close([g[1] for g in many], [-g for g in first])

        def function(*leaves: Tensor, reduction: str = reduction) -> Tensor:
            return elman.linear_cross_entropy(*leaves, target, reduction=reduction, label_smoothing=0.1, z_loss=0.1)

        assert torch.autograd.gradcheck(function, leaves)
        assert torch.autograd.gradgradcheck(function, leaves)


def test_tied_weights() -> None:
    target = torch.tensor([1, 0, 4, 4, 2, -100])
    results = []
    for function in (elman.linear_cross_entropy, by_definition):
        torch.manual_seed(1)
        embedding = nn.Embedding(5, 3)
        function(torch.tanh(embedding(target.clamp(0))), embedding.weight, None, target).backward()
        results.append(embedding.weight.grad)
    torch.testing.assert_close(*results)


def test_other_types_and_modes_are_torchs() -> None:
    s, V, c, target = draw(9, 6, 11)
    half = [t.bfloat16() for t in (s, V, c)]
    made = elman.linear_cross_entropy(*half, target, z_loss=0.1)
    assert made.dtype == torch.bfloat16
    torch.testing.assert_close(made, by_definition(*half, target, z_loss=0.1))
    with torch.autocast("cpu", torch.bfloat16):
        made, expected = (f(s, V, c, target) for f in (elman.linear_cross_entropy, by_definition))
    assert made.dtype == expected.dtype
    torch.testing.assert_close(made, expected)
    function = torch.func.grad(lambda s: elman.linear_cross_entropy(s, V, c, target))
    torch.testing.assert_close(function(s), gradients(by_definition, (s, V, c, target), None)[1])
    per_row = torch.func.vmap(lambda s, t: elman.linear_cross_entropy(s[None], V, c, t[None]))(s, target.clamp(0))
    torch.testing.assert_close(per_row, by_definition(s, V, c, target.clamp(0), reduction="none"))
    weight = torch.rand(11, requires_grad=True)
    with pytest.raises((NotImplementedError, RuntimeError)):
        elman.linear_cross_entropy(s.requires_grad_(), V, c, target, weight=weight).backward()
    with elman.strict(), pytest.raises(SlowPathError, match=r"output layer(.|\n)*not all float32"):
        elman.linear_cross_entropy(*half, target)


def test_torch_runs_in_pieces_without_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_layer, "refusal", lambda *_: "not here")
    monkeypatch.setattr(output_layer, "MAX_LOGITS", 30)
    tensors = draw(10, 4, 7)
    for reduction in ("mean", "sum", "none"):
        options = {"reduction": reduction, "label_smoothing": 0.1, "z_loss": 0.1}
        made = elman.linear_cross_entropy(*tensors, **options)
        torch.testing.assert_close(made, by_definition(*tensors, **options))


def test_infinite_numbers() -> None:
    s, V, c, target = draw(6, 5, 200)
    target = target.abs() % 7
    c[7:] = -torch.inf
    made, expected = (gradients(f, (s, V, c, target), None) for f in (elman.linear_cross_entropy, by_definition))
    torch.testing.assert_close(made, expected)
    assert not made[2][7:].any()
    for value in (torch.nan, torch.inf):
        s[3, 2] = value
        functions = (elman.linear_cross_entropy, by_definition)
        made, expected = (gradients(f, (s, V, c, target), None, reduction="none") for f in functions)
        torch.testing.assert_close(made[0], expected[0], equal_nan=True)
        torch.testing.assert_close(made[1], expected[1], equal_nan=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"s": torch.ones(6)}, r"s has 1 dimensions"),
        ({"s": torch.ones(6, 4)}, r"s has a wrong size in H"),
        ({"c": torch.ones(6)}, r"c has a wrong size in V"),
        ({"target": torch.zeros(5).long()}, r"target has a wrong size in N"),
        ({"weight": torch.ones(6)}, r"weight has a wrong size in V"),
    ],
)
def test_wrong_shapes(change: dict[str, Any], message: str) -> None:
    s, V, c, target = draw(6, 5, 7)
    with pytest.raises(ShapeError, match=message):
        elman.linear_cross_entropy(**{"s": s, "V": V, "c": c, "target": target, **change})


def test_wrong_options() -> None:
    tensors = draw(6, 5, 7)
    with pytest.raises(SettingError, match="mean"):
        elman.linear_cross_entropy(*tensors, reduction="average")
    with pytest.raises(SettingError, match="label_smoothing"):
        elman.linear_cross_entropy(*tensors, label_smoothing=1.5)


def test_the_extension_checks_its_arguments() -> None:
    s, V, c, target = draw(6, 5, 7)
    loss, scale = torch.empty(6), torch.ones(6)
    right = [s, V, c, target, None, scale, loss, torch.empty(6, 5), torch.empty(7, 5), torch.empty(7)]
    _engine.linear_cross_entropy(tuple(right), -100, 0.0, 0.0, 1)
    wrong: dict[int, list[Any]] = {
        0: [None, s.double(), s[:, :4], s[0], s.t().contiguous().t(), s[:1].expand(2**60, 5)],
        1: [None, V.t(), V[:, 0], torch.empty(7, 0), torch.empty(2**40, 0)],
        2: [c[:6]],
        3: [None, target[:5], target.int(), target.repeat_interleave(2)[::2]],
        4: [torch.ones(6)],
        5: [None, torch.ones(5)],
        6: [None, torch.empty(5)],
        7: [torch.empty(5, 5), torch.empty(5, 6).t()],
        8: [torch.empty(7, 4)],
        9: [torch.empty(8)],
    }
    for i, values in wrong.items():
        for value in values:
            with pytest.raises(ShapeError):
                _engine.linear_cross_entropy((*right[:i], value, *right[i + 1 :]), -100, 0.0, 0.0, 1)
    for smoothing, z in ((-0.1, 0.0), (1.1, 0.0), (float("nan"), 0.0), (0.0, float("inf"))):
        with pytest.raises(ShapeError):
            _engine.linear_cross_entropy(tuple(right), -100, smoothing, z, 1)
    with pytest.raises(ShapeError, match="10 tensors"):
        _engine.linear_cross_entropy(tuple(right[:9]), -100, 0.0, 0.0, 1)


def test_freed_memory() -> None:
    s, V, c, target = draw(6, 5, 7)
    V.untyped_storage().resize_(0)
    with pytest.raises(ShapeError, match="freed"):
        elman.linear_cross_entropy(s, V, c, target)


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_what_is_no_tensor_is_named(place: int) -> None:
    arguments: list[object] = [torch.ones(2, 3), torch.ones(4, 3), torch.ones(4), torch.tensor([0, 1])]
    arguments[place] = [0, 1]
    name = ("s", "V", "c", "target")[place]
    with pytest.raises(TypeError, match=f"argument '{name}' must be Tensor, not list"):
        elman.linear_cross_entropy(*arguments)  # type: ignore[arg-type]


def test_small_vocabularies_run_on_torchs_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_layer, "LEAST_VOCABULARY", 50)
    calls = []
    monkeypatch.setattr(output_layer._engine, "linear_cross_entropy", lambda *call: calls.append(call))
    s, V, c, target = draw(6, 5, 49)
    with elman.strict():
        loss = elman.linear_cross_entropy(s, V, c, target)
    assert torch.equal(loss, functional.cross_entropy(functional.linear(s, V, c), target))
    assert not calls
    elman.linear_cross_entropy(*draw(6, 5, 50))
    assert len(calls) == 1
