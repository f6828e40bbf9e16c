"""Weights that others trained, out of a safetensors file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from elman.errors import DataError


def read_pretrained_weights(path: Path, wanted: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """Return the tensors of these names; others in the file are left alone.

    Args:
        path: a safetensors file.
        wanted: the shape of each.

    Raises:
        DataError: the file is missing, broken or no safetensors file, or a tensor is missing, has another shape, or is
            not of finite numbers.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            there = set(file.keys())
            found = {name: file.get_tensor(name) for name in wanted if name in there}
    except (OSError, SafetensorError) as error:
        raise DataError(
            f"the weights {path} cannot be read",
            should="a safetensors file",
            found=str(error)[:200],
            hint="safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')",
        ) from error
    for name, shape in wanted.items():
        if name not in found or tuple(found[name].shape) != tuple(shape):
            raise DataError(
                f"the weights {path} are of another network",
                should=f"{name} of shape {tuple(shape)}",
                found=f"shape {tuple(found[name].shape)}" if name in found else "no such tensor",
                hint="another --set encoder",
            )
        if not found[name].is_floating_point() or not bool(found[name].isfinite().all()):
            raise DataError(
                f"the weights {path} are broken",
                should=f"{name} of finite numbers with fractions",
                found="nan or infinity" if found[name].is_floating_point() else str(found[name].dtype),
                hint="save them anew",
            )
    return found
