"""Where a model runs."""

from __future__ import annotations

import torch

from elman.errors import SettingError


def choose_device(name: str) -> torch.device:
    """Return the device of a name; "auto" is a GPU where there is one, else the CPU.

    Raises:
        SettingError: there is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
        return device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise SettingError(
            f"there is no device {name!r} here",
            should="auto, cpu, or a GPU of this machine",
            found=str(error).splitlines()[0],
            hint="--set device=auto",
        ) from error
