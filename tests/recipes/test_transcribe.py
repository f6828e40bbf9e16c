"""The recipe transcribe: whistled letters, so few that it learns them in seconds."""

import json
import os
import shutil
import struct
import tracemalloc
import weakref
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from elman import RNN
from elman.data.batching import in_order
from elman.data.speech.dataset import FeatureScale
from elman.data.speech.utterance import SoundFeatures, Utterance
from elman.decoding.ctc import TimedSequence, greedy
from elman.errors import DataError, SettingError
from elman.models.transcriber import Transcriber
from elman.predictors import sentence_decoder
from elman.recipes import use
from elman.recipes.transcribe import Transcribe, TranscribeSettings
from elman.storage import tensors

Elman = Callable[..., Any]
Whistled = Callable[[str], np.ndarray]
RATE = 4000


@pytest.fixture
def data(transcription_data: Path) -> Path:
    return transcription_data


@pytest.fixture
def run(transcription_run: Path) -> Path:
    return transcription_run


@pytest.fixture
def tiny(transcription_options: list[str]) -> list[str]:
    return transcription_options


def test_it_learns_whistled_letters(elman: Elman, run: Path, data: Path) -> None:
    metrics = json.loads(elman("evaluate", run, "--json").out)
    assert metrics["word_error_rate"] < 0.15
    assert metrics["baselines"]["most frequent transcript"]["word_error_rate"] > 0.5
    assert "| most frequent transcript |" in (run / "report.md").read_text()
    assert f"arecord -f S16_LE -r {RATE} | elman predict" in (run / "report.md").read_text()
    rows = [json.loads(line)["validation"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    best = min(rows, key=lambda row: (row["character_error_rate"], row["nats_per_symbol"]))
    assert {name: metrics[name] for name in best} == best
    edits = metrics["substituted"] + metrics["deleted"] + metrics["inserted"]
    assert edits == pytest.approx(metrics["word_error_rate"])
    assert json.loads(elman("evaluate", run, data, "--json").out)["sentences"] == 60


def test_a_step_is_as_long_as_the_symbols_allow(
    elman: Elman, run: Path, data: Path, tmp_path: Path, tiny: list[str]
) -> None:
    def seconds(folder: Path) -> float:
        return float(json.loads((folder / "config.json").read_text())["data"]["seconds_per_step"])

    elman("train", "transcribe", data, "--out", tmp_path / "run", "--steps", 1, "--set", "vocabulary=words", *tiny)
    assert use.load(tmp_path / "run").model.stride == 4
    assert (seconds(run), seconds(tmp_path / "run")) == (0.03, 0.04)


def test_a_stream_cannot_be_normalised_by_its_own_mean(elman: Elman, data: Path, tmp_path: Path) -> None:
    words = ["train", "transcribe", data, "--steps", 1, "--out", tmp_path / "run", "--set", "streaming=true"]
    answer = elman(*words, "--set", "feature_norm=speaker")
    assert answer.code == 2
    assert "feature_norm=training with streaming=true" in answer.err


def test_video_has_no_level() -> None:
    with pytest.raises(SettingError, match="video has no level of sound"):
        TranscribeSettings(input="video", feature_norm="level")
    assert TranscribeSettings(input="video", streaming=True).norm == "training"


def test_a_stream_does_not_depend_on_its_level(run: Path, tmp_path: Path, whistled: Whistled) -> None:
    trained = use.load(run)
    texts = []
    for gain in (1.0, 0.1, 0.01):
        sound = gain * np.concatenate([whistled("ab cd"), whistled(" dac"), np.zeros(RATE // 5, np.float32)])
        blocks = iter(np.array_split(sound.astype(np.float32), 9))
        texts.append([answer.fields.get("word") for answer in trained.stream_transcriber().transcribe(blocks)][:3])
    assert texts == 3 * [["ab", "cd", "dac"]]


def test_a_run_of_an_earlier_version_is_normalised_as_it_was(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    scale = json.loads((copy / "scale.json").read_text())
    assert (scale["norm"], scale["longest"]) == ("level", max(use.opened(copy)[0].dataset("training").input.lengths))
    del scale["norm"], scale["longest"]
    (copy / "scale.json").write_text(json.dumps(scale))
    model = use.load(copy).model
    assert use.load(run).model.gain_control is not None and model.gain_control is None and not model.utterance_norm


def test_features_are_normalised_by_speaker(elman: Elman, data: Path, tmp_path: Path, tiny: list[str]) -> None:
    head, *rows = data.read_text().splitlines()
    table = data.with_name("speakers.tsv")
    table.write_text("\n".join([f"{head}\twho", *(f"{row}\t{'ab'[n % 2]}" for n, row in enumerate(rows[:12]))]) + "\n")
    words = [
        "train",
        "transcribe",
        table,
        "--steps",
        1,
        "--out",
        tmp_path / "run",
        *tiny,
        "--set",
        "feature_norm=speaker",
    ]
    answer = elman(*words)
    assert answer.code == 2
    assert "no column 'speaker'" in answer.err and "--set speaker_column=NAME" in answer.err
    assert elman(*words, "--set", "speaker_column=who").code == 0
    assert json.loads(elman("evaluate", tmp_path / "run", table, "--json").out)["sentences"] == 12
    files = [data.parent / "train" / f"{n}.wav" for n in range(3)]
    trained = use.load(tmp_path / "run")
    alone = [u.features for _, u in trained._utterances(files, trained.features, one_speaker=False)]
    assert all(abs(features.astype(float).mean()) < 0.01 for features in alone)
    one = np.concatenate([u.features for _, u in trained._utterances(files, trained.features, one_speaker=True)])
    np.testing.assert_allclose(one.astype(float).mean(0), 0, atol=0.01)
    assert elman("predict", tmp_path / "run", *files, "--set", "one_speaker=true").code == 0
    assert json.loads(elman("diagnose", tmp_path / "run", table, "--json").out)["layers"]


def test_lips_are_read_from_videos(elman: Elman, tmp_path: Path, write_video: Any) -> None:
    rng, rows = np.random.default_rng(1), ["path\ttext"]
    looks = {word: rng.integers(0, 120, (12, 16)) for word in ("a", "b")}
    for n in range(24):
        frames = np.full((24, 24, 32, 3), 60, np.uint8)
        pair = rng.choice(["a", "b"], size=2)
        for w, word in enumerate(pair):
            frames[4 + 10 * w : 10 + 10 * w, 6:18, 8:24] += looks[word][..., None].astype(np.uint8)
        write_video(tmp_path / f"{n}.mkv", frames)
        rows.append(f"{n}.mkv\t{' '.join(pair)}")
    table = tmp_path / "films.tsv"
    table.write_text("\n".join(rows) + "\n")
    words = ["train", "transcribe", table, "--steps", 200, "--out", tmp_path / "run", "--hidden", 16, "--layers", 1]
    sets = [
        "input=video",
        "vocabulary=words",
        "crop=12,16",
        "pca_components=8",
        "augmented_copies=2",
        "learning_rate=0.02",
        "dropout=0",
    ]
    assert elman(*words, *(word for pair in sets for word in ("--set", pair))).code == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["data"]["training_sentences"] == 44
    assert json.loads(elman("evaluate", tmp_path / "run", "--json").out)["word_error_rate"] <= 0.25
    answer = elman("predict", tmp_path / "run", tmp_path, "--json")
    assert len(json.loads(answer.out)["predictions"]) == 24
    report = (tmp_path / "run" / "report.md").read_text()
    assert "elman predict" in report and "arecord" not in report
    assert "a run on video reads no samples" in elman("predict", tmp_path / "run", "-").err
    assert "0.mkv is too long" in elman("predict", tmp_path / "run", tmp_path / "0.mkv", "--set", "max_seconds=0.5").err


def test_notes_on_files_are_shown(
    elman: Elman, run: Path, data: Path, tmp_path: Path, tiny: list[str], whistled: Whistled
) -> None:
    soundfile.write(tmp_path / "fast.wav", np.repeat(whistled("ab"), 2), 2 * RATE)
    answer = elman("predict", run, tmp_path / "fast.wav")
    assert answer.out == f"{tmp_path}/fast.wav\tab\n"
    assert answer.err == f"{tmp_path}/fast.wav: resampled from {2 * RATE} to {RATE} Hz\n"
    table = tmp_path / "x.tsv"
    table.write_text(f"path\ttext\nfast.wav\tab\n{data.parent}/train/0.wav\tx y\n")
    words = ["train", "transcribe", table, "--steps", 1, "--out", tmp_path / "run", *tiny, "--set", "validation=0.5"]
    answer = elman(*words)
    assert "notes: 1 file: resampled from" in answer.err
    assert "only in validation: " in answer.err
    assert "is too long" in elman("predict", run, tmp_path / "fast.wav", "--set", "max_seconds=0.1").err


def test_an_interrupted_evaluation_is_resumed(elman: Elman, run: Path, data: Path, tmp_path: Path) -> None:
    whole = elman("evaluate", run, data, "--json", "--out", tmp_path / "there").out
    (table,) = (tmp_path / "there").glob("transcripts-*.jsonl")
    lines = table.read_text().splitlines(keepends=True)
    assert len(lines) == 60
    table.write_text("".join(lines[:30]) + lines[30][:-3])  # stopped while the thirty-first was written
    assert elman("evaluate", run, data, "--json", "--out", tmp_path / "there").out == whole
    assert table.read_text().splitlines(keepends=True) == lines
    assert elman("evaluate", run, data, "--json").out == whole


def test_a_run_that_was_stopped_ends_as_one_that_was_not(
    elman: Elman, data: Path, tmp_path: Path, tiny: list[str]
) -> None:
    once, twice = tmp_path / "once", tmp_path / "twice"
    common = [
        *tiny,
        "--set",
        "evaluate_every=4",
        "--set",
        "schedule=constant",
        "--set",
        "mask_steps=5",
        "--set",
        "flat_start=2",
    ]
    assert elman("train", "transcribe", data, "--steps", 8, "--out", once, *common).code == 0
    assert elman("train", "transcribe", data, "--steps", 4, "--out", twice, *common).code == 0
    assert elman("train", "transcribe", "--out", twice, "--resume", "--steps", 8).code == 0
    weights = [tensors.read(path / "model.safetensors")[0] for path in (once, twice)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert (once / "metrics.jsonl").read_text() == (twice / "metrics.jsonl").read_text()


def test_changed_data_are_refused(elman: Elman, run: Path, tmp_path: Path) -> None:
    out = shutil.copytree(run, tmp_path / "run")
    config = json.loads((out / "config.json").read_text())
    config["data"]["fingerprint"] = "another"
    (out / "config.json").write_text(json.dumps(config))
    refused = elman("train", "transcribe", "--out", out, "--resume", "--steps", 1000)
    assert (refused.code, refused.out) == (2, "")
    assert "the data in" in refused.err and "fingerprint another" in refused.err


def test_it_can_be_diagnosed(elman: Elman, run: Path, data: Path, tmp_path: Path) -> None:
    table = tmp_path / "x.tsv"
    table.write_text(f"path\ttext\n{data.parent}/train/0.wav\tab, xyz!\n")
    for sources in ([], [data], [table]):
        assert json.loads(elman("diagnose", run, *sources, "--json").out)["layers"]


def test_broken_files_are_named_or_skipped(
    elman: Elman, data: Path, tmp_path: Path, tiny: list[str], write_whistles: Any
) -> None:
    broken = write_whistles(tmp_path, "some", ["ab", "cd", "ba", "dac"])
    (tmp_path / "some" / "1.wav").write_bytes(b"RIFFnothing")
    words = ["train", "transcribe", broken, "--steps", 1, *tiny, "--set", "validation=0.25"]
    answer = elman(*words, "--out", tmp_path / "run")
    assert (answer.code, answer.out) == (2, "")
    assert "1.wav cannot be read" in answer.err
    assert "--skip-bad" in answer.err
    assert not (tmp_path / "run").exists()
    assert elman(*words, "--skip-bad", "--out", tmp_path / "run").code == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["data"]["training_sentences"] == 2
    assert config["data"]["skipped_rows"] == 1
    assert "1.wav" in config["data"]["skipped"][0]
    assert elman("evaluate", tmp_path / "run", broken).code == 2
    metrics = json.loads(elman("evaluate", tmp_path / "run", broken, "--skip-bad", "--json").out)
    assert (metrics["sentences"], metrics["skipped_rows"]) == (3, 1)
    assert "1.wav cannot be read" in metrics["skipped"][0]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("file\ttext\na.wav\tab\n", "no column 'path'"),
        ("path\ttext\na.wav\n", "line 2: a cell is missing"),
        ("path\ttext\n", "has no rows"),
        ("", "x.tsv is empty"),
        ("path\ttext\nnothing.wav\tab\nnothing.wav\tab\n", "nothing.wav does not exist"),
        ("path\ttext\na.wav\tab\n", "too few sentences for a validation part"),
    ],
)
def test_what_training_refuses(elman: Elman, tmp_path: Path, table: str, message: str) -> None:
    (tmp_path / "x.tsv").write_text(table)
    answer = elman("train", "transcribe", tmp_path / "x.tsv", "--steps", 1, "--out", tmp_path / "run")
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err
    assert not (tmp_path / "run").exists()


def test_broken_files_of_a_run_are_named(elman: Elman, run: Path, tmp_path: Path) -> None:
    for name in ("features.json", "scale.json", "texts.json", "input.ends.npy", "vocabulary.json"):
        copy = tmp_path / name
        shutil.copytree(run, copy)
        (copy / name).write_text("{")
        answer = elman("evaluate", copy)
        assert (answer.code, answer.out) == (2, ""), name
        assert "error: " in answer.err


@pytest.mark.parametrize("stride", [None, "4", 0, 1.5, True, 10**12])
def test_a_run_with_an_invalid_stride_is_refused(elman: Elman, run: Path, tmp_path: Path, stride: object) -> None:
    shutil.copytree(run, tmp_path / "run")
    scale = json.loads((run / "scale.json").read_text()) | {"stride": stride}
    (tmp_path / "run/scale.json").write_text(json.dumps({key: scale[key] for key in scale if scale[key] is not None}))
    answer = elman("evaluate", tmp_path / "run")
    assert (answer.code, answer.out) == (2, "")
    assert "scale.json is broken" in answer.err and "stride" in answer.err


def test_the_flat_start_decreases_and_is_resumed(
    elman: Elman, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: list[str]
) -> None:
    assert TranscribeSettings.parse({"vocabulary": "words"}).flat_epochs == 8
    assert TranscribeSettings().flat_epochs == 0
    shares: list[float] = []
    compute = Transcriber.loss

    def watched(self: Any, *batch: Any, flat_start: float = 0.0) -> torch.Tensor:
        shares.append(flat_start)
        return compute(self, *batch, flat_start=flat_start)

    monkeypatch.setattr(Transcriber, "loss", watched)
    words = ["train", "transcribe", data, *tiny, "--set", "flat_start=1", "--set", "schedule=constant"]
    words += ["--set", "evaluate_every=1000"]
    assert elman(*words, "--out", tmp_path / "once", "--steps", 10).code == 0
    whole, shares[:] = [*shares], []
    assert all(a > b or a == b == 0 for a, b in pairwise(whole))
    assert 0.5 < whole[0] < 1 and whole[-1] == 0 and len(whole) == 10
    assert elman(*words, "--out", tmp_path / "twice", "--steps", 4).code == 0
    assert elman("train", "transcribe", "--out", tmp_path / "twice", "--resume", "--steps", 10).code == 0
    assert shares == whole


def test_what_a_diagnosis_advises_reaches_every_layer(
    elman: Elman, data: Path, tmp_path: Path, tiny: list[str]
) -> None:
    words = [
        *tiny,
        "--cell",
        "rnn",
        "--set",
        "nonlinearity=relu",
        "--set",
        "init=identity",
        "--set",
        "learning_rate=1e-9",
    ]
    assert elman("train", "transcribe", data, "--steps", 1, "--out", tmp_path / "run", *words).code == 0
    layers = [module for module in use.load(tmp_path / "run").model.modules() if isinstance(module, RNN)]
    assert len(layers) == 1 and {layer.nonlinearity for layer in layers} == {"relu"}
    for layer in layers:
        torch.testing.assert_close(layer.weight_hh_l0.detach(), torch.eye(layer.hidden_size), rtol=0, atol=1e-6)


def test_an_evaluation_in_training_holds_one_batch_of_probabilities(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[int] = []
    batches: list[weakref.ref] = []

    def watched(log_p_TBV: torch.Tensor, steps: list[int]) -> list[TimedSequence]:
        batches.append(weakref.ref(log_p_TBV))
        alive.append(sum(batch() is not None for batch in batches))
        return greedy(log_p_TBV, steps)

    trained = use.load(run)
    recipe, _ = use.opened(run)
    validation = recipe.dataset("validation")
    expected = recipe.measure(trained.model, validation)
    monkeypatch.setattr(sentence_decoder, "greedy", watched)
    monkeypatch.setattr(sentence_decoder, "in_order", lambda lengths, batch_size: in_order(lengths, batch_size=1))
    assert recipe.measure(trained.model, validation) == pytest.approx(expected, rel=1e-6)  # batches of another size
    assert len(alive) == 6 and max(alive) <= 2


@pytest.mark.parametrize(
    "pair", ["sample_rate=8000", "trim_silence=true", "feature_norm=speaker", "validation_data=x.tsv", "input=video"]
)
def test_the_default_data_take_no_settings_of_files(elman: Elman, tmp_path: Path, pair: str) -> None:
    answer = elman("train", "transcribe", "--steps", 1, "--out", tmp_path / "run", "--set", pair)
    assert (answer.code, answer.out) == (2, "")
    assert "the default data are not files" in answer.err and pair in answer.err
    assert not (tmp_path / "run").exists()


def test_preparing_holds_the_features_of_one_file(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref] = []
    alive: list[int] = []
    compute = SoundFeatures.of

    def watched(self: SoundFeatures, source: Any) -> Utterance:
        utterance = compute(self, source)
        made.append(weakref.ref(utterance.features))
        alive.append(sum(features() is not None for features in made))
        return utterance

    monkeypatch.setattr(SoundFeatures, "of", watched)
    recipe = Transcribe(TranscribeSettings(sample_rate=RATE, mel_bands=16), tmp_path)
    recipe.prepare([data])
    assert (len(recipe.dataset("training")), len(recipe.dataset("validation"))) == (54, 6)
    assert len(alive) == 60 and max(alive) <= 2


def test_of_many_broken_files_the_first_are_named(data: Path, tmp_path: Path) -> None:
    table = data.with_name("many.tsv")
    table.write_text(data.read_text() + "".join(f"none/{n}.wav\tab\n" for n in range(60)))
    recipe = Transcribe(TranscribeSettings(sample_rate=RATE, mel_bands=16, skip_bad=True), tmp_path)
    description = recipe.prepare([table])
    assert len(recipe.dataset("training")) + len(recipe.dataset("validation")) == 60
    assert description["skipped_rows"] == 60
    assert len(description["skipped"]) == 21 and description["skipped"][-1] == "and 40 more"


@pytest.mark.parametrize(
    ("endless", "message"),
    [
        ("x.tsv", r"x\.tsv is a binary file"),
        ("x.wav", r"x\.wav is too long\n.*at most 60 seconds"),
    ],
)
def test_endless_files_are_refused_before_they_fill_the_memory(tmp_path: Path, endless: str, message: str) -> None:
    soundfile.write(tmp_path / "x.wav", np.zeros(1), 16000)
    header = (tmp_path / "x.wav").read_bytes()[:40]
    (tmp_path / "x.wav").write_bytes(header[:4] + struct.pack("<I", 10**9 + 36) + header[8:] + struct.pack("<I", 10**9))
    (tmp_path / "x.tsv").write_text("path\ttext\nx.wav\tab\nx.wav\tab\n")
    os.truncate(tmp_path / endless, 10**9 + 44)  # takes no room on the disk
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=message):
            Transcribe(TranscribeSettings(), tmp_path).prepare([tmp_path / "x.tsv"])
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("number", [0, 8])
def test_a_text_longer_than_its_sound_is_refused_or_skipped(
    elman: Elman, run: Path, data: Path, tmp_path: Path, tiny: list[str], number: int
) -> None:
    head, *rows = data.read_text().splitlines()[:13]
    path = rows[number].split("\t")[0]
    rows[number] = f"{path}\t{' '.join(200 * ['ab'])}"
    table = data.with_name(f"long-{number}.tsv")
    table.write_text("\n".join([head, *rows]) + "\n")
    words = ["train", "transcribe", table, "--steps", 1, "--out", tmp_path / "run", *tiny, "--set", "validation=0.4"]
    message = f"{path}: the text is longer than its sound allows"
    refused = elman(*words)
    assert (refused.code, refused.out) == (2, "") and message in refused.err and "--skip-bad" in refused.err
    assert elman(*words, "--skip-bad").code == 0
    assert "skipped rows: 1" in (tmp_path / "run" / "report.md").read_text()
    assert message in (tmp_path / "run" / "report.md").read_text()
    recipe, _ = use.opened(tmp_path / "run")
    parts = recipe.dataset("training"), recipe.dataset("validation")
    assert sum(map(len, parts)) == 11 and not any("ab ab ab ab" in text for part in parts for text in part.texts)
    assert message in elman("evaluate", run, table).err
    metrics = json.loads(elman("evaluate", run, table, "--skip-bad", "--json").out)
    assert (metrics["sentences"], metrics["skipped_rows"]) == (11, 1)


def test_the_scale_is_that_of_the_sentences_that_are_trained_on(data: Path, tmp_path: Path) -> None:
    head, *rows = data.read_text().splitlines()
    soundfile.write(data.with_name("noise.wav"), np.random.default_rng(1).uniform(-1, 1, RATE // 4), RATE)
    table = data.with_name("noise.tsv")
    table.write_text("\n".join([head, *rows, f"noise.wav\t{' '.join(99 * ['ab'])}"]) + "\n")
    settings = {"sample_rate": RATE, "mel_bands": 16, "validation_data": (str(data),), "skip_bad": True}
    scales = []
    for source in (data, table):
        (tmp_path / source.stem).mkdir()
        Transcribe(TranscribeSettings(**settings), tmp_path / source.stem).prepare([source])
        scales.append(FeatureScale.open(tmp_path / source.stem))
    np.testing.assert_allclose(scales[0].mean, scales[1].mean)
    np.testing.assert_allclose(scales[0].deviation, scales[1].deviation)
    assert scales[0].longest == scales[1].longest
