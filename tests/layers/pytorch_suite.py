"""PyTorch's own tests of recurrent layers, run with torch.nn's and with elman's layers in their place.

    python tests/layers/pytorch_suite.py FOLDER [--files test_modules.py test_nn.py] [--select EXPRESSION]
                                         [--results results.json] [--minutes 10] [--together]

FOLDER is the folder `test` of PyTorch's sources, of a version near the installed one. Nothing is copied from it: pytest
runs its files where they are, twice, and the tables printed at the end list the tests whose outcomes differ. The file
of results keeps the outcomes with torch.nn's layers, which are then not run again. Most of the time goes into importing
PyTorch's test library; `--together` does so once for all files, at the price that a crash ends them all. It needs
expecttest.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

LAYERS = ("RNN", "GRU", "LSTM", "RNNCell", "GRUCell", "LSTMCell")
SELECT = "rnn or gru or lstm"  # pytest compares without regard to case

# The files with tests that build recurrent layers, and what selects those tests where their names do not say it.
FILES: dict[str, str] = {
    "test_modules.py": "",
    "test_nn.py": "cudnn_forward_exception or partial_flat_weights or variable_sequence",
    "test_decomp.py": "",
    "test_expanded_weights.py": "",
    "test_overrides.py": "",
    "test_mkldnn.py": "",
    "test_autograd.py": "",
    "nn/test_pruning.py": "",
    "nn/test_load_state_dict.py": "ref_cycle",
    "nn/test_packed_sequence.py": "PackedSequenceTest",
    "ao/sparsity/test_structured_sparsifier.py": "",
    "dynamo/test_aot_autograd.py": "",
    "inductor/test_cpu_repro.py": "",
    "quantization/core/test_quantized_module.py": "cell_api",
    "quantization/eager/test_quantize_eager_ptq.py": "",
    "quantization/eager/test_numeric_suite_eager.py": "linear_dynamic",
    "quantization/fx/test_quantize_fx.py": "preserve_tuple",
    "quantization/fx/test_numeric_suite_fx.py": "op_relationship or user_module or io_dtype_coverage",
    "quantization/jit/test_deprecated_jit_quant.py": "",
    "quantization/core/test_quantized_op.py": "",
    "test_autocast.py": "",
    "test_fake_tensor.py": "",
    "test_fx.py": "submodule_manipulation",
    "test_jit.py": "",
    "test_serialization.py": "byteorder_mark or load_bom",
    "jit/test_models.py": "snli or time_sequence",
    "jit/test_script_profile.py": "ScriptProfile",
    "functorch/test_control_flow.py": "autograd_torch_nn_module",
    "export/test_export.py": "dynamo_config",
    "export/test_passes.py": "move_to_device",
    "inductor/test_torchinductor.py": "RNNTest",
}

Outcomes = dict[str, tuple[str, str]]
"""By the name of a test: "passed", "failed", "skipped" or "unfinished", and the last line of the failure."""


def pytest_configure() -> None:
    """Put elman's layers in the place of torch.nn's before a test file is imported; this file is the plugin then."""
    if "LAYERS_OF" not in os.environ:
        return
    import torch

    if os.environ["LAYERS_OF"] == "elman":
        import elman

        for name in LAYERS:
            layer = getattr(elman, name, None)
            for module in (torch.nn, torch.nn.modules, torch.nn.modules.rnn) if layer is not None else ():
                setattr(module, name, layer)
    from torch.testing._internal import (
        common_cuda,
        common_device_type,
        common_methods_invocations,
        common_mkldnn,
        common_modules,
        common_nn,
    )

    # What versions up to 2.6 import from other places, or by other names, than later ones have it.
    old: list[tuple[Any, str, Any]] = [
        (common_mkldnn, "bf32_on_and_off", getattr(common_mkldnn, "reduced_f32_on_and_off", None)),
        (common_cuda, "tf32_is_not_fp32", lambda: False),
        (common_nn, "new_module_tests", []),
        *((common_methods_invocations, x, getattr(common_device_type, x, None)) for x in ("skip", "xfail")),
        (torch.jit.frontend, "_IS_ASTUNPARSE_INSTALLED", True),
        (common_methods_invocations, "skipOps", lambda *names: common_device_type.skipOps(names[-1])),
    ]
    for module, name, value in old:
        if not hasattr(module, name):
            setattr(module, name, value)
    # Tests are built for each module of this list on import, which takes minutes.
    common_modules.module_db[:] = [info for info in common_modules.module_db if info.module_cls.__name__ in LAYERS]


def pytest_runtest_logreport(report: Any) -> None:
    """Append the outcome of a test to the file that `outcomes` reads."""
    if "OUTCOMES" not in os.environ or (report.when != "call" and report.outcome == "passed"):
        return
    lines = str(report.longrepr).splitlines() if report.failed else [""]
    reasons = [line[1:].strip() for line in lines if line.startswith("E ")] or lines[-1:]
    with Path(os.environ["OUTCOMES"]).open("a") as file:
        file.write(json.dumps([report.nodeid, report.outcome, reasons[0] if reasons else ""]) + "\n")


def outcomes(folder: Path, files: list[str], select: str, layers: str, seconds: float) -> tuple[Outcomes, bool]:
    """Return the outcome of each test with the layers of "torch" or "elman", and whether all ended in `seconds`."""
    here = Path(__file__).resolve()
    paths = [str(here.parent), str(here.parents[2] / "src"), os.environ.get("PYTHONPATH", ""), str(folder)]
    command = [sys.executable, "-m", "pytest", "-p", here.stem, "-p", "no:cacheprovider", "-q", "--tb=short"]
    command += [
        "--continue-on-collection-errors",
        "--noconftest",
        "-c",
        os.devnull,
        f"--rootdir={folder}",
        "-W",
        "ignore",
        "-k",
        select,
        *files,
    ]
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "outcomes"
        report.touch()
        environment = {**os.environ, "LAYERS_OF": layers, "OUTCOMES": str(report)}
        environment |= {"PYTHONPATH": os.pathsep.join(paths), "PYTORCH_TESTING_DEVICE_ONLY_FOR": "cpu"}
        try:
            done = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=seconds
            )
            output = done.stdout + done.stderr
        except subprocess.TimeoutExpired:
            output = f"stopped after {seconds:.0f} s"
        results: Outcomes = {}
        for line in report.read_text().splitlines():
            name, outcome, reason = json.loads(line)
            if results.get(name, ("passed", ""))[0] == "passed":  # a teardown may fail after the test
                results[name] = (outcome, reason)
    is_whole = any(outcome == "passed" for outcome, _ in results.values()) and not output.startswith("stopped")
    if not is_whole:
        print(
            f"{' '.join(files)}: {len(results)} tests ended with {layers}'s layers\n{output[-1500:]}", file=sys.stderr
        )
    return results, is_whole


def compare(theirs: dict[str, Outcomes], ours: dict[str, Outcomes]) -> str:
    """Return two tables: the numbers of tests that pass, and those tests that pass with torch's layers only."""
    counts = ["| file | pass with torch.nn | pass with elman |", "| --- | --- | --- |"]
    differences = ["| differs | with elman |", "| --- | --- |"]
    for file, outcomes_of_file in theirs.items():
        applicable = [name for name, (outcome, _) in outcomes_of_file.items() if outcome == "passed"]
        results = {name: ours[file].get(name, ("unfinished", "")) for name in applicable}
        passed = sum(outcome == "passed" for outcome, _ in results.values())
        counts.append(f"| {file} | {len(applicable)} | {passed} |")
        for name, (outcome, reason) in results.items():
            if outcome != "passed":
                differences.append(f"| {name} | {outcome}: {reason} |")
    return "\n".join([*counts, "", *differences])


