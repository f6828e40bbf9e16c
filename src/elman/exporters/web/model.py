"""`WebModel`: what the page needs of a run, and how its weights are written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor, nn

from elman.errors import ExportError
from elman.exporters.stack import Array, LayerStack, stack_of

CELLS = ("rnn_tanh", "rnn_relu", "rnn_sigmoid", "rnn_identity", "gru", "lstm")
"""The cells of `cells.js`, by the names of their kernels."""

WEIGHTS = "weights.bin"


@dataclass
class WebModel:
    """A model as the page computes it.

    Attributes:
        fields: of the manifest, in types that JSON has.
        tensors: float32 arrays by name.
    """

    fields: dict[str, Any]
    tensors: dict[str, Array] = field(default_factory=dict)

    def add(self, name: str, tensor: Tensor | Array | None) -> None:
        """Add a tensor; None is none.

        Raises:
            ExportError: a number is not finite.
        """
        if tensor is None:
            return
        array = tensor.detach().cpu().numpy() if isinstance(tensor, Tensor) else tensor
        array = np.ascontiguousarray(array, np.float32)
        if not np.isfinite(array).all():
            raise ExportError(
                f"the model has a number in {name} that float32 cannot hold",
                should="finite weights",
                found="a weight that is infinite or not a number",
                hint="train again, with a smaller learning rate",
            )
        self.tensors[name] = array

    def add_linear(self, name: str, layer: Any) -> None:
        """Add the weight and the bias of a linear layer."""
        self.add(f"{name}.weight", layer.weight)
        self.add(f"{name}.bias", layer.bias)

    def add_recurrent(self, layer: nn.Module) -> None:
        """Add recurrent layers.

        Raises:
            ExportError: the page does not have their cell.
        """
        stack = stack_of(layer)
        check_cell(stack)
        self.fields["recurrent"] = {
            "cell": stack.equations.kernel,
            "input_size": stack.input_size,
            "hidden_size": stack.hidden_size,
            "layers": len(stack.layers),
            "directions": stack.num_directions,
            "learned": stack.initial is not None,
        }
        for n, row in enumerate(stack.layers):
            for d, weights in enumerate(row.directions):
                for name in ("U", "W", "b", "b_hidden"):
                    self.add(f"recurrent.{n}.{d}.{name}", getattr(weights, name))
        for k, rows in enumerate(stack.initial or ()):
            self.add(f"recurrent.initial.{k}", rows)

    @property
    def parameters(self) -> int:
        """How many numbers the model has."""
        return sum(array.size for array in self.tensors.values())

    def weights(self) -> tuple[bytes, dict[str, Any]]:
        """Return the bytes of the weights, and where in them each tensor is."""
        parts = [array.astype("<f4").tobytes() for array in self.tensors.values()]
        places = list(self._places())
        content = b"".join(parts)
        digest = hashlib.sha256(content).hexdigest()
        return content, {"file": WEIGHTS, "bytes": len(content), "sha256": digest, "tensors": places}

    def _places(self) -> Iterator[dict[str, Any]]:
        offset = 0
        for name, array in self.tensors.items():
            yield {"name": name, "shape": list(array.shape), "offset": offset}
            offset += 4 * array.size


def check_cell(stack: LayerStack) -> None:
    """Check that the page has the cell of recurrent layers.

    Raises:
        ExportError: it does not, or the layers have a projection.
    """
    if stack.equations.kernel not in CELLS:
        raise ExportError(
            f"the target web does not have the cell of {stack.title}",
            should=f"one of {', '.join(CELLS)}",
            found=type(stack.equations).__name__,
            hint="another target, or a run with cell=lstm, gru or rnn",
        )
    if stack.projection_size is not None:
        raise ExportError(
            f"the target web has no projection, as {stack.title} has",
            should="layers without a projection",
            found=f"proj_size={stack.projection_size}",
            hint="another target, such as onnx",
        )


def vocabulary_fields(vocabulary: Any) -> dict[str, Any]:
    """Return a vocabulary as the page reads it: its kind and symbols, and of byte pairs the merges."""
    fields = vocabulary.to_json()
    if vocabulary.kind != "bpe":
        return {name: fields[name] for name in ("kind", "symbols") if name in fields}
    symbols = sorted(fields["model"]["vocab"], key=fields["model"]["vocab"].__getitem__)
    merges = [pair.split(" ") if isinstance(pair, str) else list(pair) for pair in fields["model"]["merges"]]
    characters = bool(fields["model"].get("byte_fallback"))
    return {"kind": "bpe", "symbols": symbols, "merges": merges, "characters": characters}
