"""Write a cell of your own, hold it to the laws, and train it: the minimal gated unit (Zhou et al., 2016)."""

import torch
from torch import Tensor, nn

import elman
from elman.testing import check_cell


class MinimalGatedCell(elman.Cell):
    """f = sigmoid(U_f x + W_f h), n = tanh(U_n x + W_n h), h' = (1 - f) * h + f * n. At f = 1 the past is gone."""

    gates = ("f", "n")

    def step(self, gx_BGH: Tensor, gh_BGH: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        (h_BH,) = state
        f = torch.sigmoid(gx_BGH[:, 0] + gh_BGH[:, 0])
        n = torch.tanh(gx_BGH[:, 1] + gh_BGH[:, 1])
        return ((1 - f) * h_BH + f * n,)


check_cell(MinimalGatedCell)
print("the cell keeps the laws: cut anywhere, step by step, padding, resets, batch order, gradients")

torch.manual_seed(0)
layer, output = elman.Recurrent(MinimalGatedCell(), 1, 24), nn.Linear(24, 1)
optimiser = torch.optim.Adam([*layer.parameters(), *output.parameters()], lr=0.01)
for step in range(151):
    x_TBI = torch.randn(15, 32, 1)
    y_TBH, _ = layer(x_TBI)
    loss = nn.functional.mse_loss(output(y_TBH), x_TBI.cumsum(0) / 4)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    if step % 50 == 0:
        print(f"step {step:3d}   squared error of the running sum: {loss.item():.3f}")
