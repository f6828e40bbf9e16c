"""The generated C: compilers accept it without a warning, and it computes what the layer computes, wherever it runs."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import elman
from elman.errors import ExportError
from elman.exporters.c.mathematics import EXP_ERROR, SIGMOID_ERROR, TANH_ERROR
from elman.exporters.c.source import sources
from elman.exporters.chain import chain_of


def test_every_model_computes_what_its_layer_does(collection: Any, toolchain: Any) -> None:
    """In float32 the layer's numbers, in int8 those of the layer with rounded weights; all in one program."""
    program = "program_" + re.sub(r"\W", "_", "_".join([toolchain.compiler, *toolchain.options]))
    collection.check(collection.build(toolchain, program), collection.inputs)


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e3, 1e30])
def test_extreme_inputs(collection: Any, native: list[str], scale: float) -> None:
    inputs = {name: np.float32(scale) * x for name, x in collection.inputs.items() if "identity" not in name}
    quiet = {name: x * 0 for name, x in collection.inputs.items() if "identity" in name}
    collection.check(native, {**inputs, **quiet}, 1e-5 if scale < 1 else 2e-3)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_inputs_that_are_not_finite_spread_as_in_the_layer(collection: Any, native: list[str], value: float) -> None:
    inputs = {name: x.copy() for name, x in collection.inputs.items()}
    for x in inputs.values():
        x[20, 0] = value
    results = collection.run(native, inputs)
    for name, model in collection.models.items():
        if name.endswith("_i8"):
            continue  # a weight that is rounded to 0 makes NaN of infinity
        y = model(torch.from_numpy(inputs[name]).to(next(model.parameters()).dtype)) if name != "head" else None
        if y is not None:
            np.testing.assert_allclose(results[name][0], y[0].detach().numpy(), rtol=1e-5, atol=1e-5, err_msg=name)
        elif np.isnan(value):
            assert np.isnan(results[name][0][20:]).all() and np.isfinite(results[name][0][:20]).all()


def test_the_library_brings_tanh_and_exp(gcc: Any, tmp_path: Path) -> None:
    torch.manual_seed(1)
    layer = nn.LSTM(2, 8)
    for libm in (False, True):
        files, _ = sources(chain_of(layer), "model", libm=libm)
        for file, text in files.items():
            (tmp_path / file).write_text(text)
        assert ("tanhf(" in files["model.c"]) == libm and ("tanhf and expf" in files["model.h"]) == libm
        command = gcc.build(tmp_path, ["model.c", "main.c"], "model")
        answer = subprocess.run(command, input="0.5 -1 2 3", capture_output=True, text=True, check=True).stdout
        y = np.array([line.split() for line in answer.splitlines()], float)
        expected = layer(torch.tensor([[0.5, -1], [2, 3]]))[0].detach().numpy()
        np.testing.assert_allclose(y, expected, atol=1e-6)


NAMES = ("exp", "sigmoid", "tanh")

ERRORS = """
#include "model.c"
#include <stdio.h>

static void look(double *worst, double value, double exact)
{
    const double error = fabs(value - exact) / fabs(exact);
    if (error > *worst)
        *worst = error;
}

int main(void)
{
    double errors[3] = {0.0, 0.0, 0.0};
    for (uint32_t bits = 0; bits < 0x7f800000u; bits += STRIDE)
        for (uint32_t sign = 0; sign < 2; sign++) {
            number x;
            x.bits = bits | sign << 31;
            const double exact = (double)x.value;
            if (fabs(exact) <= 87.0) {
                const exp_parts e = parts_of_exp(x.value, 87.0f);
                look(&errors[0], (double)MULTIPLY_ADD(e.power, e.rest, e.power), exp(exact));
                look(&errors[1], (double)sigmoid(x.value), 1.0 / (1.0 + exp(-exact)));
            } else if (sign ? !(sigmoid(x.value) > 0.0f && sigmoid(x.value) < 2e-38f) : sigmoid(x.value) < 1.0f)
                return 1;
            if (fabs(exact) > 1e-37)
                look(&errors[2], (double)hyperbolic_tangent(x.value), tanh(exact));
            else if (fabs((double)hyperbolic_tangent(x.value) - exact) > 1e-44)
                return 2;
        }
    printf("%.9g %.9g %.9g\\n", errors[0], errors[1], errors[2]);
    return 0;
}
"""


def test_the_functions_have_the_errors_that_the_header_states(toolchain: Any, tmp_path: Path) -> None:
    files, _ = sources(chain_of(nn.GRU(4, 4)), "model")
    for file, text in files.items():
        (tmp_path / file).write_text(text)
    stated = EXP_ERROR, SIGMOID_ERROR, TANH_ERROR
    assert all(f"{bound:.1e} ({name})" in files["model.h"] for bound, name in zip(stated, NAMES, strict=True))
    (tmp_path / "errors.c").write_text(ERRORS.replace("STRIDE", "40009u"))
    command = toolchain.build(
        tmp_path, ["errors.c"], "errors", "-Wno-unused-function", "-Wno-declaration-after-statement"
    )
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    measured = [float(number) for number in answer.split()]
    for name, bound, error in zip(NAMES, stated, measured, strict=True):
        assert bound / 4 < error <= bound, name


