"""Pretrained weights in a safetensors file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from elman.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor


def read_pretrained_weights(path: Path, shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """Return the tensors of these names; others in the file are left alone.

    Args:
        path: a safetensors file.
        shapes: the shape of each.

    Raises:
        DataError: the file is missing, broken or no safetensors file, or a tensor is missing, has another shape, or is
            not of finite numbers.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            names = set(file.keys())
            tensors = {name: file.get_tensor(name) for name in shapes if name in names}
    except (OSError, SafetensorError) as error:
        raise DataError(
            f"the weights {path} cannot be read",
            should="a safetensors file",
            found=str(error)[:200],
            hint="safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')",
        ) from error
    for name, shape in shapes.items():
        if name not in tensors or tuple(tensors[name].shape) != tuple(shape):
            raise DataError(
                f"the weights {path} are of another network",
                should=f"{name} of shape {tuple(shape)}",
                found=f"shape {tuple(tensors[name].shape)}" if name in tensors else "no such tensor",
                hint="another --set encoder",
            )
        if not tensors[name].is_floating_point() or not bool(tensors[name].isfinite().all()):
            raise DataError(
                f"the weights {path} are broken",
                should=f"{name} of finite numbers with fractions",
                found="nan or infinity" if tensors[name].is_floating_point() else str(tensors[name].dtype),
                hint="save them again",
            )
    return tensors
