"""Options of the GPU engine, for the process or for a block."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from elman.errors import unknown_name


@dataclass(frozen=True)
class EngineOptions:
    """How the engine runs. Numbers in TF32 are torch's to allow: `torch.backends.cuda.matmul.allow_tf32`.

    Attributes:
        recompute: gates are computed again in the backward pass, by one product, instead of being kept.
        tier: 1, 2 or 3 wherever it is possible; None lets the sizes decide.
    """

    recompute: bool = False
    tier: int | None = None


_options = EngineOptions()


def options() -> EngineOptions:
    """Return the options in force."""
    return _options


class use:  # noqa: N801  (it is used like elman.strict)
    """Change options: `use(recompute=True)` for the process, `with use(recompute=True):` until the end of the block.

    Raises:
        SettingError: a name that is not a field of `EngineOptions`.
    """

    def __init__(self, **changes: object) -> None:
        global _options
        known = {field.name for field in dataclasses.fields(EngineOptions)}
        for name in changes:
            if name not in known:
                raise unknown_name("option of the GPU engine", name, known)
        self._before = _options
        _options = dataclasses.replace(_options, **changes)  # type: ignore[arg-type]

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        global _options
        _options = self._before
