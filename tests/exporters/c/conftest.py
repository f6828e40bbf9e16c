"""Many models in one C program: they are compiled together, and run beside the layers that they come from."""

from __future__ import annotations

import copy
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import elman
from elman.exporters.c.source import sources
from elman.exporters.chain import chain_of
from elman.exporters.precision import symmetric_rows

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wconversion", "-Wshadow")

# Each model reads its inputs from the file and writes y of each step, and the state after the last one.
DRIVER = """
static void run_{name}(FILE *in, FILE *out)
{{
    {name}_state state;
    float x[{NAME}_INPUT_SIZE], y[{NAME}_OUTPUT_SIZE];
    {name}_reset(&state);
    for (int t = 0; t < {steps}; t++) {{
        if (fread(x, sizeof(float), {NAME}_INPUT_SIZE, in) != {NAME}_INPUT_SIZE)
            exit(3);
        {name}_step(x, &state, y);
        fwrite(y, sizeof(float), {NAME}_OUTPUT_SIZE, out);
    }}
    fwrite(&state, 1, sizeof state, out);
}}
"""


@dataclass(frozen=True)
class Toolchain:
    """A compiler with its options, and what runs its programs."""

    compiler: str
    options: tuple[str, ...] = ()
    runner: tuple[str, ...] = ()

    def skip_if_missing(self) -> None:
        for tool in (self.compiler, *self.runner[:1]):
            if shutil.which(tool) is None:
                pytest.skip(f"{tool} is not installed")

    def build(self, folder: Path, files: list[str], program: str, *options: str) -> list[str]:
        """Compile files of a folder, and return the command that runs the program."""
        self.skip_if_missing()
        command = [self.compiler, *STRICT, *self.options, *options, *files, "-lm", "-o", program]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"
        return [*self.runner, str(folder / program)]


TOOLCHAINS = {
    "gcc": Toolchain("gcc", ("-O2", "-march=native")),
    "clang": Toolchain("clang", ("-O1",)),
    "sanitizers": Toolchain(
        "gcc", ("-O1", "-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover")
    ),
    "arm": Toolchain("arm-linux-gnueabihf-gcc", ("-O1", "-static"), ("qemu-arm",)),
}


@pytest.fixture(params=TOOLCHAINS)
def toolchain(request: pytest.FixtureRequest) -> Toolchain:
    chosen = TOOLCHAINS[request.param]
    chosen.skip_if_missing()
    return chosen


@pytest.fixture(scope="session")
def gcc() -> Toolchain:
    chosen = TOOLCHAINS["gcc"]
    chosen.skip_if_missing()
    return chosen


