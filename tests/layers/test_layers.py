"""What the layers offer beyond torch.nn, and what they refuse."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence

import elman
from elman import GRU, LSTM, RNN
from elman.errors import ElmanError, SettingError, ShapeError
from elman.layers.initialise import INITIALISATIONS

torch64 = {"dtype": torch.float64}
LAYERS = [
    RNN(3, 4, 2, "tanh", **torch64),
    RNN(3, 4, 2, "relu", **torch64),
    RNN(3, 4, 2, "sigmoid", **torch64),
    RNN(3, 4, 2, "identity", **torch64),
    GRU(3, 4, 2, learn_initial_state=True, **torch64),
    LSTM(3, 4, 2, proj_size=2, learn_initial_state=True, **torch64),
]


def flat(state: object) -> tuple[Tensor, ...]:
    return (state,) if isinstance(state, Tensor) else tuple(state)  # type: ignore[arg-type]


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
@pytest.mark.parametrize("grad", [False, True])
def test_steps_of_any_layout_in_memory(layer: elman.Recurrent, grad: bool) -> None:
    x_TBI = torch.randn(6, 3, 2, **torch64).transpose(1, 2)
    with torch.set_grad_enabled(grad):
        whole, _ = layer(x_TBI)
        state = None
        for t in range(6):
            y, state = layer.step(x_TBI[t], state)
            torch.testing.assert_close(y, whole[t], rtol=0, atol=1e-14)
            if t == 3:
                state = tuple(s.transpose(1, 2).contiguous().transpose(1, 2) for s in flat(state))
                state = state if len(state) > 1 else state[0]


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
@pytest.mark.parametrize("batch_first", [False, True])
def test_step_by_step_gives_the_numbers_of_the_whole_run(layer: elman.Recurrent, batch_first: bool) -> None:
    layer = copy.deepcopy(layer)
    layer.batch_first = batch_first
    x_TBI = torch.randn(6, 2, 3, **torch64)
    whole, last = layer(x_TBI.transpose(0, 1) if batch_first else x_TBI)
    state = None
    for t, x_BI in enumerate(x_TBI):
        y, state = layer.step(x_BI, state)
        torch.testing.assert_close(y, whole[:, t] if batch_first else whole[t], rtol=0, atol=1e-14)
    for a, b in zip(flat(state), flat(last), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-14)
    single, _ = layer.step(x_TBI[0, 0])
    torch.testing.assert_close(single, whole[0, 0], rtol=0, atol=1e-14)


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_a_reset_goes_back_to_the_layers_initial_state_not_to_hx(layer: elman.Recurrent) -> None:
    x = torch.randn(5, 2, 3, **torch64)
    resets = torch.zeros(5, 2, dtype=torch.bool)
    resets[2, 1] = True
    carried = layer(torch.randn(3, 2, 3, **torch64))[1]
    y, _ = layer(x, carried, resets=resets)
    plain, _ = layer(x, carried)
    anew, _ = layer(x[2:])
    torch.testing.assert_close(y[:, 0], plain[:, 0])
    torch.testing.assert_close(y[:2], plain[:2])
    torch.testing.assert_close(y[2:, 1], anew[:, 1])


def test_resets_in_both_directions_separate_the_sequences() -> None:
    layer = LSTM(3, 4, 2, bidirectional=True, batch_first=True, **torch64)
    x = torch.randn(1, 5, 3, **torch64)
    resets = torch.tensor([[False, False, True, False, False]])
    y, _ = layer(x, resets=resets)
    torch.testing.assert_close(y[:, :2], layer(x[:, :2])[0])
    torch.testing.assert_close(y[:, 2:], layer(x[:, 2:])[0])


def test_a_learned_initial_state_starts_at_zero_and_gets_a_gradient() -> None:
    layer = LSTM(3, 4, 2, bidirectional=True, learn_initial_state=True)
    names = [name for name, _ in layer.named_parameters() if name.startswith("initial")]
    assert names == [f"initial_{s}_l{k}{d}" for k in (0, 1) for d in ("", "_reverse") for s in "hc"]
    assert all(not layer.get_parameter(name).any() for name in names)
    layer(torch.randn(5, 2, 3))[0].sum().backward()
    assert all(layer.get_parameter(name).grad.any() for name in names)  # type: ignore[union-attr]
    torch.nn.init.constant_(layer.initial_c_l0, 0.5)
    h, c = layer(torch.zeros(0, 2, 3))[1]
    assert (c[0] == 0.5).all()
    assert not h.any()


@pytest.mark.parametrize("cls", [RNN, GRU, LSTM])
def test_dropout_acts_between_layers_while_training(cls: type[elman.Recurrent]) -> None:
    layer = cls(3, 50, 2, dropout=0.5)
    x = torch.randn(20, 2, 3)
    assert not torch.equal(layer(x)[0], layer(x)[0])
    layer.eval()
    assert torch.equal(layer(x)[0], layer(x)[0])


def test_dropout_keeps_the_mean_and_variational_masks_keep_still() -> None:
    for variational in (False, True):
        layer = RNN(1, 2000, 2, "identity", dropout=0.25, variational=variational)
        ones = torch.ones(30, 4, 2000)
        dropped = layer._drop(ones)
        assert dropped.unique().tolist() == pytest.approx([0, 4 / 3])
        assert dropped.mean().item() == pytest.approx(1.0, abs=0.05)
        assert torch.equal(dropped[0], dropped[1]) == variational
        assert not torch.equal(dropped[:, 0], dropped[:, 1])


@pytest.mark.parametrize(
    "layer",
    [
        RNN(3, 4),
        RNN(3, 4, 2, "relu", init="identity=0.9"),
        GRU(3, 4, bias=False, batch_first=True, bidirectional=True),
        GRU(3, 4, variational=True, num_layers=3, dropout=0.25, init="orthogonal"),
        LSTM(3, 4, proj_size=2, dtype=torch.float64, learn_initial_state=True, init="chrono=30"),
    ],
    ids=repr,
)
def test_repr_can_be_pasted_back(layer: elman.Recurrent) -> None:
    again = eval(repr(layer), {"RNN": RNN, "GRU": GRU, "LSTM": LSTM, "torch": torch})
    assert repr(again) == repr(layer)
    shapes = {name: (p.shape, p.dtype) for name, p in layer.named_parameters()}
    assert shapes == {name: (p.shape, p.dtype) for name, p in again.named_parameters()}
    assert (again.batch_first, again.dropout, again.variational) == (
        layer.batch_first,
        layer.dropout,
        layer.variational,
    )


def test_one_layer_drops_nothing() -> None:
    with pytest.warns(UserWarning, match="dropout option adds dropout after all but last") as warning:
        layer = GRU(3, 50, dropout=0.9)
    assert warning[0].filename == __file__
    x = torch.randn(6, 2, 3)
    assert torch.equal(layer(x)[0], layer.eval()(x)[0])


def test_learned_initial_states_stand_in_the_order_of_hx() -> None:
    layer = LSTM(3, 4, 2, bidirectional=True, learn_initial_state=True)
    with torch.no_grad():
        for number, name in enumerate(["l0", "l0_reverse", "l1", "l1_reverse"]):
            layer.get_parameter(f"initial_h_{name}").fill_(number)
            layer.get_parameter(f"initial_c_{name}").fill_(10 + number)
    h, c = layer(torch.zeros(0, 2, 3))[1]
    assert h[:, 1, 0].tolist() == [0, 1, 2, 3]
    assert c[:, 0, 3].tolist() == [10, 11, 12, 13]


@pytest.mark.parametrize("batch_first", [False, True])
def test_resets_of_a_single_sequence(batch_first: bool) -> None:
    layer = GRU(3, 4, batch_first=batch_first)
    x = torch.randn(5, 3)
    resets = torch.tensor([False, False, True, False, True])
    first = (None, slice(None)) if batch_first else (slice(None), None)
    torch.testing.assert_close(layer(x, resets=resets)[0], layer(x[first], resets=resets[first])[0].squeeze())
    torch.testing.assert_close(layer(x, resets=resets)[0][2:4], layer(x[2:4])[0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("init", ["orthogonal", "chrono", "forget_bias"])
def test_initialisations_in_half_precision(init: str, dtype: torch.dtype) -> None:
    layer = LSTM(3, 4, init=init, dtype=dtype)
    block = layer.weight_hh_l0[:4].float()
    torch.testing.assert_close(block @ block.T, torch.eye(4), atol=0.02, rtol=0)


def test_input_weights_are_glorots_gate_by_gate() -> None:
    for block in torch.split(GRU(30, 60, init="orthogonal").weight_ih_l0, 60):
        bound = math.sqrt(6 / (30 + 60))
        assert 0.95 * bound < block.max() <= bound
        assert -bound <= block.min() < -0.95 * bound


def test_a_gate_called_f_that_forgets_is_not_taken_for_one_that_keeps() -> None:
    class Wipes(elman.Cell):
        gates = ("f", "i")

        def step(self, gx_BGH, gh_BGH, state):  # type: ignore[no-untyped-def]
            f = torch.sigmoid(gx_BGH[:, 0] + gh_BGH[:, 0])
            return ((1 - f) * state[0] + f * gx_BGH[:, 1],)

    with pytest.raises(SettingError, match=r"Cell.keeps"):
        elman.Recurrent(Wipes(), 1, 4, init="chrono=100")


def test_all_weights_are_torchs() -> None:
    theirs, ours = torch.nn.LSTM(3, 4, 2, proj_size=2), LSTM(3, 4, 2, proj_size=2)
    ours.load_state_dict(theirs.state_dict())
    for a, b in zip(ours.all_weights, theirs.all_weights, strict=True):
        assert all(torch.equal(p, q) for p, q in zip(a, b, strict=True))


def test_repr_of_a_plain_layer() -> None:
    assert repr(LSTM(3, 4, 2)) == "LSTM(3, 4, num_layers=2)"


def test_initialisations() -> None:
    H = 6
    eye = torch.eye(H)
    for block in torch.split(LSTM(3, H, init="orthogonal=1.5").weight_hh_l0, H):
        torch.testing.assert_close(block @ block.T, 2.25 * eye)
    relu = RNN(3, H, nonlinearity="relu", init="identity")
    assert torch.equal(relu.weight_hh_l0, eye)
    assert relu.weight_ih_l0.abs().max() < 0.01
    lstm = LSTM(3, H, init="forget_bias=2")
    assert lstm.bias_ih_l0.tolist() == [0.0] * H + [2.0] * H + [0.0] * (2 * H)
    assert not lstm.bias_hh_l0.any()
    gru = GRU(3, H, init="forget_bias")
    assert gru.bias_ih_l0.tolist() == [0.0] * H + [1.0] * H + [0.0] * H
    chrono = LSTM(3, 500, init="chrono=50")
    i, f, g, o = torch.split(chrono.bias_ih_l0, 500)
    assert torch.equal(i, -f)
    assert 0 <= f.min() < math.log(3) and math.log(45) < f.max() <= math.log(49)
    assert not g.any() and not o.any()
    chrono_gru = torch.split(GRU(3, 500, init="chrono=50").bias_ih_l0, 500)[1]
    assert chrono_gru.max() > math.log(45)
    bound = 1 / math.sqrt(500)
    uniform = GRU(3, 500).weight_hh_l0
    assert bound * 0.99 < uniform.max() <= bound


@pytest.mark.parametrize("period", [2.0, 5.0])
def test_pairs_of_units_turn_at_angles_spread_up_to_the_shortest_period(period: float) -> None:
    layer = RNN(3, 41, init=f"rotation={period:g}")
    W = layer.weight_hh_l0
    torch.testing.assert_close(W @ W.T, torch.eye(41))
    angles = torch.linalg.eigvals(W).angle().abs().sort().values[1::2]  # each pair has two, the odd unit stands still
    assert not torch.linalg.eigvals(W).angle().abs().min()
    widths = (angles / (2 * math.pi / period) * 20).floor()
    assert widths.tolist() == list(range(20))
    assert RNN(3, 4, init="rotation", device="meta").weight_hh_l0.is_meta  # as recipes ask whether a model can be built
    assert W[0, 2:].abs().max() == 0 and layer.weight_ih_l0.abs().max() < 0.06 and not layer.bias_ih_l0.any()


@pytest.mark.parametrize("init", INITIALISATIONS)
def test_every_initialisation_leaves_finite_numbers(init: str) -> None:
    with torch.no_grad():
        layer = (
            RNN(3, 4) if init in ("identity", "rotation") else LSTM(3, 4, proj_size=0 if init != "orthogonal" else 2)
        )
        for parameter in layer.parameters():
            parameter.fill_(math.nan)
    layer.init = init
    layer.reset_parameters()
    assert all(torch.isfinite(p).all() for p in layer.parameters())


REFUSED: list[tuple[str, type[ElmanError], object]] = [
    ("hidden_size must be greater than zero", SettingError, lambda: RNN(3, 0)),
    ("input_size should be of type int, got: float", SettingError, lambda: GRU(2.5, 4)),  # type: ignore[arg-type]
    ("num_layers must be greater than zero", SettingError, lambda: LSTM(3, 4, 0)),
    ("dropout should be a number in range", SettingError, lambda: LSTM(3, 4, dropout=1.5)),
    ("proj_size has to be smaller than hidden_size", SettingError, lambda: LSTM(3, 4, proj_size=4)),
    ("did you mean 'tanh'", SettingError, lambda: RNN(3, 4, nonlinearity="tanhh")),
    ("did you mean 'orthogonal'", SettingError, lambda: GRU(3, 4, init="ortogonal")),
    ("initialisation 'torch=2' cannot be read", SettingError, lambda: GRU(3, 4, init="torch=2")),
    ("initialisation 'chrono=x' cannot be read", SettingError, lambda: GRU(3, 4, init="chrono=x")),
    ("'chrono' needs the longest memory", SettingError, lambda: GRU(3, 4, init="chrono=1")),
    ("the gate that keeps the past", SettingError, lambda: RNN(3, 4, init="chrono")),
    ("i, f, g, o and bias=False", SettingError, lambda: LSTM(3, 4, bias=False, init="forget_bias")),
    ("'identity' is for the plain network", SettingError, lambda: GRU(3, 4, init="identity")),
    ("'rotation' is for the plain network", SettingError, lambda: LSTM(3, 4, init="rotation=4")),
    ("'rotation' needs the shortest period", SettingError, lambda: RNN(3, 4, init="rotation=1.5")),
    ("bidirectional layer cannot run step by step", SettingError, lambda: GRU(3, 4, bidirectional=True).step(_x(3))),
    ("cell is not a cell", SettingError, lambda: elman.Recurrent(elman.layers.gru.GRUEquations, 3, 4)),  # type: ignore[arg-type]
    ("proj_size should be of type int, got: bool", SettingError, lambda: LSTM(3, 4, proj_size=True)),
    ("dropout should be a number in range", SettingError, lambda: LSTM(3, 4, dropout="a")),  # type: ignore[arg-type]
    ("Unknown nonlinearity None", SettingError, lambda: RNN(3, 4, nonlinearity=None)),  # type: ignore[arg-type]
    ("unknown initialisation 'None'", SettingError, lambda: RNN(3, 4, init=None)),  # type: ignore[arg-type]
    ("input is not a tensor", ShapeError, lambda: GRU(3, 4)([1.0])),  # type: ignore[arg-type]
    ("the input of a step", ShapeError, lambda: GRU(3, 4).step(pack_sequence([_x(5, 3)]))),  # type: ignore[arg-type]
    (
        r"RNN hx \(h\) dtype \(torch.float64\) does not match",
        ShapeError,
        lambda: GRU(3, 4)(_x(5, 2, 3), _x(1, 2, 4).double()),
    ),
    (
        r"Expected hidden size \(1, 1, 4\), got \[4, 1, 1\]\n.*\(L\*D, H\) = \(1, 4\)\n.*\(4, 1\)",
        ShapeError,
        lambda: GRU(3, 4)(_x(5, 3), _x(4, 1)),
    ),
    (r"tuple \(Tensor, NoneType\)", ShapeError, lambda: LSTM(3, 4)(_x(5, 2, 3), (_x(1, 2, 4), None))),  # type: ignore[arg-type]
    ("hx is not a state", ShapeError, lambda: GRU(3, 4)(_x(5, 2, 3), 3)),  # type: ignore[arg-type]
    ("resets are not booleans", ShapeError, lambda: GRU(3, 4)(_x(5, 2, 3), resets=[[True]])),  # type: ignore[arg-type]
    ("the input of a step", ShapeError, lambda: GRU(3, 4).step(_x(5, 2, 3))),
    ("input_size. Expected 3, got 2", ShapeError, lambda: GRU(3, 4)(_x(5, 2, 2))),
    ("GRU: Expected input to be 2D or 3D, got 4D", ShapeError, lambda: GRU(3, 4)(_x(5, 2, 3, 1))),
    (
        r"RNN input dtype \(torch.float64\) does not match weight dtype \(torch.float32\)",
        ShapeError,
        lambda: GRU(3, 4)(_x(5, 2, 3).double()),
    ),
    (r"Expected hidden size \(1, 2, 4\), got \[1, 3, 4\]", ShapeError, lambda: GRU(3, 4)(_x(5, 2, 3), _x(1, 3, 4))),
    ("hx is not a state of this layer", ShapeError, lambda: GRU(3, 4)(_x(5, 2, 3), (_x(1, 2, 4), _x(1, 2, 4)))),
    ("hx is not a state of this layer", ShapeError, lambda: LSTM(3, 4)(_x(5, 2, 3), _x(1, 2, 4))),
    ("hx is not a state of this layer", ShapeError, lambda: LSTM(3, 4)(_x(5, 2, 3), (_x(1, 2, 4),))),
    ("lengths do not fit", ShapeError, lambda: GRU(3, 4)(_x(5, 2, 3), lengths=[5, 6])),
    ("lengths do not fit", ShapeError, lambda: GRU(3, 4)(_x(5, 2, 3), lengths=[-1, 3])),
    ("lengths has a wrong size", ShapeError, lambda: GRU(3, 4)(_x(5, 2, 3), lengths=[5])),
    ("lengths are not integers", ShapeError, lambda: GRU(3, 4)(_x(5, 2, 3), lengths=[1.5, 2.0])),  # type: ignore[list-item]
    ("lengths are for a batch", ShapeError, lambda: GRU(3, 4)(_x(5, 3), lengths=[5])),
    ("resets are not booleans", ShapeError, lambda: GRU(3, 4)(_x(5, 2, 3), resets=_x(5, 2))),
    ("resets has a wrong size", ShapeError, lambda: GRU(3, 4)(_x(5, 2, 3), resets=_x(2, 5) > 0)),
    (
        "a PackedSequence brings its own lengths",
        ShapeError,
        lambda: GRU(3, 4)(pack_sequence([_x(5, 3)]), lengths=[5]),
    ),
]


def _x(*shape: int) -> Tensor:
    return torch.ones(shape)


@pytest.mark.parametrize(("message", "kind", "call"), REFUSED, ids=[str(k) for k in range(len(REFUSED))])
def test_what_is_refused(message: str, kind: type[ElmanError], call) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(kind, match=message) as caught:
        call()
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
@pytest.mark.parametrize("batch_first", [False, True])
def test_over_symbols_is_over_their_rows(layer: elman.Recurrent, batch_first: bool) -> None:
    layer = copy.deepcopy(layer)
    layer.batch_first = batch_first
    table = torch.randn(4, 3, requires_grad=True, **torch64)
    symbols = torch.randint(4, (6, 2))
    resets = torch.rand(6, 2) < 0.3
    with torch.no_grad():
        hx = layer(torch.randn(2, 2, 3, **torch64))[1]
    if batch_first:
        symbols, resets = symbols.t().contiguous(), resets.t()
    found = []
    for run in (
        lambda: layer.over_symbols(symbols, table, hx, resets=resets),
        lambda: layer(table[symbols], hx, resets=resets),
    ):
        y, state = run()
        total = y.square().sum() + flat(state)[-1].sum()
        found.append([y, *flat(state), *torch.autograd.grad(total, [table, *layer.parameters()], allow_unused=True)])
    torch.testing.assert_close(*[[t for t in each if t is not None] for each in found], rtol=1e-11, atol=1e-12)


def test_over_symbols_says_what_does_not_fit() -> None:
    layer, symbols = elman.GRU(3, 4), torch.zeros(5, 2, dtype=torch.long)
    with pytest.raises(ShapeError, match="table has a wrong size in I"):
        layer.over_symbols(symbols, torch.zeros(9, 4))
    with pytest.raises(ShapeError, match="symbols has 3 dimensions"):
        layer.over_symbols(symbols[:, :, None], torch.zeros(9, 3))
