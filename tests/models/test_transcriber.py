"""The transcriber: rows are independent, streams equal the whole, and the losses by their formulas."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from elman.errors import SettingError
from elman.models.transcriber import Transcriber, flat_start_loss


def built(**options: object) -> Transcriber:
    torch.manual_seed(1)
    model = Transcriber(3, 4, mean=[0.0, 1.0, -1.0], deviation=[1.0, 2.0, 0.5], hidden=5, **options)  # type: ignore[arg-type]
    return model.double().eval()


@pytest.mark.parametrize("options", [{"streaming": True}, {"utterance_norm": True}, {"gain_control": True}, {}])
def test_rows_are_independent(options: dict[str, bool]) -> None:
    model = built(**options)
    lengths = [9, 4, 1, 0]
    x_TBI = torch.full((11, 4, 3), 1e6, dtype=torch.float64)
    alone = [torch.randn(n, 3, dtype=torch.float64) for n in lengths]
    for b, x_TI in enumerate(alone):
        x_TBI[: len(x_TI), b] = x_TI
    logits_TBV, steps_B = model(x_TBI, torch.tensor(lengths))
    assert steps_B.tolist() == [4, 2, 0, 0]
    for b, x_TI in enumerate(alone[:2]):
        own_TBV, _ = model(x_TI[:, None], torch.tensor([len(x_TI)]))
        torch.testing.assert_close(own_TBV[:, 0], logits_TBV[: steps_B[b], b], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("gain_control", [True, False])
@given(pieces=st.lists(st.integers(0, 6), min_size=1, max_size=4))
def test_a_stream_equals_the_whole(gain_control: bool, pieces: list[int]) -> None:
    model = built(streaming=True, gain_control=gain_control)
    x_TBI = torch.randn(sum(pieces), 1, 3, dtype=torch.float64)
    whole, steps = model(x_TBI, torch.tensor([len(x_TBI)]))
    state, chunks = None, []
    for piece in x_TBI.split(pieces):
        logits, state = model.forward_chunk(piece, state)
        chunks.append(logits)
    torch.testing.assert_close(torch.cat(chunks), whole[: int(steps)], rtol=1e-10, atol=1e-10)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4)), min_size=1, max_size=4))
def test_the_flat_start_loss_by_a_loop(sizes: list[tuple[int, int]]) -> None:
    torch.manual_seed(1)
    nats_TBV, symbols_BS = torch.rand(9, len(sizes), 5, dtype=torch.float64), torch.randint(1, 5, (len(sizes), 4))
    expected = 0.0
    for b, (steps, size) in enumerate(sizes):
        shares = [[float(nats_TBV[t, b, symbols_BS[b, t * size // steps]]) for t in range(steps)]] if size else []
        expected += sum(size * sum(share) / steps for share in shares if share)
    steps_B, sizes_B = torch.tensor(sizes).T
    torch.testing.assert_close(float(flat_start_loss(nats_TBV, steps_B, symbols_BS, sizes_B)), expected)


@pytest.mark.parametrize("symbols", [[[], []], [[99], [-7]]])
def test_empty_targets_have_no_loss(symbols: list[list[int]]) -> None:
    nats_TBV, none_B = torch.full((3, 2, 5), torch.inf), torch.zeros(2, dtype=torch.long)
    symbols_BS = torch.tensor(symbols, dtype=torch.long)
    assert flat_start_loss(nats_TBV, torch.tensor([3, 2]), symbols_BS, none_B).item() == 0


def test_the_loss_mixes_ctc_and_flat_start() -> None:
    model = built()
    batch = torch.randn(8, 2, 3), torch.tensor([8, 6]), torch.tensor([[3, 0], [2, 0]]), torch.tensor([2, 1])
    ctc, flat, mixed = (
        model.loss(batch[0].double(), *batch[1:], flat_start=share).item() for share in (0.0, 1.0, 0.25)
    )
    logits_TBV, steps_B = model(batch[0].double(), batch[1])
    assert flat == pytest.approx(flat_start_loss(-logits_TBV.log_softmax(2), steps_B, batch[2] + 1, batch[3]).item())
    assert mixed == pytest.approx(0.25 * flat + 0.75 * ctc) and ctc != pytest.approx(flat)


def test_the_loss_is_the_sum_over_all_paths() -> None:
    model = built()
    x_TBI = torch.randn(8, 2, 3, dtype=torch.float64)
    target_BS, sizes_B = torch.tensor([[3, 0], [2, 0]]), torch.tensor([2, 1])
    loss = model.loss(x_TBI, torch.tensor([8, 6]), target_BS, sizes_B)
    log_p_TBV = model(x_TBI, torch.tensor([8, 6]))[0].log_softmax(2)
    total = torch.zeros((), dtype=torch.float64)
    for b, (steps, target) in enumerate([(4, (4, 1)), (3, (3,))]):
        paths = torch.cartesian_prod(*[torch.arange(5)] * steps)
        collapsed = [torch.unique_consecutive(path) for path in paths]
        path_log_p = [
            log_p_TBV[range(steps), b, path].sum()
            for path, symbols in zip(paths, collapsed, strict=True)
            if tuple(symbols[symbols != 0].tolist()) == target
        ]
        total = total - torch.stack(path_log_p).logsumexp(0)
    torch.testing.assert_close(loss, total)


def test_augmentation_in_training_only() -> None:
    model = built(
        utterance_norm=True, max_time_stretch=0.3, max_frequency_warp=0.3, mask_steps=3, mask_features=1, dropout=0.0
    )
    x_TBI, lengths_B = torch.randn(12, 2, 3, dtype=torch.float64), torch.tensor([12, 9])
    plain = built(utterance_norm=True)(x_TBI, lengths_B)[0]
    torch.testing.assert_close(model(x_TBI, lengths_B)[0], plain)
    varied = model.train()(x_TBI, lengths_B)[0]
    assert varied.shape != plain.shape or not torch.allclose(varied, plain)


def test_utterance_norm_ignores_location_and_scale() -> None:
    model, x_TBI = built(utterance_norm=True), torch.randn(8, 1, 3, dtype=torch.float64)
    lengths_B = torch.tensor([8])
    torch.testing.assert_close(model(3 * x_TBI + 5, lengths_B)[0], model(x_TBI, lengths_B)[0], atol=1e-3, rtol=1e-3)


def test_gain_control_ignores_the_level() -> None:
    x_TBI, lengths_B = torch.randn(8, 1, 3, dtype=torch.float64), torch.tensor([8])
    model = built(streaming=True, gain_control=True)
    torch.testing.assert_close(model(x_TBI - 7, lengths_B)[0], model(x_TBI, lengths_B)[0])
    assert not torch.allclose(
        built(streaming=True)(x_TBI - 7, lengths_B)[0], built(streaming=True)(x_TBI, lengths_B)[0]
    )


def test_invalid_arguments() -> None:
    with pytest.raises(SettingError, match="two normalisations"):
        built(gain_control=True, utterance_norm=True)
    with pytest.raises(SettingError, match="a stream cannot be normalised by its own mean"):
        built(streaming=True, utterance_norm=True)
    with pytest.raises(SettingError, match="cannot stream"):
        built().forward_chunk(torch.zeros(2, 1, 3, dtype=torch.float64))
    with pytest.raises(SettingError, match="mean and deviation do not match"):
        Transcriber(3, 4, mean=[0.0], deviation=[1.0])


def test_stretching_leaves_room_for_the_target() -> None:
    model = built(max_time_stretch=0.5, dropout=0.0).train()
    x_TBI, target_BS = torch.randn(10, 1, 3, dtype=torch.float64), torch.tensor([[1, 1, 2, 3]])  # all 5 steps
    for _ in range(8):
        assert model.loss(x_TBI, torch.tensor([10]), target_BS, torch.tensor([4])).item() > 0
    lengths = {int(model(x_TBI, torch.tensor([10]))[1]) for _ in range(8)}
    assert min(lengths) < 5
