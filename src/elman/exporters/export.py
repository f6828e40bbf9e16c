"""`elman.export`: a layer, a model or a run in the form of another runtime, complete and compared, or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import nn

from elman.errors import ExportError, SettingError, look_up, unknown_name
from elman.exporters.parity import FILE, ParityReport
from elman.exporters.stack import is_layer
from elman.exporters.target import ModelInputs, Target
from elman.predictors.base import Predictor
from elman.recipes import use
from elman.settings import Settings
from elman.storage.files import write_json
from elman.storage.run_creation import created_folder

TARGETS: dict[str, str] = {
    "onnx": "elman.exporters.onnx.target",
    "c": "elman.exporters.c.target",
    "rtneural": "elman.exporters.rtneural.target",
    "web": "elman.exporters.web.target",
}
"""The one list of targets: a name, and the module with its `TARGET`."""


@dataclass(frozen=True)
class Export:
    """What `export` wrote.

    Attributes:
        path: the folder.
        files: the names of its files.
        report: the comparison with the original, which is in `parity.json` too.
    """

    path: Path
    files: tuple[str, ...]
    report: ParityReport

    def __str__(self) -> str:
        return f"{self.path}: {', '.join(self.files)}\n{self.report.table()}"


def export(
    subject: nn.Module | Predictor | str | Path,
    path: str | Path,
    to: str = "onnx",
    *,
    precision: str = "float32",
    inputs: Sequence[Any] | None = None,
    dynamic_shapes: Any = None,
    **options: Any,
) -> Export:
    """Write a layer, a model or a run in the form of another runtime, compared with the original.

        >>> elman.export(torch.nn.GRU(80, 64), "gru", to="onnx")
        >>> elman.export("runs/language-model-1", "app", to="onnx")

    The folder is written beside and renamed, so that there is a complete export or none. One whose numbers differ from
    those of the original by more than the bound of its precision is not left behind.

    Args:
        subject: a recurrent layer of elman or torch.nn, any model that has such layers, what `elman.load` returns, or
            a run directory.
        path: a new or an empty folder.
        to: the target.
        precision: of the weights.
        inputs: of a model that is not a layer: example arguments of its `forward`.
        dynamic_shapes: of a model: which axes of its inputs are free, as for `torch.export.export`; None: the first
            two of each tensor, where the model allows it.
        options: of the target.

    Returns:
        The folder, its files and the report.

    Raises:
        ExportError: the target cannot express the subject or an option, or the numbers differ.
        MissingExtraError: a library of the target is not installed.
        RunError: the folder exists and is not empty, the disk is full, or the run cannot be opened.
        SettingError: an unknown target or option.
    """
    target = find_target(to)
    settings = parsed_options(target, {**options, "precision": precision})
    place = Path(path)
    with created_folder(place) as folder:
        report = _write(target, subject, folder, settings, inputs, dynamic_shapes)
        report.check()
        write_json(folder / FILE, report.as_dict())
        files = sorted(str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file())
    return Export(place, tuple(files), report)


def find_target(name: str) -> Target:
    """Return a target by name.

    Raises:
        SettingError: there is none of this name.
    """
    target: Target = import_module(look_up("target", name, TARGETS)).TARGET
    return target


def parsed_options(target: Target, options: Mapping[str, Any]) -> Settings:
    """Return the options of a target from values that may be text.

    Raises:
        SettingError: an option is unknown or invalid.
    """
    names = {field.name for field in fields(target.Options)}
    for name in options:
        if name not in names:
            raise unknown_name(f"option of the target {target.name}:", name, names)
    return target.Options.parse(options)


def _write(
    target: Target, subject: Any, folder: Path, options: Settings, inputs: Sequence[Any] | None, dynamic_shapes: Any
) -> ParityReport:
    is_model = isinstance(subject, nn.Module) and not is_layer(subject)
    if not is_model and (inputs is not None or dynamic_shapes is not None):
        raise SettingError(
            "inputs and dynamic_shapes are for a model",
            should="neither of them, for a layer or a run",
            found="inputs" if inputs is not None else "dynamic_shapes",
        )
    if is_model:
        if target.model is None:
            raise _refusal(target, "a model")
        if inputs is None:
            raise SettingError(
                "the export of a model needs an example of its inputs",
                should="inputs=(x,), the arguments of its forward",
                found="no inputs",
                hint="or export one of its recurrent layers, which needs none",
            )
        return target.model(subject, folder, options, ModelInputs(tuple(inputs), dynamic_shapes))
    if isinstance(subject, nn.Module):
        if target.layer is None:
            raise _refusal(target, "a layer")
        return target.layer(subject, folder, options)
    if not isinstance(subject, Predictor | str | Path):
        raise ExportError(
            "the subject of an export is not known",
            should="a layer, a model, what elman.load returns, or a run directory",
            found=type(subject).__name__,
        )
    predictor = subject if isinstance(subject, Predictor) else use.load(subject)
    if target.run is None:
        raise _refusal(target, "a run")
    return target.run(predictor, folder, options)


def _refusal(target: Target, subject: str) -> ExportError:
    others = [name for name in TARGETS if name != target.name]
    kinds = {"a layer": target.layer, "a model": target.model, "a run": target.run}
    return ExportError(
        f"the target {target.name} does not take {subject}",
        should=" or ".join(name for name, write in kinds.items() if write is not None) or "nothing yet",
        found=subject,
        hint=f"another target: {', '.join(others)}" if others else None,
    )
