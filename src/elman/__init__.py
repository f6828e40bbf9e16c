"""Recurrent neural networks on PyTorch: train, explain, and run for ever on a stream.

The public names are listed in `__init__.pyi` and are looked up when they are first used, as are the rooms, the packages
and modules beside this file: `import elman` loads nothing, and `elman --help` is quick.
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

__version__ = "0.1.0"

_STUB = Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8")
_HOMES = {name: home for home, name in re.findall(r"^from (\S+) import \w+ as (\w+)$", _STUB, re.MULTILINE)}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = globals()[name] = getattr(import_module(_HOMES[name]), name)
        return value
    if name in _rooms():
        return import_module(f"elman.{name}")
    raise AttributeError(f"module 'elman' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_rooms(), "__version__"])


def _rooms() -> list[str]:
    return [module.name for module in iter_modules(__path__) if not module.name.startswith("_")]
