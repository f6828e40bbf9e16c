"""`Application`: what the export of a run consists of, and how it is written into a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import onnx

from elman import __version__
from elman.errors import BrokenRun, RunError
from elman.exporters.onnx.graph import GraphBuilder, value
from elman.exporters.onnx.manifest import FILE, FORMAT, graph_manifest
from elman.exporters.onnx.rounding import restored, rounded
from elman.exporters.onnx.runtime import BOUNDS, OnnxSession
from elman.exporters.parity import ParityReport, ParityRow, compare
from elman.exporters.stack import Array, LayerStack
from elman.predictors.base import Predictor
from elman.recipes import use
from elman.storage.files import write_bytes, write_json
from elman.storage.run_directory import RunDirectory

OPSET = 18
"""The version of ONNX's operators: any runtime from 2023 on has them."""

PROGRAM = "predict.py"

VALIDATION_INPUTS = 20
"""Validation examples that an export is compared on."""


class SessionPair(OnnxSession):
    """A graph of int8 weights, and beside it the same graph with the rounded weights in float32.

    Args:
        path: the file.

    Attributes:
        rows: by output the worst difference of all runs.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, weights_in_float32=True)
        graph = restored(onnx.load(path))
        self._float32, self._name = OnnxSession(path, graph=graph.SerializeToString()), path.name
        self.rows: dict[str, ParityRow] = {}

    def run(self, feeds: dict[str, Array]) -> list[Array]:
        """Return the outputs of the graph, after comparing them with those of the other."""
        results = super().run(feeds)
        for name, expected, actual in zip(self.outputs, self._float32.run(feeds), results, strict=True):
            compared = f"{name} of {self._name}, rounding aside"
            row = compare(compared, "all of these", expected, actual, BOUNDS["float32"])
            if name not in self.rows or row.relative > self.rows[name].relative:
                self.rows[name] = row
        return results


LEAST_SIZE = 0.01
"""Of numbers, as `compare` takes it: sums of numbers around 1 that come out near 0 have the rounding of their terms."""


@dataclass(frozen=True)
class Comparison:
    """What a comparison needs.

    Attributes:
        folder: the export, complete but for the report.
        program: the module of `predict.py`.
        precision: of the weights.
        pairs: of int8: the graphs beside themselves with the same weights in float32, as `session` opened them.
        remarks: grow by what is counted and has no bound.
    """

    folder: Path
    program: Any
    precision: str
    pairs: list[SessionPair] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def session(self, name: str) -> OnnxSession:
        """Return a graph of the folder in ONNX Runtime."""
        path = self.folder / f"{name}.onnx"
        if self.precision != "int8":
            return OnnxSession(path)
        self.pairs.append(SessionPair(path))
        return self.pairs[-1]

    @property
    def bound(self) -> float:
        """The largest relative difference of numbers."""
        return BOUNDS[self.precision]

    def numbers(self, compared: str, inputs: str, original: Any, export: Any) -> ParityRow:
        """Return the differences of numbers."""
        return compare(compared, inputs, original, export, self.bound, least_size=LEAST_SIZE)

    def texts(self, inputs: str, original: Sequence[Any], export: Sequence[Any]) -> list[ParityRow]:
        """Return how many texts or labels of predict.py differ: their number, and their share, of which the bound is 0.

        Rounded weights may well write others: they are counted in a remark.
        """
        count, total = sum(a != b for a, b in zip(original, export, strict=True)), len(original)
        if self.precision != "float32":
            self.remarks.extend([f"{count:,} of {total:,} texts of {PROGRAM} differ: {inputs}"] if total else [])
            return []
        return [ParityRow(f"texts of {PROGRAM} that differ", inputs, total, count, count / total, 0.0)] if total else []


@dataclass(frozen=True)
class Application:
    """The export of a run.

    Attributes:
        program: the name of its program in `programs`.
        graphs: by the name of their file, without .onnx.
        units: what the inputs and outputs of the graphs are, by name.
        compare: (comparison) -> the comparisons with the run.
        facts: what the program reads from the manifest, in types that JSON has.
        files: JSON files by name, such as the labels.
        requires: packages of the program beside numpy and onnxruntime.
        remarks: what a reader should know, such as what the export does not do.
    """

    program: str
    graphs: Mapping[str, onnx.ModelProto]
    units: Mapping[str, str]
    compare: Callable[[Comparison], list[ParityRow]]
    facts: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, Any] = field(default_factory=dict)
    requires: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def write(self, predictor: Predictor, recipe: str, folder: Path, precision: str) -> ParityReport:
        """Write all files but the report into a folder, and compare them with the run."""
        for name, exact in self.graphs.items():
            graph = rounded(exact) if precision == "int8" else exact
            onnx.checker.check_model(graph, full_check=True)
            write_bytes(folder / f"{name}.onnx", graph.SerializeToString())
        for name, content in self.files.items():
            write_json(folder / name, content)
        program = import_module(f"elman.exporters.applications.programs.{self.program}")
        write_bytes(folder / PROGRAM, Path(str(program.__file__)).read_bytes())
        requires = ("numpy", "onnxruntime", *self.requires)
        write_bytes(folder / "requirements.txt", "".join(f"{name}\n" for name in requires).encode())
        graphs = {name: graph_manifest(folder / f"{name}.onnx") for name in self.graphs}
        for described in graphs.values():
            for each in (*described["inputs"], *described["outputs"]):
                each["unit"] = self.units[each["name"]]
        write_json(folder / FILE, {
            "format": FORMAT,
            "elman": __version__,
            "target": "onnx",
            "opset": OPSET,
            "precision": precision,
            "recipe": recipe,
            "run": _identity(predictor),
            "program": PROGRAM,
            "requires": requires,
            "letters": "T steps, B sequences; both are free",
            "graphs": graphs,
            **self.facts,
            "remarks": list(self.remarks),
        })  # fmt: skip
        comparison = Comparison(folder, program, precision)
        rows = self.compare(comparison)
        rows += [row for pair in comparison.pairs for row in pair.rows.values()]
        return ParityReport("onnx", precision, tuple(rows), (), (*self.remarks, *comparison.remarks))


NO_DATA = "the run came without its data: the export was compared on other inputs than validation data"
"""The remark where `validation_data` gives None."""


def validation_data(predictor: Predictor) -> Any:
    """Return the validation part of a run's data; None where the run came without it."""
    recipe, run = use.opened(predictor.run)
    try:
        return use.own_data(run, lambda: recipe.dataset("validation"))
    except RunError as error:
        if isinstance(error, BrokenRun):
            raise
        return None