def main() -> None:
    """Run both, and print what differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the folder `test` of PyTorch's sources")
    parser.add_argument("--files", nargs="+", default=list(FILES))
    parser.add_argument("--select", help="an expression for pytest -k, in the place of the usual ones")
    parser.add_argument("--results", type=Path, help="a file that keeps the outcomes with torch.nn's layers")
    parser.add_argument("--minutes", type=float, default=10.0, help="of each file and kind of layers")
    parser.add_argument("--together", action="store_true", help="all files in one process")
    options = parser.parse_args()
    folder = options.folder.resolve()
    known: dict[str, Any] = {}
    if options.results is not None and options.results.exists():
        known = json.loads(options.results.read_text())
    theirs: dict[str, Outcomes] = {}
    ours: dict[str, Outcomes] = {}
    for files in [options.files] if options.together else [[file] for file in options.files]:
        select = options.select or " or ".join(filter(None, (SELECT, *map(FILES.get, files))))
        start, key = time.monotonic(), f"{' '.join(files)} -k {select}"
        if key in known:
            result = known[key]
        else:
            result, is_whole = outcomes(folder, files, select, "torch", 60 * options.minutes)
            if options.results is not None and is_whole:
                known[key] = result
                options.results.write_text(json.dumps(known, indent=1))
        theirs |= by_file(files, result)
        ours |= by_file(files, outcomes(folder, files, select, "elman", 60 * options.minutes)[0])
        tests = sum(len(ours[file]) for file in files)
        print(f"{' '.join(files)}: {tests} tests, {time.monotonic() - start:.0f} s", file=sys.stderr)
    print(compare(theirs, ours))


def by_file(files: list[str], results: Outcomes) -> dict[str, Outcomes]:
    """Return the outcomes of each file."""
    return {file: {name: x for name, x in results.items() if name.split("::")[0] == file} for file in files}


if __name__ == "__main__":
    main()
