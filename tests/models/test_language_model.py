"""The language model: against torch's own parts, cut anywhere, and with every option."""

import pytest
import torch
from torch.nn import functional

from elman.errors import SettingError
from elman.kernels import output_layer
from elman.models.language_model import LanguageModel
from elman.modules.softmax import IGNORE_INDEX

SMALL = {"embedding": 5, "hidden": 7, "layers": 2}


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("cutoffs", [(), (3, 6)])
def test_pieces_and_single_steps_equal_the_whole(cell: str, cutoffs: tuple) -> None:
    torch.manual_seed(1)
    model = LanguageModel(11, cell=cell, cutoffs=cutoffs, **SMALL).double().eval()
    input_TB = torch.randint(11, (9, 3))
    whole_TBV, _ = model(input_TB)
    first_TBV, state = model(input_TB[:4])
    second_TBV, _ = model(input_TB[4:], state)
    torch.testing.assert_close(torch.cat([first_TBV, second_TBV]), whole_TBV)
    state = None
    for t in range(9):
        logits_BV, state = model.step(input_TB[t], state)
        torch.testing.assert_close(logits_BV, whole_TBV[t])


@pytest.mark.parametrize("cutoffs", [(), (3, 6)])
def test_nats_are_the_cross_entropy_of_the_logits(cutoffs: tuple) -> None:
    torch.manual_seed(1)
    model = LanguageModel(11, cutoffs=cutoffs, **SMALL).double()
    input_TB, target_TB = torch.randint(11, (6, 2)), torch.randint(11, (6, 2))
    target_TB[2, 1] = IGNORE_INDEX
    logits_TBV, _ = model(input_TB)
    p_TBV = torch.softmax(logits_TBV, -1)
    by_hand = sum(
        -torch.log(p_TBV[t, b, target_TB[t, b]]) for t in range(6) for b in range(2) if target_TB[t, b] != IGNORE_INDEX
    )
    torch.testing.assert_close(model.nats(input_TB, target_TB)[0], by_hand)


def test_evaluation_splits_the_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    model = LanguageModel(11, **SMALL).double()
    input_TB, target_TB = torch.randint(11, (6, 2)), torch.randint(11, (6, 2))
    target_TB[2, 1] = IGNORE_INDEX
    expected, _ = model.nats(input_TB, target_TB)
    sizes = []
    linear = functional.linear
    monkeypatch.setattr(functional, "linear", lambda s_NH, *rest: sizes.append(len(s_NH)) or linear(s_NH, *rest))
    monkeypatch.setattr(output_layer, "MAX_LOGITS", 60)
    monkeypatch.setattr(output_layer, "refusal", lambda *_: "torch's operators are tested")
    with torch.no_grad():
        torch.testing.assert_close(model.nats(input_TB, target_TB)[0], expected)
    assert sizes == [5, 5, 2]


def test_the_equations_with_torch_alone() -> None:
    torch.manual_seed(1)
    model = LanguageModel(11, cell="lstm", **SMALL).double()
    judge = torch.nn.LSTM(5, 7, 2).double()
    judge.load_state_dict(model.recurrent.state_dict())
    input_TB = torch.randint(11, (6, 2))
    y_TBH, _ = judge(model.embedding.weight[input_TB])
    expected = functional.linear(y_TBH, model.output.weight, model.output.bias)
    torch.testing.assert_close(model(input_TB)[0], expected)


def test_a_reset_restarts_the_state() -> None:
    torch.manual_seed(1)
    model = LanguageModel(11, learn_initial_state=True, **SMALL).double()
    input_TB = torch.randint(11, (6, 1))
    resets_TB = torch.zeros(6, 1, dtype=torch.bool)
    resets_TB[4] = True
    together, _ = model(input_TB, resets=resets_TB)
    torch.testing.assert_close(together[4:], model(input_TB[4:])[0])


def test_tied_weights_are_stored_once() -> None:
    model = LanguageModel(11, embedding=7, hidden=7, tie_weights=True)
    assert [name for name in model.state_dict() if name.startswith("output")] == ["output.bias"]
    model.nats(torch.zeros(2, 1, dtype=torch.long), torch.ones(2, 1, dtype=torch.long))[0].backward()
    # Every symbol's vector has a gradient through the output, though one symbol alone was read.
    assert bool((model.embedding.weight.grad != 0).any(dim=1).all())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cell": "lsmt"}, "did you mean 'lstm'?"),
        ({"tie_weights": True}, "--set embedding=7"),
        ({"cutoffs": (6, 3)}, "cutoffs of the adaptive softmax do not fit"),
        ({"cutoffs": (3, 11)}, "from 1 to 10"),
        ({"cutoffs": (0,)}, "from 1 to 10"),
    ],
)
def test_invalid_arguments(options: dict, message: str) -> None:
    with pytest.raises(SettingError) as error:
        LanguageModel(11, **{**SMALL, **options})
    assert message in str(error.value)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("tied", [False, True])
def test_small_vocabularies_skip_the_embedding_with_the_same_result(cell: str, tied: bool) -> None:
    torch.manual_seed(1)
    options = {"embedding": 8, "hidden": 8, "layers": 2, "tie_weights": tied, "learn_initial_state": True}
    model = LanguageModel(5, cell=cell, **options).double()
    input_TB, target_TB = torch.randint(5, (2, 6, 3))
    resets = torch.rand(6, 3) < 0.3
    calls, results = [], []
    for watched in (False, True):
        handle = model.embedding.register_forward_hook(lambda *_: calls.append(1)) if watched else None
        model.zero_grad()
        nats, state = model.nats(input_TB, target_TB, resets=resets)
        last = state[0] if isinstance(state, tuple) else state
        (nats + last.sum()).backward()
        results.append([nats, last, *(p.grad for p in model.parameters())])
        assert bool(calls) == watched
        if handle is not None:
            handle.remove()
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("change", ["no gradients", "dropout", "many symbols", "a hook of the layers"])
def test_other_cases_use_the_embedding(change: str) -> None:
    model = LanguageModel(9 if change == "many symbols" else 5, **{**SMALL, "embedding": 8})
    called = []
    plain = type(model.embedding).forward
    model.embedding_dropout.probability = 0.5 if change == "dropout" else 0.0
    if change == "a hook of the layers":
        model.recurrent.register_forward_hook(lambda *_: None)
    with torch.set_grad_enabled(change != "no gradients"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(model.embedding), "forward", lambda self, ids: (called.append(1), plain(self, ids))[1])
        model(torch.randint(5, (4, 2)))
    assert called
