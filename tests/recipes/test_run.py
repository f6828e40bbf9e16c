"""The driver and the contract of recipes, with the smallest recipe there can be: numbers and their doubles."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import elman
from elman.data.batching import BucketBatches
from elman.data.skipped import SkippedRows
from elman.errors import BrokenRun, NonFiniteError, RunError, SettingError
from elman.predictors.answer import Answer
from elman.predictors.base import Predictor
from elman.predictors.options import RecommendOptions
from elman.recipes import former_names, registry, use
from elman.recipes import run as runs
from elman.recipes.base import Part, Recipe
from elman.recipes.network_settings import CellSettings, SkipBadSettings, ValidationSettings
from elman.settings import Settings, setting
from elman.storage import tensors
from elman.storage.ragged import RaggedArrays
from elman.storage.run_directory import RunDirectory
from elman.training.task import Loss


@dataclass(frozen=True, kw_only=True)
class DoubleSettings(ValidationSettings, SkipBadSettings, CellSettings):
    """Settings of doubling."""

    batch_size: int = setting(4, "numbers in a batch", low=1)


@dataclass(frozen=True, kw_only=True)
class DoubleOptions(Settings):
    """Options of doubling."""

    digits: int = setting(1, "after the point", low=0)


class NumberBatch(NamedTuple):
    """Numbers, and what stays on the CPU."""

    x_B: Tensor
    name: str

    def to(self, device: torch.device) -> "NumberBatch":
        return self._replace(x_B=self.x_B.to(device), name=f"{self.name} on {device}")


class DoublePredictor(Predictor):
    """Doubles numbers."""

    Options = DoubleOptions

    def answers(self, inputs: Sequence[str | Path], **options: Any) -> Iterator[Answer]:
        digits = DoubleOptions(**options).digits
        for text in inputs:
            number = self.model(torch.tensor([[float(text)]])).item()
            yield Answer(f"{number:.{digits}f}", {"number": number})


def read_numbers(sources: Sequence[Path], skipped: SkippedRows, skip_bad: bool) -> Iterator[np.ndarray]:
    for line in (line for path in sources for line in path.read_text().split()):
        if skip_bad and not line.isdecimal():
            skipped.add(line)
        else:
            yield np.array([float(line)], "f4")


class Double(Recipe[DoubleSettings, RaggedArrays]):
    """Numbers and their doubles."""

    name = "double"
    summary = data = default = example = "numbers"
    Settings, Options = DoubleSettings, DoubleOptions
    metric = "error"
    examples = "numbers"
    sample_size = 3
    evaluation_files = "the errors"
    progress: list[float | None] = []  # noqa: RUF012 - what `loss` was given
    names: list[str] = []  # noqa: RUF012
    limits: list[int | None] = []  # noqa: RUF012
    initialised = 0

    def prepare(self, sources: Sequence[Path]) -> dict[str, Any]:
        RaggedArrays.write(self.folder, "training", (np.array([n], "f4") for n in range(8)))
        RaggedArrays.write(self.folder, "validation", (np.array([n], "f4") for n in (8, 9)))
        return {}

    def build(self) -> nn.Module:
        return nn.Linear(1, 1)

    def initialise(self, model: nn.Linear, training: RaggedArrays) -> None:
        type(self).initialised += 1
        nn.init.zeros_(model.bias)

    def dataset(self, part: Part) -> RaggedArrays:
        return RaggedArrays.open(self.folder, part)

    def read(
        self, sources: Sequence[Path], folder: Path, *, skip_bad: bool, limit: int | None
    ) -> tuple[RaggedArrays, SkippedRows]:
        self.limits.append(limit)
        skipped = SkippedRows()
        return RaggedArrays.write(folder, "other", read_numbers(sources, skipped, skip_bad)), skipped

    def batches(self, training: RaggedArrays) -> BucketBatches[NumberBatch]:
        def collate(numbers: Any) -> NumberBatch:
            return NumberBatch(torch.from_numpy(np.concatenate([training[n] for n in numbers])), "numbers")

        return BucketBatches(training.lengths, collate, batch_size=self.settings.batch_size, seed=self.settings.seed)

    def loss(self, model: nn.Linear, batch: NumberBatch, state: None, progress: float | None) -> Loss:
        self.progress.append(progress)
        self.names.append(batch.name)
        return Loss((model(batch.x_B[:, None])[:, 0] - 2 * batch.x_B).square().mean(), len(batch.x_B))

    def measure(self, model: nn.Linear, data: RaggedArrays) -> dict[str, float | None]:
        x_B = torch.from_numpy(np.array(data.values))
        return {"error": float((model(x_B[:, None])[:, 0] - 2 * x_B).abs().mean())}

    def evaluate(self, model: nn.Linear, data: RaggedArrays, *, out: Path | None) -> dict[str, Any]:
        metrics = self.measure(model, data)
        if out:
            (out / "error.txt").write_text(str(metrics["error"]))
        return {**metrics, "note": "a text", "baselines": {"the model": self.measure(model, data)}}

    def baselines(self, data: RaggedArrays) -> dict[str, Any]:
        return {"zero": {"error": float(2 * np.abs(data.values).mean())}}

    def predictor(self, model: nn.Linear) -> DoublePredictor:
        return DoublePredictor(model, self.folder)

    @staticmethod
    def headline(metrics: Any) -> str:
        return f"error {metrics['error']:.3f}"

    def usage(self, run: str) -> list[tuple[str, str]]:
        return [("Double a number", f"elman predict {run} 3")]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(registry.RECIPES, "double", Double)
    Double.progress, Double.names, Double.limits, Double.initialised = [], [], [], 0
    runs.start(Double, [], {"steps": 4, "evaluate_every": 2, "learning_rate": 0.1, "device": "cpu"}, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def other(tmp_path: Path) -> Path:
    path = tmp_path / "other.txt"
    path.write_text("1\n2\nthree\n4\n")
    return path


def test_the_driver_trains_with_progress_on_the_device(run: Path) -> None:
    assert Double.progress == [0.5, 1.0, 1.5, 2.0]  # a batch is handed out after its place was left
    assert set(Double.names) == {"numbers on cpu"}
    data = json.loads((run / "config.json").read_text())["data"]
    fingerprint = RaggedArrays.open(run, "training").fingerprint
    assert data == {
        "sources": ["numbers"],
        "fingerprint": fingerprint,
        "training_numbers": 8,
        "validation_numbers": 2,
    }


def test_a_report_has_the_commands_of_the_recipe_and_those_of_all(run: Path) -> None:
    report = (run / "report.md").read_text()
    for command in (
        f"predict {run} 3",
        f"evaluate {run} DATA --out FOLDER",
        f"diagnose {run}",
        f"--out {run} --resume",
    ):
        assert f"elman {command}" in report or f"elman train double {command}" in report
    assert "| zero | 17.0000 |" in report


def test_a_model_is_initialised_once(run: Path) -> None:
    runs.resume(Double, {"steps": 6}, run)
    assert Double.initialised == 1
    assert len(Double.progress) == 6


def test_a_run_is_evaluated_beside_baselines(run: Path, other: Path) -> None:
    metrics = use.evaluate(run)
    assert metrics["numbers"] == 2
    assert metrics["note"] == "a text"
    assert metrics["baselines"] == {"the model": {"error": metrics["error"]}, "zero": {"error": 17.0}}
    assert "skipped_rows" not in metrics
    skipped = use.evaluate(run, [other], skip_bad=True)
    assert (skipped["numbers"], skipped["skipped_rows"], skipped["skipped"]) == (3, 1, ["three"])
    assert Double.limits == [None]


def test_baselines_without_their_training_data_are_omitted(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Double, "baselines", lambda self, data: {"mean": {"error": len(self.dataset("training"))}})
    assert use.evaluate(run)["baselines"]["mean"] == {"error": 8}
    (run / "training.values.npy").write_bytes(b"broken")
    with pytest.raises(BrokenRun, match=r"training\.values\.npy"):
        use.evaluate(run)
    (run / "training.values.npy").unlink()
    assert use.evaluate(run)["baselines"].keys() == {"the model"}


def test_baselines_are_finite(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Double, "baselines", lambda self, data: {"mean": {"error": float("nan")}})
    with pytest.raises(NonFiniteError, match="baseline mean"):
        use.evaluate(run)


def test_an_evaluation_writes_into_a_folder(run: Path, tmp_path: Path) -> None:
    metrics = use.evaluate(run, out=tmp_path / "deep" / "folder")
    assert float((tmp_path / "deep/folder/error.txt").read_text()) == metrics["error"]
    with pytest.raises(SettingError, match=r"other\.txt is not a folder"):
        (tmp_path / "other.txt").write_text("")
        use.evaluate(run, out=tmp_path / "other.txt")


@pytest.mark.parametrize(
    ("attribute", "value", "options", "flag"),
    [("evaluation_files", "", {"out": Path("x")}, "--out"), ("can_skip", False, {"skip_bad": True}, "--skip-bad")],
)
def test_what_a_recipe_has_no_use_for_is_refused(
    run: Path, monkeypatch: pytest.MonkeyPatch, attribute: str, value: Any, options: dict, flag: str
) -> None:
    monkeypatch.setattr(Double, attribute, value)
    with pytest.raises(SettingError, match=f"{flag} is not for "):
        use.evaluate(run, **options)
    assert not Path("x").exists()


def test_a_diagnosis_has_a_sample_without_progress(run: Path, other: Path) -> None:
    diagnosable = use.diagnosable(run)
    Double.progress.clear()
    losses = [diagnosable.sample.loss(diagnosable.model, batch) for batch in diagnosable.sample.batches]
    assert all(loss.requires_grad for loss in losses)
    assert Double.progress == [None] * len(losses)
    assert diagnosable.sample.window is None
    other.write_text("1 2 3")
    use.diagnosable(run, [other])
    assert Double.limits == [Double.sample_size]


def test_a_run_without_its_data_still_answers(run: Path, other: Path) -> None:
    for path in run.glob("*.values.npy"):
        path.unlink()
    (answer,) = elman.load(run).predict(["3"], digits=2)
    assert answer.line == f"{answer.fields['number']:.2f}"
    other.write_text("1 2")
    assert use.evaluate(run, [other])["numbers"] == 2
    for call in (use.evaluate, use.diagnosable):
        with pytest.raises(RunError, match="came without its data"):
            call(run)
    with pytest.raises(RunError, match="came without its data"):
        runs.resume(Double, {"steps": 9}, run)


def test_a_model_of_weights_that_are_not_finite_is_refused(run: Path) -> None:
    weights, facts = tensors.read(run / "model.safetensors")
    weights["bias"].fill_(float("nan"))
    tensors.write(run / "model.safetensors", weights, facts)
    with pytest.raises(NonFiniteError, match="has weights that are not finite"):
        use.evaluate(run)
    weights["bias"].fill_(torch.finfo(torch.float32).max)  # finite, and too large for the answers
    tensors.write(run / "model.safetensors", weights, facts)
    with pytest.raises(NonFiniteError, match="gives numbers that are not finite"):
        use.evaluate(run)


def test_data_that_changed_are_not_trained_on(run: Path) -> None:
    for part in ("values", "ends"):
        shutil.copy(run / f"validation.{part}.npy", run / f"training.{part}.npy")
    with pytest.raises(RunError, match="are not those that the run began with"):
        runs.resume(Double, {"steps": 9}, run)


def test_metrics_of_another_recipe_are_named(run: Path) -> None:
    rows = (run / "metrics.jsonl").read_text().replace('"error"', '"loss"')
    (run / "metrics.jsonl").write_text(rows)
    with pytest.raises(RunError, match=r"metrics\.jsonl is broken"):
        runs.resume(Double, {"steps": 4}, run)


def test_options_are_checked(run: Path) -> None:
    predictor, options = use.predictor(run, {"digits": "3"})
    assert options == {"digits": 3}
    assert predictor.Options is DoubleOptions
    with pytest.raises(SettingError, match="unknown setting 'digit'"):
        use.predictor(run, {"digit": 3})


def test_mixins_stand_behind_the_settings_of_training() -> None:
    names = list(DoubleSettings.meanings())
    assert names.index("steps") < names.index("cell") < names.index("skip_bad") < names.index("validation_data")
    assert DoubleSettings().validation_source("the end") == "the end"
    assert DoubleSettings.parse({"validation_data": "a,b"}).validation_source("the end") == "a, b"


RECIPES = ["caption", "classify", "forecast", "language_model", "recommend", "similarity", "transcribe", "translate"]


@pytest.mark.parametrize("name", ["base", "network_settings", *RECIPES])
def test_settings_and_data_need_no_torch(name: str) -> None:
    program = f"import sys; import elman.recipes.{name}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("recipe", "old", "new"), [("forecast", "least=-1", "min_value"), ("recommend", "at=7", "top_k")]
)
def test_a_former_name_of_a_setting_is_taken_and_noted(
    elman: Callable[..., Any], tmp_path: Path, recipe: str, old: str, new: str
) -> None:
    answer = elman("train", recipe, "--out", tmp_path / "r", "--steps", 1, "--set", old)
    former, value = old.split("=")
    assert answer.code == 0 and f"note: the setting {former} is called {new} now" in answer.err
    assert json.loads((tmp_path / "r/config.json").read_text())["settings"][new] == float(value)
    answer = elman("train", recipe, "--out", tmp_path / "s", "--steps", 1, "--set", old, "--set", f"{new}={value}")
    assert answer.code == 2 and f"the setting {new} is given twice" in answer.err
    assert not (tmp_path / "s").exists()


def test_a_former_name_of_an_option_is_taken_and_noted(capsys: pytest.CaptureFixture[str]) -> None:
    options = former_names.with_current_names({"k": "3"}, former_names.OPTIONS["recommend"], RecommendOptions)
    assert RecommendOptions.parse(options).top_k == 3
    assert capsys.readouterr().err == "note: the setting k is called top_k now\n"


def test_former_names_lead_to_current_ones() -> None:
    for name in registry.RECIPES:
        recipe = registry.find(name)
        assert set(former_names.setting_names(name).values()) - {"variational_dropout"} <= set(
            recipe.Settings.meanings()
        )
        assert recipe.Options is None or set(former_names.OPTIONS.get(name, {}).values()) <= set(
            recipe.Options.meanings()
        )


@pytest.mark.parametrize("name", registry.RECIPES)
@pytest.mark.parametrize("share", [-1, 5])
def test_the_share_of_validation_has_bounds(name: str, share: int) -> None:
    with pytest.raises(SettingError, match="validation is out of range"):
        registry.find(name).Settings.parse({"validation": share})


@pytest.mark.parametrize("setting", ["pooling", "vocabulary"])
def test_classify_has_choices(setting: str) -> None:
    with pytest.raises(SettingError, match=f"unknown value of the setting {setting}"):
        registry.find("classify").Settings.parse({setting: "maximum"})


@pytest.mark.parametrize("name", registry.RECIPES)
def test_metrics_of_another_recipe_are_a_broken_run(name: str, tmp_path: Path) -> None:
    headline = runs._checked(registry.find(name).headline, RunDirectory(tmp_path, {"recipe": name}))
    for metrics in ({"other": 1.0}, {"mase": 1.0, "crps": 1.0}):
        with pytest.raises(BrokenRun, match=r"metrics\.jsonl is broken"):
            headline(metrics)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused(language_run: Path, tmp_path: Path, number: float) -> None:
    shutil.copytree(language_run, tmp_path / "r")
    weights, facts = tensors.read(tmp_path / "r/model.safetensors")
    weights["output.bias"][1] = number
    tensors.write(tmp_path / "r/model.safetensors", weights, facts)
    for use_it in (use.load, use.evaluate, use.diagnosable):
        with pytest.raises(NonFiniteError, match=r"has weights that are not finite\n(.*\n)*.*output\.bias"):
            use_it(tmp_path / "r")
