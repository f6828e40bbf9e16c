"""Teacher forcing: inputs and labels by a loop."""

import torch

from elman.modules.teacher_forcing import teacher_forcing


def test_inputs_and_labels() -> None:
    target_TB = torch.tensor([[4, 2, -100], [1, -100, -100]])
    input_TB, label_TB = teacher_forcing(target_TB, 7)
    for b, symbols in enumerate(([4, 1], [2], [])):
        count = len(symbols) + 1
        assert input_TB[:count, b].tolist() == [7, *symbols]
        assert label_TB[:, b].tolist() == [*symbols, 7, *[-100] * (3 - count)]
    assert (input_TB >= 0).all() and target_TB[1, 1] == -100


def test_no_symbols() -> None:
    input_TB, label_TB = teacher_forcing(torch.zeros(0, 2, dtype=torch.long), 3)
    assert input_TB.tolist() == label_TB.tolist() == [[3, 3]]