def test_the_header_is_one_of_cpp_too(tmp_path: Path) -> None:
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    files, _ = sources(chain_of(nn.Sequential(nn.Embedding(4, 3), nn.LSTM(3, 2), nn.Linear(2, 4))), "policy")
    (tmp_path / "policy.h").write_text(files["policy.h"])
    program = (
        '#include "policy.h"\nint run(policy_state* s, float* y) { policy_reset(s); return policy_step(3, s, y); }\n'
    )
    (tmp_path / "controller.cpp").write_text(program)
    command = ["g++", "-std=c++11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-c", "controller.cpp"]
    subprocess.run(command, cwd=tmp_path, check=True)
    symbols = subprocess.run(["nm", "-u", "controller.o"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert set(symbols.stdout.split()) == {"U", "policy_reset", "policy_step"}  # as C names them


def test_the_header_states_what_a_model_needs(gcc: Any, tmp_path: Path) -> None:
    for name, int8 in (("exact", False), ("small", True)):
        files, sizes = sources(chain_of(nn.Sequential(nn.LSTM(3, 32, 2), nn.Linear(32, 7))), name, int8=int8)
        for file, text in files.items():
            (tmp_path / file).write_text(text)
        weights = 128 * (3 + 32 + 32 + 32) + 7 * 32
        assert sizes.state == 4 * 4 * 32 and sizes.multiply_adds == weights
        biases, scales = 2 * 128 + 7, 4 * 128 + 7
        assert sizes.constants == (weights + 4 * (biases + scales) if int8 else 4 * (weights + biases))
        (tmp_path / "sizes.c").write_text(f'#include "{name}.h"\n#include <stdio.h>\nint main(void)\n{{\n'
            f'    printf("%d", (int)sizeof({name}_state));\n    return 0;\n}}\n')  # fmt: skip
        answer = subprocess.run(gcc.build(tmp_path, ["sizes.c"], "sizes"), capture_output=True, text=True, check=True)
        assert int(answer.stdout) == sizes.state and f"{sizes.state:,} bytes for the state" in files[f"{name}.h"]
        subprocess.run(["gcc", "-std=c99", "-O2", "-fstack-usage", "-c", f"{name}.c"], cwd=tmp_path, check=True)
        step = next(line for line in (tmp_path / f"{name}.su").read_text().splitlines() if f"{name}_step" in line)
        assert sizes.stack <= int(step.split("\t")[1]) <= sizes.stack + 256
        section = subprocess.run(["size", "-A", f"{name}.o"], cwd=tmp_path, capture_output=True, text=True, check=True)
        constants = sum(int(n) for n in re.findall(r"^\.rodata\S*\s+(\d+)", section.stdout, re.MULTILINE))
        assert sizes.constants <= constants <= sizes.constants + 400
        assert not re.search(r"^\.(data|bss)\s+[1-9]", section.stdout, re.MULTILINE)
        symbols = subprocess.run(["nm", "-u", f"{name}.o"], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert set(symbols.stdout.split()) - {"U"} <= {"memcpy", "memset", "__stack_chk_fail"}


class Doubled(nn.Module):
    """It holds what a chain holds, and computes something else."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.out = nn.GRU(2, 3), nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * self.out(self.gru(x)[0])


class Leak(elman.Cell):
    gates, states = ("h",), ("h",)

    def step(self, gx_BGH: torch.Tensor, gh_BGH: torch.Tensor, state: Any) -> Any:
        return (0.9 * state[0] + torch.tanh(gx_BGH[:, 0]),)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (elman.Recurrent(Leak(), 2, 3), "the cell Leak"),
        (nn.GRU(2, 3, bidirectional=True), "bidirectional=True, whose output at a step depends on all later ones"),
        (nn.Sequential(nn.Linear(2, 2), nn.GRU(2, 3)), "an Embedding or none"),
        (nn.Sequential(nn.GRU(2, 3), nn.LayerNorm(3)), "GRU, LayerNorm"),
        (nn.Sequential(nn.GRU(2, 3), nn.Tanh()), "GRU, Tanh"),
        (nn.Sequential(nn.GRU(2, 3), nn.GRU(3, 3)), "GRU, GRU"),
        (nn.Sequential(nn.GRU(2, 3), nn.Linear(4, 3)), "a Linear layer of 3 inputs"),
        (nn.Sequential(nn.Linear(4, 3)), "not a model whose steps"),
    ],
)
def test_what_c_cannot_express_is_refused(tmp_path: Path, model: nn.Module, message: str) -> None:
    options = {} if isinstance(model, nn.GRU | elman.Recurrent) else {"inputs": (torch.zeros(3, 1, 2),)}
    with pytest.raises(ExportError, match=message):
        elman.export(model, tmp_path / "out", to="c", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e39])
def test_weights_that_float32_cannot_hold_are_refused(tmp_path: Path, value: float) -> None:
    model = nn.GRU(2, 3).double()
    model.bias_hh_l0.data[7] = value
    with pytest.raises(ExportError, match="finite"):
        elman.export(model, tmp_path / "out", to="c")
    head = nn.Sequential(nn.GRU(2, 3), nn.Linear(3, 1).double())
    head[1].weight.data[0, 1] = value
    with pytest.raises(ExportError, match="finite"):
        sources(chain_of(head), "model")


def test_a_model_that_computes_something_else_is_not_left_behind(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="computes other numbers"):
        elman.export(Doubled(), tmp_path / "out", to="c", inputs=(torch.ones(4, 2, 2),))
    assert not list(tmp_path.iterdir())