def _identity(predictor: Predictor) -> dict[str, Any]:
    """Return the name of a run and the fingerprints of its weights and data."""
    run = RunDirectory.open(predictor.run)
    data = run.config["data"].get("fingerprint")
    return {"name": run.path.absolute().name, "weights": run.weights_digest(), "data": data}


def initial_rows(stack: LayerStack) -> dict[str, Any]:
    """Return the states before the first step, by name, in types that JSON has: without the axis B."""
    rows = zip(stack.states, stack.initial_states(1), strict=True)
    return {name: state[:, 0].tolist() for name, state in rows}


def finished(
    graph: GraphBuilder, name: str, inputs: Sequence[onnx.ValueInfoProto], results: Sequence[onnx.ValueInfoProto]
) -> onnx.ModelProto:
    """Return the model of a graph, without the constants that no node reads."""
    read = _read_by(graph.nodes)
    graph.initializers = [each for each in graph.initializers if each.name in read]
    return graph.model(name, inputs, results, OPSET)


def _read_by(nodes: Iterable[onnx.NodeProto]) -> set[str]:
    read: set[str] = set()
    for node in nodes:
        read.update(node.input)
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                read |= _read_by(attribute.g.node) | {each.name for each in attribute.g.output}
    return read


def outputs(graph: GraphBuilder, described: Mapping[str, tuple[str, Sequence[int | str]]]) -> list[onnx.ValueInfoProto]:
    """Name outputs of a graph, and return their descriptions: by name the value and the shape."""
    for name, (result, _) in described.items():
        graph.add("Identity", result, output=name)
    return [value(name, shape) for name, (_, shape) in described.items()]
