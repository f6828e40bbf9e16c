"""The checkpoint: everything that a new process needs to resume exactly."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from elman.errors import BrokenRun
from elman.storage import tensors
from elman.storage.files import disk_errors, is_dir, sync_folder
from elman.training.optimiser import restore_state

LARGEST_REST = 1 << 30
"""The most bytes of a checkpoint beside the weights and what the optimiser keeps of each: states, random generators."""

_MODEL = "/model/"  # what the names of the weights begin with


def random_states() -> dict[str, Any]:
    """Return the states of the random generators that training draws from, as a tree of tensors and JSON."""
    version, numbers, gauss = random.getstate()
    states: dict[str, Any] = {"torch": torch.get_rng_state(), "python": [version, list(numbers), gauss]}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def restore_random_states(states: dict[str, Any]) -> None:
    """Restore the random generators to what `random_states` returned."""
    version, numbers, gauss = states["python"]
    random.setstate((version, tuple(numbers), gauss))
    torch.set_rng_state(states["torch"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda"])


def save(path: Path, *, model: nn.Module, optimiser: Optimizer, carried: Any, state: dict[str, Any]) -> None:
    """Write a checkpoint atomically: what `load` reads, and the weights, buffers and states that it restores."""
    with disk_errors(path):
        if not is_dir(path.parent):
            path.parent.mkdir()
            sync_folder(path.parent.parent)
    own: dict[str, torch.Tensor] = {}
    tree = {"model": dict(model.state_dict()), "optimiser": optimiser.state_dict()}
    tree |= {"carried": carried, "random": random_states(), "memory": state}
    tensors.write(path, own, tensors.flatten(tree, "", own))


def load(path: Path, *, model: nn.Module, optimiser: Optimizer) -> tuple[Any, dict[str, Any]]:
    """Read a checkpoint into a model, an optimiser and the random generators.

    Returns:
        carried: the tree of tensors that the next batch begins with, on the model's device.
        state: the rest of the state of training.

    Raises:
        RunError: the file is broken, or belongs to another model.
    """
    shapes, _ = tensors.header(path)
    own_shapes = {name: shape for name, shape in shapes.items() if name.startswith(_MODEL)}
    state = model.state_dict()
    tensors.refuse_other_shapes(path, {_MODEL + name: tuple(t.shape) for name, t in state.items()}, own_shapes)
    largest = LARGEST_REST + 16 * sum(tensor.nbytes for tensor in state.values())
    if (size := path.stat().st_size) > largest:
        raise BrokenRun(f"{path} is too large", should=f"at most {largest:,} bytes", found=f"{size:,} bytes")
    own, skeleton = tensors.read(path)
    try:
        tree = tensors.unflatten(skeleton, own)
        model.load_state_dict(tree["model"])
        restore_state(optimiser, tree["optimiser"]["state"])
        restore_random_states(tree["random"])
        device = next((p.device for p in model.parameters()), torch.device("cpu"))
        return to_device(tree["carried"], device), dict(tree["memory"])
    except (LookupError, ValueError, TypeError, AttributeError, RuntimeError, ArithmeticError) as error:
        raise BrokenRun(
            f"{path} does not fit the run",
            should="the checkpoint of this model and optimiser",
            found=str(error).splitlines()[0] if str(error) else type(error).__name__,
        ) from error


def to_device(tree: Any, device: torch.device) -> Any:
    """Return a tree with its tensors on `device`."""
    return map_tensors(tree, lambda tensor: tensor.to(device))


def detach(tree: Any) -> Any:
    """Return a tree whose tensors carry no gradient: the boundary of truncated backpropagation."""
    return map_tensors(tree, torch.Tensor.detach)


def map_tensors(tree: Any, change: Any) -> Any:
    """Return a tree with `change` applied to each tensor; named tuples stay what they are."""
    if isinstance(tree, torch.Tensor):
        return change(tree)
    if isinstance(tree, dict):
        return {key: map_tensors(value, change) for key, value in tree.items()}
    if isinstance(tree, tuple):
        parts = [map_tensors(value, change) for value in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
    if isinstance(tree, list):
        return [map_tensors(value, change) for value in tree]
    return tree
