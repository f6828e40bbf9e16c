"""`torch.compile` of layers that are instances of torch.nn's.

Dynamo leaves every instance of torch.nn.RNN, GRU and LSTM out of the graph unless its setting `allow_rnn` is on: it
would unroll torch's own over time. Elman's are one operator. So the setting is put on where dynamo is or gets
imported, which a program can undo: `torch._dynamo.config.allow_rnn = False`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

CONFIG = "torch._dynamo.config"


class _Finder(MetaPathFinder):
    """Changes one setting when a module is imported, and finds no other."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != CONFIG:
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(Loader):
    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        module.allow_rnn = True  # type: ignore[attr-defined]


if CONFIG in sys.modules:
    sys.modules[CONFIG].allow_rnn = True  # type: ignore[attr-defined]
else:
    sys.meta_path.insert(0, _Finder())
