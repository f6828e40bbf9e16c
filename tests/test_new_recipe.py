"""A new recipe is the files that CONTRIBUTING.md names: tried with a toy that recalls the first number of a line."""

from __future__ import annotations

import json
import re
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
from elman.data.in_memory import RowFormat
from elman.data.skipped import SkippedRows
from elman.errors import DataError
from elman.predictors.answer import Answer
from elman.predictors.base import Predictor
from elman.recipes.base import Part, Recipe
from elman.recipes.network_settings import NetworkSettings, SkipBadSettings
from elman.recipes.registry import RECIPES
from elman.settings import Settings, setting
from elman.storage.ragged import RaggedArrays
from elman.testing import RECIPE_LAWS, LawBroken, RecipeTrial, check_recipe
from elman.training.task import Loss

Elman = Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class RecallSettings(SkipBadSettings, NetworkSettings):
    """Settings of recall."""

    batch_size: int = setting(4, "lines in a batch", low=1)


@dataclass(frozen=True, kw_only=True)
class RecallOptions(Settings):
    """Options of recall."""

    digits: int = setting(3, "digits after the point", low=0)


class LineBatch(NamedTuple):
    """Numbers of lines of any length."""

    x_TB1: Tensor
    lengths_B: list[int]


def collate(lines: Sequence[Any]) -> LineBatch:
    x_BT = nn.utils.rnn.pad_sequence([torch.from_numpy(np.array(line)) for line in lines], batch_first=True)
    return LineBatch(x_BT.T[:, :, None], [len(line) for line in lines])


