"""`torch.compile` of layers that are instances of torch.nn's.

Dynamo leaves every instance of torch.nn.RNN, GRU and LSTM out of the graph unless its setting `allow_rnn` is on: it
would unroll torch's own over time. Elman's are one operator. So the setting is put on where dynamo is or gets
imported, which a program can undo: `torch._dynamo.config.allow_rnn = False`.
"""

from __future__ import annotations

from types import ModuleType

from elman.kernels.late import when_imported

CONFIG = "torch._dynamo.config"


def _allow(config: ModuleType) -> None:
    config.allow_rnn = True  # type: ignore[attr-defined]


when_imported(CONFIG, _allow)
