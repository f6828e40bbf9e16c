"""Folders of all kinds of runs compute what the runs do, by the page's JavaScript and by NumPy; others are refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

import elman
from elman.data.text.bpe import BytePairs
from elman.data.text.characters import Bytes, Characters
from elman.data.text.words import Words
from elman.errors import ExportError, RunError, SettingError
from elman.exporters.web import comparison
from elman.exporters.web import forecaster as forecaster_page
from elman.exporters.web import target as module
from elman.exporters.web.comparison import compare_folder
from elman.exporters.web.engine import JavaScript, find_engine, run_checks
from elman.models.transcriber import Transcriber
from elman.predictors.base import Predictor
from elman.predictors.transcriber import TranscriptionPredictor
from elman.settings import Settings

from .conftest import RATE, Train, language_model, sound, transcriber

TEXT = "The cat sat on the mat, didn't it?\nDeux élèves 12 34  ate\tcakes \u3000 😀.\n" * 30
LABELS = ("one", "two", "three")


def export(subject: Any, path: Path, **options: Any) -> elman.exporters.export.Export:
    """Export a run, and compare the folder by NumPy too."""
    predictor = elman.load(subject) if isinstance(subject, Path) else subject
    written = elman.export(predictor, path, to="web", **options)
    cases = module.PAGES[type(predictor)].module.cases(predictor)
    compare_folder(path, cases, "none", None).check()
    return written


VOCABULARIES = {
    "characters": lambda: Characters("\n abcdefghijklmnopqrstuvwxyz'<&", unknown=True),
    "bytes": Bytes,
    "words": lambda: Words(["<unk>", "<eos>", "the", "cat", "it?"]),
    "bpe": lambda: BytePairs.build([[TEXT]], size=340),
}


@pytest.mark.parametrize("kind", VOCABULARIES)
def test_language_models(tmp_path: Path, kind: str) -> None:
    options = {
        "characters": {"cell": "rnn", "nonlinearity": "relu", "tie_weights": True, "embedding": 10},
        "bytes": {"cell": "lstm", "layers": 2},
        "words": {"cell": "gru", "learn_initial_state": True},
        "bpe": {"cell": "lstm", "cutoffs": (20, 100)},
    }[kind]
    written = export(language_model(VOCABULARIES[kind](), **options), tmp_path / "page")
    assert "index.html" in written.files and "js/model/cells.js" in written.files
    assert any("symbols" in row.compared for row in written.report.rows) or find_engine() is None


@pytest.mark.skipif(find_engine() is None, reason="neither Node.js nor Chromium is on the PATH")
@pytest.mark.parametrize("kind", ["words", "bpe"])
def test_texts_are_encoded_as_in_python(tmp_path: Path, kind: str) -> None:
    vocabulary = VOCABULARIES[kind]()
    elman.export(language_model(vocabulary), tmp_path / "page", to="web")
    rng = np.random.default_rng(1)
    signs = [*" \n\t\r\x1c\x85\xa0\u2028'’.-_aZ9é中😀\u0301½Ⅷ ", "don't", "the", "  ", "<eos>", "\r\n", "'ll"]
    texts = ["".join(rng.choice(signs, rng.integers(1, 25))) for _ in range(300)]
    engine = find_engine()
    assert engine is not None
    answers = run_checks(engine, tmp_path / "page", [{"text": text} for text in texts])["answers"]
    assert [answer["symbols"] for answer in answers] == [vocabulary.encode(text).tolist() for text in texts]


def series_table(path: Path, label: Callable[[int], str], width: int = 3) -> Path:
    rng = np.random.default_rng(1)
    lines = ["sequence,label," + ",".join(f"x{i}" for i in range(width))]
    for n in range(24):
        for _ in range(int(rng.integers(3, 9))):
            lines.append(f"{n},{label(n)}," + ",".join(f"{value + n % 3:.3f}" for value in rng.standard_normal(width)))
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    ("pooling", "settings"),
    [
        ("last", {"bidirectional": "true", "cell": "lstm"}),
        ("mean", {"cell": "rnn"}),
        ("max", {"layers": 2}),
        ("attention", {}),
    ],
)
def test_classifiers_of_series(tmp_path: Path, train: Train, pooling: str, settings: dict[str, Any]) -> None:
    data = series_table(tmp_path / "series.csv", lambda n: LABELS[n % 3])
    export(train("classify", data, group_column="sequence", pooling=pooling, **settings), tmp_path / "page")


def test_classifiers_of_numbers_far_from_zero(tmp_path: Path, train: Train) -> None:
    rows = [f"{n},{1e9 + n % 3 + t / 10},{n % 3 + 0.25}" for n in range(30) for t in range(5)]
    (tmp_path / "far.csv").write_text("sequence,x,label\n" + "\n".join(rows) + "\n")
    run = train("classify", tmp_path / "far.csv", group_column="sequence", target="number")
    export(run, tmp_path / "page")
    assert json.loads((tmp_path / "page" / "manifest.json").read_text())["input"]["offset"]


@pytest.mark.parametrize("vocabulary", ["words", "bpe"])
def test_classifiers_of_text(tmp_path: Path, train: Train, vocabulary: str) -> None:
    rows = [f'"the {word} cat didn\'t {n % 5}!",{word}' for n in range(40) for word in LABELS]
    (tmp_path / "texts.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    size = {"vocabulary_size": 300} if vocabulary == "bpe" else {}
    export(train("classify", tmp_path / "texts.csv", vocabulary=vocabulary, **size), tmp_path / "page")


def test_classifiers_of_other_targets(tmp_path: Path, other_target: tuple[str, Path]) -> None:
    export(other_target[1], tmp_path / "page")


@pytest.mark.parametrize(
    ("decoding", "output", "norm"),
    [
        ("segments", "quantiles", "none"),
        ("direct", "normal", "last"),
        ("recursive", "laplace", "revin"),
        ("recursive", "quantiles", "revin"),
    ],
)
def test_forecasters(tmp_path: Path, train: Train, hourly: Path, decoding: str, output: str, norm: str) -> None:
    settings = {"decoding": decoding, "output": output, "window_norm": norm, "horizon": 7, "lookback": 20, "segment": 6}
    written = export(train("forecast", hourly, gaps="missing", min_value=30, **settings), tmp_path / "page")
    assert any(row.inputs.startswith("own series") for row in written.report.rows)


@pytest.mark.parametrize("words", [False, True])
def test_transcribers(tmp_path: Path, words: bool) -> None:
    vocabulary = Words(["<unk>", "<eos>", "one", "two"]) if words else Characters("ab <")
    export(transcriber(vocabulary, gain_control=not words, rate=11025 if words else 8000), tmp_path / "page")


def test_a_page_that_computes_other_numbers_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = module.write_bytes

    def spoiled(path: Path, content: bytes) -> None:
        write(path, bytes(4000) + content[4000:] if path.name == "weights.bin" else content)

    monkeypatch.setattr(module, "write_bytes", spoiled)
    for javascript in ("auto", "none"):
        with pytest.raises(ExportError, match="computes other numbers"):
            elman.export(language_model(Bytes()), tmp_path / "page", to="web", javascript=javascript)
        assert not (tmp_path / "page").exists()


def test_an_engine_that_fails_is_named(tmp_path: Path, folder: Callable[..., Path]) -> None:
    path = folder(language_model(Bytes()), javascript="none")
    for kind in ("node", "browser"):
        with pytest.raises(ExportError, match="cannot run the exported page") as caught:
            run_checks(JavaScript(kind, str(tmp_path / "missing")), path, [])
        assert "javascript=none" in str(caught.value)


@pytest.mark.parametrize("kind", ["node", "browser"])
def test_a_program_asked_for_by_name_is_never_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("elman.exporters.web.engine.shutil.which", lambda name: None)
    with pytest.raises(ExportError, match="to run the page") as caught:
        elman.export(language_model(Bytes()), tmp_path / "page", to="web", javascript=kind)
    assert "javascript=auto" in str(caught.value) and not (tmp_path / "page").exists()
    assert find_engine() is None


def test_an_option_of_another_recipe_is_refused(tmp_path: Path, reader: Path, pictures: Path, forecaster: Path) -> None:
    options: list[tuple[Any, dict[str, Any]]] = [
        (pictures, {"example": True}),
        (language_model(Bytes()), {"example": True}),
        (language_model(Bytes()), {"picture": (8, 8)}),
        (forecaster, {"picture": (8, 8)}),
        (reader, {"picture": (8, 8)}),
    ]
    for subject, option in options:
        with pytest.raises(ExportError, match="leave"):
            elman.export(subject, tmp_path / "page", to="web", javascript="none", **option)
        assert not (tmp_path / "page").exists()


def test_a_classifier_of_sound_is_refused(tmp_path: Path, train: Train) -> None:
    for n in range(8):
        (tmp_path / "sounds" / "ab"[n % 2]).mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / "sounds" / "ab"[n % 2] / f"{n}.wav", sound(0.1, RATE), RATE)
    run = train("classify", tmp_path / "sounds", sample_rate=RATE, mel_bands=8, validation=0.25)
    with pytest.raises(ExportError, match="reads no sound"):
        elman.export(run, tmp_path / "page", to="web")
    assert not (tmp_path / "page").exists()


@pytest.mark.parametrize("name", ["temperature", "mean", "deviation"])
def test_a_page_with_other_labels_is_refused(
    tmp_path: Path, other_target: tuple[str, Path], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, run = other_target
    if (target == "number") != (name in ("mean", "deviation")):
        return
    write = module.write_json

    def spoiled(path: Path, content: dict[str, Any]) -> None:
        labels = content["labels"]
        write(path, {**content, "labels": {**labels, name: 1.1 * labels[name] + 0.1}})

    monkeypatch.setattr(module, "write_json", spoiled)
    for javascript in ("auto", "none"):
        with pytest.raises(ExportError, match="computes other numbers"):
            elman.export(run, tmp_path / "page", to="web", javascript=javascript)


def test_forecasts_are_compared_in_deviations(forecaster: Path) -> None:
    predictor: Any = elman.load(forecaster)
    scaler = predictor.spec.scaler
    scaler = replace(scaler, mean=scaler.mean * 1e-6, deviation=scaler.deviation * 1e-6)
    predictor.spec = replace(predictor.spec, scaler=scaler)
    cases = [case for case in forecaster_page.random_cases(predictor) if not case.title.startswith("constant")]
    for factor in (0.0, 0.98):
        answers = [{"quantiles": factor * case.expected["quantiles"]} for case in cases]
        rows = comparison.report(cases, answers, "the page", (), ()).rows
        assert rows and not any(row.passed for row in rows)


def test_a_forecaster_without_its_series_says_so(tmp_path: Path, forecaster: Path) -> None:
    packed = Path(shutil.copytree(forecaster, tmp_path / "run"))
    (packed / "values.values.npy").unlink()
    for to in ("web", "onnx"):
        written = elman.export(packed, tmp_path / to, to=to)
        assert "came without its data" in str(written)
    broken = Path(shutil.copytree(forecaster, tmp_path / "broken"))
    values = np.load(broken / "values.values.npy")
    np.save(broken / "values.values.npy", values + 1)
    with pytest.raises(RunError, match="not those that the run began with"):
        elman.export(broken, tmp_path / "page", to="web")


class Other(Predictor):
    """A predictor of a recipe without a page."""

    Options = Settings

    def answers(self, inputs: Any, **options: Any) -> Any:
        raise NotImplementedError


def test_what_a_page_cannot_do_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="no page for this run") as caught:
        elman.export(Other(torch.nn.Identity(), Path("model")), tmp_path / "page", to="web")
    assert "language-model, classify, forecast or transcribe" in str(caught.value)
    model = Transcriber(12, 3, mean=[0.0] * 12, deviation=[1.0] * 12).eval()
    whole = TranscriptionPredictor(model, Path("model"), Characters("abc"), transcriber(Characters("abc")).features)
    with pytest.raises(ExportError, match="streams alone") as caught:
        elman.export(whole, tmp_path / "page", to="web")
    assert "streaming=true" in str(caught.value)
    with pytest.raises(ExportError, match="does not take a layer"):
        elman.export(torch.nn.GRU(2, 3), tmp_path / "page", to="web")
    for name in ("precision", "javascript"):
        with pytest.raises(SettingError, match=name):
            elman.export(language_model(Bytes()), tmp_path / "page", to="web", **{name: "int8"})
    assert not (tmp_path / "page").exists()


def test_a_forecaster_with_known_columns_is_refused(tmp_path: Path, train: Train) -> None:
    rows = "".join(f"{year},{year % 11},{year % 2}\n" for year in range(1700, 1900))
    (tmp_path / "known.csv").write_text("time,value,holiday\n" + rows)
    run = train("forecast", tmp_path / "known.csv", known_columns="holiday", horizon=4, lookback=12)
    with pytest.raises(ExportError, match="known ahead") as caught:
        elman.export(run, tmp_path / "page", to="web")
    assert "holiday" in str(caught.value)


def test_pictures_of_idx_files_are_drawn(tmp_path: Path, train: Train) -> None:
    rng = np.random.default_rng(1)
    for part, count in (("train", 30), ("t10k", 6)):
        pixels, labels = rng.integers(0, 256, (count, 20, 20), np.uint8), np.arange(count, dtype=np.uint8) % 2
        for name, array in ((f"{part}-images-idx3-ubyte", pixels), (f"{part}-labels-idx1-ubyte", labels)):
            header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
            (tmp_path / name).write_bytes(header + array.tobytes())
    run = train("classify", tmp_path / "train-images-idx3-ubyte")
    export(run, tmp_path / "page")
    picture = json.loads((tmp_path / "page" / "manifest.json").read_text())["input"]["picture"]
    assert picture == {"height": 20, "width": 20, "channels": 1, "order": "rows", "places": None, "fit": 20 / 28}
    with pytest.raises(ExportError, match="pictures of 20 x 10 are not what the run reads"):
        elman.export(run, tmp_path / "other", to="web", picture=(20, 10))


def test_the_command(elman: Any, pictures: Path, tmp_path: Path) -> None:
    answer = elman("export", pictures, "--to", "web", "--out", tmp_path / "page", "--set", "title=My pictures")
    assert answer.code == 0 and "scores of the" in answer.out
    assert json.loads((tmp_path / "page" / "manifest.json").read_text())["title"] == "My pictures"
    wrong = elman("export", pictures, "--to", "web", "--out", tmp_path / "other", "--set", "picture=9,9,9")
    assert wrong.code == 2 and "--set picture=28,28" in wrong.err and not (tmp_path / "other").exists()
