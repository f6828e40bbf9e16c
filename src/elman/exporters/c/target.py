"""The target `c`: a layer, a model or the network of a run as C99."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from elman.errors import ExportError
from elman.exporters.c.comparison import compared
from elman.exporters.c.names import DEFAULT, check_name, name_of
from elman.exporters.c.source import check_chain, sources
from elman.exporters.chain import Chain, chain_of
from elman.exporters.chain_cases import STEPS, ChainCase, layer_inputs, model_inputs
from elman.exporters.layer_cases import evaluation_mode
from elman.exporters.parity import ParityReport, microseconds
from elman.exporters.stack import as_recurrent
from elman.exporters.target import ModelInputs, Target
from elman.predictors.base import Predictor
from elman.predictors.generator import LanguageModelPredictor
from elman.settings import Settings, setting
from elman.storage.files import write_json, write_text


@dataclass(frozen=True, kw_only=True)
class COptions(Settings):
    """What the target may be told."""

    precision: str = setting("float32", "of the weights", choices=("float32", "int8"))
    name: str = setting("", "of the files and functions; omitted: model, or the name of the run")
    libm: bool = setting(False, "whether tanh and exp are the C library's, instead of functions of the model's own")
    compare: bool = setting(True, "whether the C is compiled and run on this machine, beside the original")

    def check(self) -> None:
        """Check that the name is one of C."""
        if self.name:
            check_name(self.name)


def write_layer(layer: nn.Module, folder: Path, options: COptions) -> ParityReport:
    """Write the C of a layer, and compare it with the layer."""
    chain = chain_of(layer)
    report = write_chain(chain, folder, options, lambda: layer_inputs(layer, chain, options.precision))
    times = tuple(replace(each, original_microseconds=_step_time(layer, chain)) for each in report.times)
    return replace(report, times=times)


def write_model(model: nn.Module, folder: Path, options: COptions, inputs: ModelInputs) -> ParityReport:
    """Write the C of a model of layers in sequence, and compare it with the model."""
    chain = chain_of(model)
    return write_chain(chain, folder, options, lambda: model_inputs(model, chain, inputs.inputs))


def write_run(predictor: Predictor, folder: Path, options: COptions) -> ParityReport:
    """Write the network of a language model, from a symbol to logits, and the vocabulary.

    Raises:
        ExportError: the run is none of a language model.
    """
    if not isinstance(predictor, LanguageModelPredictor):
        raise ExportError(
            f"the run {predictor.run} cannot be exported to C as a whole",
            should="a run of language-model", found=type(predictor).__name__,
            hint="--to onnx, or elman.export of a recurrent layer of elman.load(RUN).model",
        )  # fmt: skip
    model, chain = predictor.model, chain_of(predictor.model)
    symbols = torch.zeros(STEPS, 1, dtype=torch.long)
    report = write_chain(
        chain, folder, options, lambda: model_inputs(model, chain, (symbols,)), predictor.run.absolute().name
    )
    write_json(folder / predictor.vocabulary.filename, predictor.vocabulary.to_json())
    return report


def write_chain(
    chain: Chain, folder: Path, options: COptions, cases: Callable[[], Sequence[ChainCase]], name: str = DEFAULT
) -> ParityReport:
    """Write the C of a chain, and compare it with what the original gives.

    Args:
        chain: the model.
        folder: where the files go.
        options: of the target.
        cases: what the original gives; computed after the model was found to be one that C can express.
        name: of the files and functions where the options have none.
    """
    check_chain(chain)
    name = options.name or name_of(name)
    files, _ = sources(chain, name, int8=options.precision == "int8", libm=options.libm)
    for file, text in files.items():
        write_text(folder / file, text)
    return compared(chain, folder / f"{name}.c", options.precision, cases(), run=options.compare)


def _step_time(layer: nn.Module, chain: Chain) -> float | None:
    """Return the microseconds of a step of the layer, on one thread."""
    if isinstance(layer, nn.RNNCellBase):
        return None
    runner, threads = as_recurrent(layer), torch.get_num_threads()
    device = next(iter(layer.parameters())).device
    states = tuple(torch.from_numpy(part).to(device) for part in chain.stack.initial_states(1))
    x = torch.from_numpy(np.full((1, chain.stack.input_size), 0.5, chain.stack.dtype)).to(device)
    torch.set_num_threads(1)
    try:
        with evaluation_mode(runner):
            return microseconds(lambda: runner.step(x, states if len(states) > 1 else states[0]))
    finally:
        torch.set_num_threads(threads)


TARGET = Target("c", COptions, layer=write_layer, model=write_model, run=write_run)
