"""The target `rtneural`: a model as JSON for RTNeural, which runs networks in audio plug-ins, with test vectors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from elman.errors import ExportError
from elman.exporters.chain import Chain, chain_of
from elman.exporters.chain_cases import ChainCase, comparable, layer_inputs, model_inputs
from elman.exporters.layer_cases import widened
from elman.exporters.parity import ParityReport, compare
from elman.exporters.rtneural.model_json import model_json, run_json
from elman.exporters.rtneural.program import check_program
from elman.exporters.stack import OWN, Array, LayerStack
from elman.exporters.target import ModelInputs, Target
from elman.settings import Settings, setting
from elman.storage.files import write_text

BOUND = 1e-5
"""The largest relative difference of RTNeural's equations over the written numbers from the original."""


@dataclass(frozen=True, kw_only=True)
class RTNeuralOptions(Settings):
    """What the target may be told."""

    precision: str = setting("float32", "of the weights", choices=("float32",))


def write_layer(layer: nn.Module, folder: Path, options: RTNeuralOptions) -> ParityReport:
    """Write a layer for RTNeural, and compare it with the layer."""
    chain = chain_of(layer)
    check_chain(chain)
    return write_chain(chain, folder, layer_inputs(layer, chain))


def write_model(model: nn.Module, folder: Path, options: RTNeuralOptions, inputs: ModelInputs) -> ParityReport:
    """Write a model of layers in sequence for RTNeural, and compare it with the model."""
    chain = chain_of(model)
    check_chain(chain)
    return write_chain(chain, folder, model_inputs(model, chain, inputs.inputs))


def write_chain(chain: Chain, folder: Path, cases: Sequence[ChainCase]) -> ParityReport:
    """Write `model.json`, `input.csv`, `output.csv` and `check.cpp`, and compare the JSON with the original.

    The vectors are the first sequence of the longest case.

    Raises:
        ExportError: the original gives the output of the last step alone.
    """
    cases, remarks = comparable(cases)
    longest = max(cases, key=lambda case: len(case.x))
    if longest.y.ndim != 3:
        raise ExportError(
            "the model gives the last output alone", should="an output at each step, as plug-ins need it",
            found=f"an output {longest.y.shape}", hint="a model that gives the outputs of all steps, or --to onnx",
        )  # fmt: skip
    write_text(folder / "model.json", json.dumps(model_json(chain), allow_nan=False) + "\n")
    write_text(folder / "input.csv", _csv(longest.x[:, 0]))
    write_text(folder / "output.csv", _csv(longest.y[:, 0]))
    write_text(folder / "check.cpp", check_program(chain))
    model = json.loads((folder / "model.json").read_text())
    title = "y of model.json, by RTNeural's equations in NumPy"
    rows = [
        compare(
            title,
            case.title,
            case.y,
            run_json(model, case.x),
            widened(BOUND, case.rounding),
            least_size=case.least_size,
        )
        for case in cases
    ]
    remark = "RTNeural itself was not run: check.cpp compares what it computes for input.csv with output.csv"
    return ParityReport("rtneural", "float32", tuple(rows), (), (remark, *remarks))


def check_chain(chain: Chain) -> None:
    """Refuse what RTNeural has not.

    Raises:
        ExportError: with the option and what can be done.
    """
    stack = chain.stack
    reasons = {
        "bidirectional=True, whose output at a step depends on all later ones": (stack.num_directions == 2, "onnx"),
        f"the cell {type(stack.equations).__name__}": (stack.cell not in ("gru", "lstm"), _target_of(stack)),
        f"proj_size={stack.projection_size}": (stack.projection_size is not None, "c"),
        "learn_initial_state=True": (stack.initial is not None, "c"),
        "an Embedding": (chain.embedding is not None, "c"),
    }
    for option, (refused, other) in reasons.items():
        if refused:
            raise ExportError(
                f"{chain.title} cannot be exported to RTNeural",
                should="GRU or LSTM layers in one direction, from a state of zeros, and dense layers",
                found=option, hint=f"--to {other}",
            )  # fmt: skip


def _target_of(stack: LayerStack) -> str:
    return "onnx" if stack.cell == OWN else "c"


def _csv(rows: Array) -> str:
    return "".join(",".join(f"{float(number):.9g}" for number in row) + "\n" for row in rows)


TARGET = Target("rtneural", RTNeuralOptions, layer=write_layer, model=write_model)
