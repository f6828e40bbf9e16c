"""The device of a training run."""

from __future__ import annotations

import torch

from elman.errors import SettingError


def choose_device(name: str) -> torch.device:
    """Return the device of a name; "auto" is a GPU if there is one, else the CPU.

    Raises:
        SettingError: this machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
        return device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise SettingError(
            f"device {name!r} is not available",
            should="auto, cpu, or a GPU of this machine",
            found=str(error).splitlines()[0],
            hint="--set device=auto",
        ) from error
