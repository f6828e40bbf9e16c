"""The export of a classifier: predict.py answers as `elman predict` does, for texts, series, sounds, images, videos."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

import elman
from elman.errors import DataError
from elman.recipes.classify import Classify
from elman.recipes.run import start

Program = Callable[..., Any]
TINY = {"hidden": 8, "batch_size": 8, "validation": 0.25, "learning_rate": 0.02, "steps": 8, "embedding": 6}
TEXTS = ["a", "ab ba", "Öl und Wasser", "☃", "語 unknown words", " . ", "x" * 300, "don't stop!", "<unk>", "ABBA ba"]


def check_answers(run: Path, inputs: list[object], program: Program, *, app: Path, stdin: bytes = b"") -> None:
    """Export a run and compare the answers of its program with those of elman."""
    if not app.exists():
        elman.export(run, app)
    expected = [answer.fields for answer in elman.load(run).predict([str(each) for each in inputs])]
    answers = program(app, *inputs, stdin=stdin)
    assert len(answers) == len(expected) >= len(inputs)
    for answer, fields in zip(answers, expected, strict=True):
        assert answer.keys() == fields.keys()
        for name, value in fields.items():
            if name == "probabilities" and isinstance(value, dict):
                assert list(answer[name]) == list(value)
                assert list(answer[name].values()) == pytest.approx(list(value.values()), abs=1e-4)
            elif name in ("probabilities", "number"):
                assert answer[name] == pytest.approx(value, rel=1e-6, abs=1e-4)
            else:
                assert answer[name] == value, name


@pytest.mark.parametrize(
    ("label", "settings"),
    [
        ("class", {"vocabulary": "characters", "pooling": "mean", "cell": "lstm"}),
        ("classes", {"vocabulary": "bytes", "pooling": "max", "bidirectional": True, "layers": 2}),
        ("tags", {"vocabulary": "words", "cell": "rnn", "learn_initial_state": True}),
        ("class", {"vocabulary": "bpe", "vocabulary_size": 330, "pooling": "attention"}),
    ],
)
def test_texts(tmp_path: Path, program: Program, label: str, settings: dict[str, Any]) -> None:
    rng, rows = np.random.default_rng(1), []
    for n in range(24):
        words = rng.choice(["ab", "ba", "don't", "Öl", "!"], 4).tolist()
        targets = {"class": "AB"[n % 2], "classes": ["A", "B"][: n % 3], "tags": [word.upper() for word in words]}
        rows.append(json.dumps({"text": " ".join(words), "label": targets[label]}))
    (tmp_path / "data.jsonl").write_text("\n".join(rows))
    start(Classify, [tmp_path / "data.jsonl"], {**TINY, **settings, "target": label}, tmp_path / "run")
    (tmp_path / "lines.txt").write_text("one line\n\n  Ä second one \n")
    check_answers(tmp_path / "run", [*TEXTS, tmp_path / "lines.txt"], program, app=tmp_path / "app")


def test_arrays_and_standard_input_of_a_shared_run(classify_run: Path, tmp_path: Path, program: Program) -> None:
    rng, files = np.random.default_rng(2), []
    for n, steps in enumerate((1, 2, 9, 400)):
        files.append(tmp_path / f"{n}.npy")
        np.save(files[-1], rng.normal(0, 2, (steps, 2)))
    check_answers(classify_run, files, program, app=tmp_path / "app")
    (answer,) = program(tmp_path / "app", "-", stdin=b"1,2\n\n3 4\n-5;6\n")
    assert (answer["input"], answer["step"]) == ("-", 3)
    np.save(tmp_path / "odd.npy", np.zeros((3, 5)))
    (tmp_path / "table.csv").write_text("1,2\n")
    names = [tmp_path / name for name in ("odd.npy", "none.npy", "table.csv", "x.pdf")]
    message = program(tmp_path / "app", *names, code=2)
    assert message.count("error") == 4 and "Traceback" not in message


def test_tables_of_steps(tmp_path: Path, program: Program) -> None:
    rng, files = np.random.default_rng(2), []
    for n in range(16):
        (tmp_path / "series" / "ab"[n % 2]).mkdir(parents=True, exist_ok=True)
        files.append(tmp_path / "series" / "ab"[n % 2] / f"{n}.csv")
        series, names = rng.normal(n % 2, 2, (1 + 3 * n, 2)).round(3), "a,b" if n % 3 == 0 else ""
        np.savetxt(files[-1], series, "%g", delimiter=",", header=names, comments="" if names else "#")
        if not names:
            files[-1].write_text(files[-1].read_text().split("\n", 1)[1])
    start(Classify, [tmp_path / "series"], {**TINY, "pooling": "attention"}, tmp_path / "run")
    check_answers(tmp_path / "run", files, program, app=tmp_path / "app")


def test_numbers_that_float32_would_round(tmp_path: Path, program: Program) -> None:
    rng, rows = np.random.default_rng(1), []
    for _ in range(24):
        series = 1e9 + rng.normal(0, 1, (int(rng.integers(3, 9)), 1))
        rows.append(json.dumps({"series": series.tolist(), "label": 500 + float(series.mean() - 1e9)}))
    (tmp_path / "data.jsonl").write_text("\n".join(rows))
    start(Classify, [tmp_path / "data.jsonl"], {**TINY, "target": "number", "pooling": "max"}, tmp_path / "run")
    np.save(tmp_path / "x.npy", 1e9 + rng.normal(0, 1, (5, 1)))
    check_answers(tmp_path / "run", [tmp_path / "x.npy"], program, app=tmp_path / "app")


def test_sounds(tmp_path: Path, program: Program) -> None:
    rng = np.random.default_rng(1)
    for n in range(12):
        (tmp_path / "tones" / "ab"[n % 2]).mkdir(parents=True, exist_ok=True)
        time = np.arange(900 + 100 * n)
        sound = 0.3 * np.sin(time * (0.2 + 0.5 * (n % 2))) + 0.01 * rng.standard_normal(len(time))
        soundfile.write(tmp_path / "tones" / "ab"[n % 2] / f"{n}.wav", sound, 4000)
    soundfile.write(tmp_path / "stereo.flac", np.stack([sound, 0.1 * sound], 1), 8000)
    soundfile.write(tmp_path / "short.wav", sound[:7], 4000)
    settings = {**TINY, "sample_rate": 4000, "mel_bands": 12, "trim_silence": True, "max_seconds": 1.0}
    start(Classify, [tmp_path / "tones"], settings, tmp_path / "run")
    files = [*sorted((tmp_path / "tones" / "a").iterdir()), tmp_path / "stereo.flac", tmp_path / "short.wav"]
    check_answers(tmp_path / "run", files, program, app=tmp_path / "app")
    soundfile.write(tmp_path / "long.wav", np.tile(sound, 3), 4000)
    with pytest.raises(DataError, match="too long"):
        list(elman.load(tmp_path / "run").predict([tmp_path / "long.wav"]))
    assert "at most 1 seconds" in program(tmp_path / "app", tmp_path / "long.wav", code=2)


@pytest.mark.parametrize("settings", [{"image_size": "9,7", "pixel_order": "permuted"}, {"colour": True}])
def test_images(tmp_path: Path, program: Program, settings: dict[str, Any]) -> None:
    rng = np.random.default_rng(1)
    for n in range(16):
        (tmp_path / "images" / "ab"[n % 2]).mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 100 + 150 * (n % 2), (18, 20, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / "ab"[n % 2] / f"{n}.png")
    red, turned = Image.new("RGB", (20, 18), (220, 30, 30)), Image.Exif()
    turned[0x0112] = 6
    red.convert("P").save(tmp_path / "glass.png", transparency=bytes(range(256)))
    red.convert("CMYK").save(tmp_path / "print.jpg")
    Image.new("RGB", (18, 20), (30, 90, 30)).save(tmp_path / "turned.jpg", exif=turned)
    start(Classify, [tmp_path / "images"], {**TINY, **settings}, tmp_path / "run")
    odd = [tmp_path / name for name in ("glass.png", "print.jpg", "turned.jpg")]
    files = [*(tmp_path / "images").rglob("*.png"), *odd]
    check_answers(tmp_path / "run", files, program, app=tmp_path / "app")


def test_videos(tmp_path: Path, program: Program, write_video: Callable[..., Path]) -> None:
    rng, lines = np.random.default_rng(1), ["path\tlabel"]
    for n in range(12):
        frames = rng.integers(0, 250, (int(rng.integers(3, 7)), 12, 16, 3)).astype(np.uint8)
        frames[:, : 6 * (n % 2)] = 0
        write_video(tmp_path / f"{n}.mkv", frames)
        lines.append(f"{n}.mkv\t{n % 2}")
    (tmp_path / "films.tsv").write_text("\n".join(lines) + "\n")
    settings = {**TINY, "max_shift": 1, "pooling": "mean"}
    start(Classify, [tmp_path / "films.tsv"], settings, tmp_path / "run")
    check_answers(tmp_path / "run", [tmp_path / f"{n}.mkv" for n in range(4)], program, app=tmp_path / "app")


@pytest.mark.parametrize("source", ["digits", "images", "numbers"])
def test_the_program_of_a_run_without_its_data(tmp_path: Path, source: str) -> None:
    sources = []
    if source == "images":
        for n in range(8):
            (tmp_path / "images" / "ab"[n % 2]).mkdir(parents=True, exist_ok=True)
            Image.new("L", (6, 6), 9 * n).save(tmp_path / "images" / "ab"[n % 2] / f"{n}.png")
        sources = [tmp_path / "images"]
    if source == "numbers":
        rows = [json.dumps({"series": [[n + t / 3] for t in range(4)], "label": "ab"[n % 2]}) for n in range(12)]
        (tmp_path / "data.jsonl").write_text("\n".join(rows))
        sources = [tmp_path / "data.jsonl"]
    start(Classify, sources, {**TINY, "steps": 1}, tmp_path / "run")
    for path in (tmp_path / "run").glob("examples*.npy"):
        path.unlink()
    written = elman.export(tmp_path / "run", tmp_path / "app")
    assert "came without its data" in str(written)
    program = "SeriesClassifier" if source == "numbers" else "PixelClassifier"
    assert f"class {program}" in (tmp_path / "app" / "predict.py").read_text()
