"""The target `web`: a folder of static files, one page with the model and what runs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, NamedTuple

from elman import __version__
from elman.errors import ExportError
from elman.exporters.parity import ParityReport
from elman.exporters.target import Target
from elman.exporters.web import classifier, forecaster, language_model, transcriber
from elman.exporters.web.comparison import compare_folder
from elman.exporters.web.model import WEIGHTS, WebModel
from elman.predictors.base import Predictor
from elman.predictors.classifier import ClassificationPredictor
from elman.predictors.forecaster import ForecastPredictor
from elman.predictors.generator import LanguageModelPredictor
from elman.predictors.transcriber import TranscriptionPredictor
from elman.settings import Settings, setting
from elman.storage.files import is_file, write_bytes, write_json
from elman.storage.run_directory import RunDirectory

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class WebOptions(Settings):
    """What the target may be told."""

    precision: str = setting("float32", "of the weights", choices=("float32",))
    title: str = setting("", "the heading of the page; none: the name of the run")
    picture: tuple[int, ...] = setting((), "height,width of the pictures that a classifier reads", low=1)
    example: bool = setting(False, "a forecaster's page begins with the end of the run's series, for all to see")
    javascript: str = setting(
        "auto",
        "what runs the page for the report; auto: Node.js or a browser",
        choices=("auto", "node", "browser", "none"),
    )


class Page(NamedTuple):
    """How the page of a run is described and compared.

    Attributes:
        describe: (predictor, options) -> the model as the page computes it.
        module: with `cases` and `step_call`.
        own: the options that this page alone takes.
        remarks: what the report says beside the numbers.
    """

    describe: Callable[[Any, WebOptions], WebModel]
    module: Any
    own: tuple[str, ...] = ()
    remarks: Callable[[Any], tuple[str, ...]] = lambda run: ()


PAGES: dict[type[Predictor], Page] = {
    LanguageModelPredictor: Page(lambda run, options: language_model.describe(run), language_model),
    ClassificationPredictor: Page(
        lambda run, options: classifier.describe(run, options.picture), classifier, ("picture",)
    ),
    ForecastPredictor: Page(
        lambda run, options: forecaster.describe(run, options.example), forecaster, ("example",), forecaster.remarks
    ),
    TranscriptionPredictor: Page(lambda run, options: transcriber.describe(run), transcriber),
}


def write_run(predictor: Predictor, folder: Path, options: WebOptions) -> ParityReport:
    """Write the page of a run, and compare what it computes with the run.

    Raises:
        ExportError: the page cannot do what the run does, or has no use for an option.
    """
    page = PAGES.get(type(predictor))
    if page is None:
        raise ExportError(
            "the target web has no page for this run",
            should="a run of language-model, classify, forecast or transcribe",
            found=type(predictor).__name__,
            hint="another target, such as onnx",
        )
    for name in ("picture", "example"):
        if getattr(options, name) and name not in page.own:
            (reader,) = (each.__name__ for each, other in PAGES.items() if name in other.own)
            raise ExportError(
                f"the page of this run has no use for {name}",
                should=f"{name} for a {reader} alone",
                found=type(predictor).__name__,
                hint=f"leave {name} out",
            )
    web = page.describe(predictor, options)
    content, places = web.weights()
    write_bytes(folder / WEIGHTS, content)
    run = RunDirectory(predictor.run, {})
    manifest = {
        "format": FORMAT,
        "elman": __version__,
        "title": options.title or predictor.run.name,
        "run": run.weights_digest() if is_file(run.model) else "",  # a model in memory has no file
        "parameters": web.parameters,
        "precision": options.precision,
        **web.fields,
        "weights": places,
    }
    write_json(folder / "manifest.json", manifest)
    write_page(folder)
    cases = page.module.cases(predictor)
    remarks = page.remarks(predictor)
    return compare_folder(folder, cases, options.javascript, page.module.step_call(predictor), remarks)


def write_page(folder: Path) -> None:
    """Write the page and its modules, the cells of the learner's page among them."""
    page = files("elman.exporters.web") / "page"
    for name in ("index.html", "style.css"):
        write_bytes(folder / name, (page / name).read_bytes())
    for part in ("model", "view"):
        (folder / "js" / part).mkdir(parents=True)
        for source in _scripts(page / part):
            write_bytes(folder / "js" / part / source.name, source.read_bytes())
    cells = files("elman.explorer") / "page" / "cells.js"
    write_bytes(folder / "js" / "model" / "cells.js", cells.read_bytes())


def _scripts(folder: Traversable) -> list[Traversable]:
    return sorted((each for each in folder.iterdir() if each.name.endswith(".js")), key=lambda each: each.name)


TARGET = Target("web", WebOptions, run=write_run)
