"""What a user may set of the GPU engine, for the process or for a block."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from elman.errors import unknown_name


@dataclass(frozen=True)
class Settings:
    """How the engine runs. Numbers in TF32 are torch's to allow: `torch.backends.cuda.matmul.allow_tf32`."""

    recompute: bool = False  # gates are computed again in the backward pass, by one product, instead of being kept
    tier: int | None = None  # 1, 2 or 3 wherever it is possible; None lets the sizes decide


_settings = Settings()


def settings() -> Settings:
    """Return the settings in force."""
    return _settings


class use:  # noqa: N801  (it is used like elman.strict)
    """Change settings: `use(recompute=True)` for the process, `with use(recompute=True):` until the end of the block.

    Raises:
        SettingError: a name that is none of `Settings`.
    """

    def __init__(self, **changes: object) -> None:
        global _settings
        known = {field.name for field in dataclasses.fields(Settings)}
        for name in changes:
            if name not in known:
                raise unknown_name("setting of the GPU engine", name, known)
        self._before = _settings
        _settings = dataclasses.replace(_settings, **changes)  # type: ignore[arg-type]

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        global _settings
        _settings = self._before
