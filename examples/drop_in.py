"""Put elman's layers into a model that exists, and use what torch's do not have."""

import torch
from torch import nn

import elman


class Tagger(nn.Module):
    """A stock model: an embedding, a bidirectional LSTM of torch's, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(100, 16)
        self.lstm = nn.LSTM(16, 32, bidirectional=True)
        self.output = nn.Linear(64, 5)

    def forward(self, tokens_TB: torch.Tensor) -> torch.Tensor:
        return self.output(self.lstm(self.embedding(tokens_TB))[0])


torch.manual_seed(0)
model = Tagger()
tokens = torch.randint(0, 100, (20, 4))
before = model(tokens)
print(elman.accelerate(model))
print(f"largest difference: {(model(tokens) - before).abs().max():.1e}")

# Sequences of different lengths, in any order, without packing.
layer = elman.GRU(16, 32)
output, state = layer(torch.randn(20, 3, 16), lengths=[5, 20, 11])
print(f"beyond its end a row is zero: {output[5:, 0].abs().max():.1f}")

# One step at a time, for ever: the same numbers as the whole sequence.
sequence = torch.randn(20, 1, 16)
whole, _ = layer(sequence)
state = None
for x in sequence:
    y, state = layer.step(x, state)
print(f"the last step against the whole: {(y - whole[-1]).abs().max():.1e}")
print(elman.explain(layer, sequence))