class Head(nn.Module):
    """A recurrent layer, and dense layers behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 10, batch_first=True)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Sequential(nn.Linear(10, 6), nn.Tanh(), nn.Linear(6, 5, bias=False), nn.ReLU(), nn.Linear(5, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.drop(self.lstm(x)[0]))


def build_models() -> dict[str, nn.Module]:
    """Return models of every kind, of sizes that are no multiples of each other."""
    torch.manual_seed(0)
    models = {f"rnn_{name}": elman.RNN(3, 7, nonlinearity=name) for name in ("tanh", "relu", "sigmoid", "identity")}
    models |= {
        "gru": elman.GRU(4, 33),
        "gru_deep": nn.GRU(1, 6, 3, bias=False),
        "gru_initial": elman.GRU(2, 5, 2, learn_initial_state=True),
        "lstm_tiny": elman.LSTM(1, 1),
        "lstm_deep": nn.LSTM(5, 9, 3, batch_first=True, dropout=0.5),
        "lstm_projected": elman.LSTM(4, 9, 2, proj_size=3, bias=False),
        "lstm_double": elman.LSTM(2, 6, proj_size=2, learn_initial_state=True).double(),
        "head": Head(),
    }
    for name, model in models.items():
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.2 if name.startswith("rnn") else 0.4)
        model.eval()
    return models


def rounded(model: nn.Module) -> nn.Module:
    """Return the model with the weights that its export in int8 has."""
    model = copy.deepcopy(model)
    for parameter in model.parameters():
        if parameter.dim() == 2:
            integers, scales = symmetric_rows(parameter.detach().numpy())
            parameter.data = torch.from_numpy(integers * scales[:, None].astype(np.float64)).to(parameter.dtype)
    return model


@dataclass(frozen=True)
class Collection:
    """Models in one program.

    Attributes:
        folder: their files.
        inputs: (steps, I) of each, by name.
        models: the originals, by name; those in int8 have rounded weights.
    """

    folder: Path
    inputs: dict[str, np.ndarray]
    models: dict[str, nn.Module]

    def build(self, toolchain: Toolchain, program: str) -> list[str]:
        files = [f"{name}.c" for name in self.models]
        return toolchain.build(self.folder, [*files, "driver.c"], program, "-I.")

    def run(self, command: list[str], inputs: dict[str, np.ndarray]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Return y (steps, O) and the last state, layer by layer, of each model."""
        words = b"".join(inputs[name].astype("<f4").tobytes() for name in self.models)
        done = subprocess.run(command, input=words, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
        numbers, results = np.frombuffer(done.stdout, "<f4"), {}
        for name, model in self.models.items():
            chain = chain_of(model)
            sizes = [len(inputs[name]) * chain.output_size, len(chain.stack.layers) * sum(chain.stack.state_sizes)]
            y, state, numbers = np.split(numbers, np.cumsum(sizes))
            results[name] = y.reshape(-1, chain.output_size), state
        assert not len(numbers)
        return results

    def check(self, command: list[str], inputs: dict[str, np.ndarray], tolerance: float = 1e-5) -> None:
        """Compare all models with their originals."""
        for name, (y, state) in self.run(command, inputs).items():
            expected = original(self.models[name], inputs[name])
            np.testing.assert_allclose(y, expected[0], rtol=tolerance, atol=tolerance, err_msg=name)
            if expected[1] is not None:
                np.testing.assert_allclose(state, expected[1], rtol=tolerance, atol=tolerance, err_msg=name)


def original(model: nn.Module, x: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return y (steps, O) and the last state, layer by layer, of a layer or a model."""
    layer: Any = model.lstm if isinstance(model, Head) else model
    x = torch.from_numpy(x).to(next(model.parameters()).dtype)
    with torch.no_grad():
        if isinstance(model, Head):
            return model(x[None])[0].numpy(), None
        y, state = layer(x)
    parts = state if isinstance(state, tuple) else (state,)
    return y.numpy(), np.concatenate([part[k].numpy() for k in range(layer.num_layers) for part in parts])


STEPS = 60

IN_INT8 = {"rnn_tanh", "gru", "lstm_deep", "lstm_projected", "head"}
"""The models that are there a second time, with 8-bit weights."""


@pytest.fixture(scope="session")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    folder, rng = tmp_path_factory.mktemp("c"), np.random.default_rng(0)
    exact, models, runs = build_models(), {}, []
    for name, model in exact.items():
        for int8 in (False, True) if name in IN_INT8 else (False,):
            own = f"{name}_i8" if int8 else name
            models[own] = rounded(model) if int8 else model
            files, _ = sources(chain_of(model), own, int8=int8)
            for file, text in files.items():
                if file != "main.c":
                    (folder / file).write_text(text)
            runs.append(DRIVER.format(name=own, NAME=own.upper(), steps=STEPS))
    includes = "".join(f'#include "{name}.h"\n' for name in models)
    calls = "".join(f"    run_{name}(stdin, stdout);\n" for name in models)
    main = f"int main(void)\n{{\n{calls}    return 0;\n}}\n"
    (folder / "driver.c").write_text(f"{includes}#include <stdio.h>\n#include <stdlib.h>\n{''.join(runs)}\n{main}")
    sizes = {name: chain_of(model).stack.input_size for name, model in models.items()}
    inputs = {name: rng.standard_normal((STEPS, size)).astype(np.float32) for name, size in sizes.items()}
    return Collection(folder, inputs, models)


@pytest.fixture(scope="session")
def native(collection: Collection, gcc: Toolchain) -> list[str]:
    return collection.build(gcc, "native")