class RecallModel(nn.Module):
    """A recurrent layer, and a number read off its last output."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.recurrent = elman.GRU(1, hidden)
        self.output = nn.Linear(hidden, 1)

    def forward(self, batch: LineBatch) -> Tensor:
        _, state_1BH = self.recurrent(batch.x_TB1, lengths=batch.lengths_B)
        number_B: Tensor = self.output(state_1BH[0])[:, 0]
        return number_B


class RecallPredictor(Predictor):
    """Recalls the first number of a line."""

    Options = RecallOptions

    @torch.no_grad()
    def answers(self, inputs: Sequence[str | Path], **options: Any) -> Iterator[Answer]:
        digits = RecallOptions(**options).digits
        for line in inputs:
            number = self.model(collate([numbers_of(str(line))])).item()
            yield Answer(f"{number:.{digits}f}", {"input": str(line), "number": number})


def numbers_of(line: str) -> np.ndarray:
    try:
        return np.array([float(word) for word in line.split()], "f4")
    except ValueError:
        raise DataError(f"{line!r} is not a line of numbers", should="numbers", found=line) from None


def read_lines(sources: Sequence[Path], skipped: SkippedRows, skip_bad: bool) -> Iterator[np.ndarray]:
    for path in sources:
        if not path.is_file():
            raise DataError(f"{path} does not exist", should="a file", found="nothing there")
        for line in path.read_text().splitlines():
            try:
                yield numbers_of(line)
            except DataError as error:
                if not skip_bad:
                    raise
                skipped.add(error.what)


class Recall(Recipe[RecallSettings, RaggedArrays]):
    """Recall of the first number of a line."""

    name = "recall"
    summary = "a line of numbers -> the first one"
    data = "text files with lines of numbers"
    default = "random numbers"
    example = "elman train recall numbers.txt"
    Settings, Options = RecallSettings, RecallOptions
    rows = RowFormat(("line",), ".txt", header=False)
    metric = "error"
    examples = "lines"

    def prepare(self, sources: Sequence[Path]) -> dict[str, Any]:
        rng, skipped = np.random.default_rng(self.settings.seed), SkippedRows()
        lines: list[Any] = list(read_lines(sources, skipped, self.settings.skip_bad))
        lines = lines or [rng.random(length).astype("f4") for length in rng.integers(2, 6, 40)]
        RaggedArrays.write(self.folder, "training", iter(lines[4:]))
        RaggedArrays.write(self.folder, "validation", iter(lines[:4]))
        return {"skipped_rows": skipped.count}

    def build(self) -> RecallModel:
        return RecallModel(self.settings.hidden)

    def dataset(self, part: Part) -> RaggedArrays:
        return RaggedArrays.open(self.folder, part)

    def read(
        self, sources: Sequence[Path], folder: Path, *, skip_bad: bool, limit: int | None
    ) -> tuple[RaggedArrays, SkippedRows]:
        skipped = SkippedRows()
        return RaggedArrays.write(folder, "other", read_lines(sources, skipped, skip_bad)), skipped

    def batches(self, training: RaggedArrays) -> BucketBatches[LineBatch]:
        s = self.settings
        return BucketBatches(
            training.lengths,
            lambda numbers: collate([training[n] for n in numbers]),
            batch_size=s.batch_size,
            seed=s.seed,
        )

    def loss(self, model: RecallModel, batch: LineBatch, state: None, progress: float | None) -> Loss:
        return Loss((model(batch) - batch.x_TB1[0, :, 0]).square().mean(), len(batch.lengths_B))

    def measure(self, model: RecallModel, data: RaggedArrays) -> dict[str, float | None]:
        batch = collate([data[n] for n in range(len(data))])
        return {"error": float((model(batch) - batch.x_TB1[0, :, 0]).abs().mean())}

    def baselines(self, data: RaggedArrays) -> dict[str, Any]:
        return {"zero": {"error": float(np.mean([abs(data[n][0]) for n in range(len(data))]))}}

    def predictor(self, model: RecallModel) -> RecallPredictor:
        return RecallPredictor(model, self.folder)

    @staticmethod
    def headline(metrics: Any) -> str:
        return f"error {metrics['error']:.3f}"

    def usage(self, run: str) -> list[tuple[str, str]]:
        return [("Recall a number", f'elman predict {run} "0.3 0.1"')]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Any]:
    lines = [f"0.{n} 0.5 0.25" for n in range(30)]
    (tmp_path / "data.txt").write_text("\n".join(lines))
    (tmp_path / "broken.txt").write_text("\n".join([*lines, "one two"]))
    settings = {"hidden": 4}
    return {
        "data": tmp_path / "data.txt",
        "broken": tmp_path / "broken.txt",
        "inputs": ["0.3 0.1"],
        "settings": settings,
    }


def test_it_obeys_the_laws(files: dict[str, Any]) -> None:
    check_recipe(Recall, **files)
    assert "recall" not in RECIPES


def test_data_may_be_in_memory(files: dict[str, Any]) -> None:
    check_recipe(Recall, [f"0.{n} 0.5" for n in range(30)], settings={"hidden": 4}, inputs=["0.3"])


def test_a_recipe_of_the_same_name_stays_registered(files: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RECIPES, "recall", Unseeded)
    before = list(RECIPES.items())
    check_recipe(Recall, **files)
    assert list(RECIPES.items()) == before


@pytest.mark.parametrize("law", RECIPE_LAWS)
def test_each_law_holds_alone(files: dict[str, Any], law: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RECIPES, "recall", Recall)
    (tmp_path / "runs").mkdir()
    RECIPE_LAWS[law](RecipeTrial(Recall, folder=tmp_path / "runs", **files))


class Unseeded(Recall):
    """Its data depend on no seed."""

    def build(self) -> RecallModel:
        torch.seed()
        return super().build()


class Forgetful(Recall):
    """Its batches begin anew when a run is resumed."""

    def batches(self, training: RaggedArrays) -> BucketBatches[LineBatch]:
        batches = super().batches(training)
        batches.seek = lambda position: None  # type: ignore[method-assign]
        return batches


class Untidy(Recall):
    """Its evaluation counts another number of lines each time."""

    calls = 0

    def evaluate(self, model: RecallModel, data: RaggedArrays, *, out: Path | None) -> dict[str, Any]:
        type(self).calls += 1
        return {**self.measure(model, data), "calls": self.calls}


@pytest.mark.parametrize(
    ("recipe", "law"),
    [
        (Unseeded, "the same seed gives the same bits"),
        (Forgetful, "a resumed run equals an uninterrupted one"),
        (Untidy, "an evaluation equals that of training"),
    ],
)
def test_a_bad_recipe_is_told_its_law(files: dict[str, Any], recipe: type[Recall], law: str) -> None:
    with pytest.raises(LawBroken, match=f"^{law}: recall: "):
        check_recipe(recipe, **files)


def test_the_command_line_has_it(
    elman: Elman, files: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RECIPES, "recall", Recall)
    assert "a line of numbers -> the first one" in elman("recipes").out
    assert "--set digits=3" in elman("recipes", "recall").out
    run = tmp_path / "run"
    answer = elman("train", "recall", files["data"], "--steps", 4, "--hidden", 4, "--out", run)
    assert answer.code == 0 and "error 0." in answer.err
    assert elman("predict", run, "0.3 0.1", "--set", "digits=1").out.count(".") == 1
    metrics = json.loads(elman("evaluate", run, "--json").out)
    assert metrics["lines"] == 4 and metrics["baselines"].keys() == {"zero"}
    assert "recurrent layer 0" in elman("diagnose", run).out


def test_contributing_names_the_files() -> None:
    root = Path(__file__).parents[1]
    section = (
        (root / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## A new recipe")[2].partition("\n## ")[0]
    )
    for file in re.findall(r"`((?:src/elman|recipes)/[\w/.]+\.py)`", section):
        path = file if file.startswith("src") else f"src/elman/{file}"
        assert (root / path.replace("NAME", "similarity")).exists(), file
    assert "check_recipe" in section
    abstract = set(Recipe.__abstractmethods__) - {"metric"}
    assert abstract <= set(re.findall(r"`(\w+)`", section)), "the methods that a recipe defines"
