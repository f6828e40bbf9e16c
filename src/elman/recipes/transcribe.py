"""Sound or video -> text: train on sentences, transcribe others, as a whole or as they are spoken."""

from __future__ import annotations

import shlex
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from elman.data.bitext import symbols_of
from elman.data.default_morse import messages
from elman.data.default_text import python_reference
from elman.data.files import write_json
from elman.data.lips import Lips
from elman.data.shuffled import Shuffled, in_order
from elman.data.sound import SOUND_SUFFIXES
from elman.data.speech import (
    DEFAULT_RATE,
    Batch,
    SoundFeatures,
    Speech,
    Spoken,
    featured,
    of_messages,
    read_features,
    read_numbers,
    read_table,
    scale_of,
    write_features,
)
from elman.data.text import Document
from elman.data.video import VIDEO_SUFFIXES
from elman.data.vocabulary import Vocabulary, build_vocabulary, load_vocabulary
from elman.decoding.ctc import Bigrams, Greedy, PrefixBeam, Timed, greedy
from elman.errors import DataError, RunError, SettingError
from elman.evaluation.transcription import error_rates
from elman.models.transcriber import Transcriber
from elman.recipes.recipe import Answer, Recipe, Sample
from elman.training.device import choose_device
from elman.training.run_directory import RunDirectory
from elman.training.settings import Settings, TrainingSettings, setting
from elman.training.task import Loss, Task

MESSAGES, JUDGED = 1200, 100  # of the default data, for training and for validation
NOISE = (3.0, 20.0)  # decibels of the default data in training
NOISE_JUDGED = (6.0, 6.0)
CHUNK = 0.1  # seconds of a stream that are heard at a time
SAMPLE = 8  # sentences that a diagnosis looks at


@dataclass(frozen=True, kw_only=True)
class TranscribeSettings(TrainingSettings):
    """The settings of a transcriber."""

    input: str = setting("sound", "what is read of a file", choices=("sound", "video"), fixed=True)
    vocabulary: str = setting("characters", "what a symbol is", choices=("characters", "words", "bpe"), fixed=True)
    vocabulary_size: int | None = setting(None, "most symbols there may be, for words and bpe", low=1, fixed=True)
    path_column: str = setting("path", "the column of the files", fixed=True)
    text_column: str = setting("text", "the column of what is said", fixed=True)
    validation: float = setting(0.1, "share of the sentences, at the end, that is kept for validation", fixed=True)
    validation_data: str | None = setting(None, "table for validation instead", fixed=True)
    skip_bad: bool = setting(False, "broken files are left out and counted", fixed=True)
    rate: int = setting(16000, "sound: samples a second", low=1000, high=192000, fixed=True)
    bands: int = setting(40, "sound: mel bands", low=1, high=512, fixed=True)
    trim: bool = setting(True, "sound: silence at both ends is left out", fixed=True)
    longest: float = setting(60.0, "sound: seconds of a sentence at the most", low=0.1, fixed=True)
    crop: tuple[int, int] = setting((32, 48), "video: height and width of the window round what moves", fixed=True)
    components: int = setting(96, "video: principal components of a frame", low=1, high=4096, fixed=True)
    streaming: bool = setting(False, "one direction only, so that a stream can be heard as it comes", fixed=True)
    cell: str = setting("gru", "the recurrent layer", choices=("rnn", "gru", "lstm"), fixed=True)
    hidden: int = setting(128, "units of a layer and direction", low=1, high=65536, fixed=True)
    layers: int = setting(2, "recurrent layers", low=1, high=64, fixed=True)
    stride: int = setting(2, "steps of the input for one of the layers; 1 for video", low=1, high=16, fixed=True)
    dropout: float = setting(0.2, "probability of dropping a feature", low=0, high=1)
    mask_steps: int = setting(0, "longest run of steps that is hidden in training, twice a sentence", low=0)
    mask_features: int = setting(0, "widest run of features that is hidden in training, twice a sentence", low=0)
    stretch: float = setting(0.1, "greatest change of speed in training", low=0, high=0.5)
    batch_size: int = setting(16, "sentences in a batch", low=1, high=65536, fixed=True)
    learning_rate: float = setting(0.003, "step size at the top of the schedule", low=0)


@dataclass(frozen=True, kw_only=True)
class Transcribing(Settings):
    """What `elman predict` can be told."""

    beam: int = setting(1, "prefixes that live at a time; 1: greedy", low=1, high=1000)
    weight: float = setting(0.3, "beam: of the bigrams of symbols in the training texts", low=0)
    times: bool = setting(False, "each word on a line of its own, with the second at which it begins")


def prepare(sources: Sequence[Path], settings: TranscribeSettings, folder: Path) -> dict[str, Any]:
    """Read the sentences, choose the symbols, and keep the features in the folder."""
    rows, judged = sentences(sources, settings)
    if settings.input == "video":
        crop = (settings.crop[0], settings.crop[-1])
        paths = [row.source for row in rows if isinstance(row.source, Path)]
        features: SoundFeatures | Lips = Lips.fit(paths, count=settings.components, crop=crop)
    else:
        rate = settings.rate if sources else DEFAULT_RATE
        features = SoundFeatures(rate, settings.bands, settings.trim and bool(sources), settings.longest)
    kept, bad = featured(rows, features.of, skip_bad=settings.skip_bad)
    held, bad_held = featured(judged, features.of, skip_bad=settings.skip_bad)
    texts = "".join(f"{text}\n" for _, text in kept)
    vocabulary = build_vocabulary(settings.vocabulary, [Document("the texts", texts)], size=settings.vocabulary_size)
    vocabulary.save(folder)
    write_features(folder, features)
    write_json(folder / "scale.json", scale_of(kept))
    (folder / "validation").mkdir()
    Speech.write(folder / "validation", [(f, "") for f, _ in held], vocabulary)
    write_json(folder / "texts.json", {"training": [t for _, t in kept], "validation": [t for _, t in held]})
    speech = Speech.write(folder, kept, vocabulary)
    return {
        "sources": [str(source) for source in sources] or ["Morse code with noise, generated"],
        "fingerprint": speech.fingerprint,
        "vocabulary": f"{vocabulary.size} {vocabulary.kind}",
        "training_sentences": len(kept),
        "training_seconds": round(len(speech.input.values) * features.step),
        "validation_sentences": len(held),
        "left_out_as_broken": bad + bad_held,
    }


def sentences(sources: Sequence[Path], settings: TranscribeSettings) -> tuple[list[Spoken], list[Spoken]]:
    """Return the sentences for training and for validation."""
    if not sources:
        text = "".join(python_reference().pieces())
        train = messages(text, MESSAGES, seed=settings.seed, decibels=NOISE)
        judged = messages(text, JUDGED, seed=settings.seed + 2**32, decibels=NOISE_JUDGED)
        return of_messages(train), of_messages(judged)
    columns = (settings.path_column, settings.text_column)
    rows = [row for path in sources for row in read_table(path, columns=columns)]
    if settings.validation_data:
        return rows, list(read_table(Path(settings.validation_data), columns=columns))
    cut = len(rows) - max(1, round(len(rows) * settings.validation))
    if not 0 < settings.validation < 1 or cut < 1:
        raise DataError(
            "there are too few sentences to keep a part for validation",
            should="at least 2, and a share between 0 and 1",
            found=f"{len(rows)}, validation={settings.validation}",
            hint="--set validation_data=TABLE",
        )
    return rows[:cut], rows[cut:]


def build(settings: TranscribeSettings, folder: Path) -> Transcriber:
    """Build the untrained model for the vocabulary and the features in the folder."""
    scale = read_numbers(folder / "scale.json")
    mean, deviation = scale.get("mean", []), scale.get("deviation", [])
    return Transcriber(
        len(mean),
        load_vocabulary(folder).size,
        mean=mean,
        deviation=deviation,
        streaming=settings.streaming,
        hidden=settings.hidden,
        layers=settings.layers,
        cell=settings.cell,
        stride=settings.stride,
        dropout=settings.dropout,
        mask_steps=settings.mask_steps,
        mask_features=settings.mask_features,
        stretch=settings.stretch,
    )


def task(settings: TranscribeSettings, run: RunDirectory, model: nn.Module) -> Task:
    """Return what training needs."""
    device = choose_device(settings.device)
    speech = Speech.open(run.path)
    if speech.fingerprint != run.config["data"].get("fingerprint"):
        raise RunError(
            f"the sentences in {run.path} are not those that the run began with",
            should="the fingerprint in config.json",
            found="another",
            hint="take the run again from where it was made",
        )
    judged, references = Speech.open(run.path / "validation"), texts_of(run, "validation")
    vocabulary = load_vocabulary(run.path)
    batches = Shuffled(speech.input.lengths, speech.batch, batch_size=settings.batch_size, seed=settings.seed)

    def objective(model: Any, batch: Batch, state: Any) -> Loss:
        symbols = int(batch.sizes_B.sum())
        return Loss(model.loss(*(t.to(device) for t in batch)) / max(1, symbols), symbols)

    def evaluate(model: Any) -> dict[str, float | None]:
        found = [timed for timed, _ in read_out(model, [judged.input[n] for n in range(len(judged.input))], device)]
        return error_rates([spelled(vocabulary, timed) for timed in found], references)

    return Task(model, batches, objective, evaluate, metric="character_error_rate", default_minutes=5.0)


def texts_of(run: RunDirectory, part: str) -> list[str]:
    """Return what is said in the training or the validation part of a run."""
    found = read_numbers(run.path / "texts.json").get(part)
    if not isinstance(found, list) or not found or not all(isinstance(text, str) for text in found):
        raise RunError(f"{run.path}/texts.json is broken", should=f"texts for {part}", found=repr(found)[:80])
    return found


def read_out(
    model: Transcriber, features: Sequence[NDArray[Any]], device: torch.device | str = "cpu"
) -> list[tuple[Timed, Tensor]]:
    """Return the greedy transcription of each sentence, and its log-probabilities (T', V + 1)."""
    found: dict[int, tuple[Timed, Tensor]] = {}
    with torch.no_grad():
        for chosen in in_order([len(f) for f in features], batch_size=16):
            rows = [np.asarray(features[int(n)], np.float32) for n in chosen]
            x_TBI = nn.utils.rnn.pad_sequence([torch.from_numpy(row) for row in rows]).to(device)
            logits_TBV, steps_B = model(x_TBI, torch.tensor([len(row) for row in rows], device=device))
            log_p_TBV, steps = logits_TBV.log_softmax(2).cpu(), steps_B.tolist()
            for b, timed in enumerate(greedy(log_p_TBV, steps)):
                found[int(chosen[b])] = (timed, log_p_TBV[: steps[b], b])
    return [found[n] for n in range(len(features))]


def spelled(vocabulary: Vocabulary, timed: Timed) -> str:
    """Return a transcription as text."""
    return " ".join(vocabulary.decode([token_id - 1 for token_id in timed.token_ids]).split())


def words_of(vocabulary: Vocabulary, timed: Timed, seconds: float) -> list[tuple[str, float]]:
    """Return the words, and the second at which the first symbol of each appears; `seconds` are those of a step."""
    words: list[tuple[str, float]] = []
    new = True
    for symbol, step in zip(symbols_of(vocabulary, [n - 1 for n in timed.token_ids]), timed.steps, strict=True):
        new = new or symbol[:1].isspace()
        text = symbol.strip()
        if text:
            if new:
                words.append((text, step * seconds))
            else:
                words[-1] = (words[-1][0] + text, words[-1][1])
        new = symbol[-1:].isspace() if text else True
    return words


def sample(settings: TranscribeSettings, run: RunDirectory, sources: Sequence[Path]) -> Sample:
    """Return the first sentences of a table, or of the run's own."""
    speech = Speech.open(run.path)
    if sources:
        rows, _ = featured(sentences(sources, settings)[0][:SAMPLE], read_features(run.path).of, skip_bad=False)
        found = [(f, load_vocabulary(run.path).encode(text).astype(np.int64)) for f, text in rows]
        speech = Speech(type(speech.input).of(f for f, _ in found), type(speech.target).of(t for _, t in found))

    def loss(model: Any, batch: Batch) -> Tensor:
        mean: Tensor = model.loss(*batch) / batch.sizes_B.sum().clamp(min=1)
        return mean

    return Sample([speech.batch(np.arange(min(SAMPLE, len(speech.input))))], loss, None)


@dataclass(frozen=True)
class TrainedTranscriber:
    """A transcriber that is ready to use."""

    model: Transcriber
    vocabulary: Vocabulary
    features: SoundFeatures | Lips
    settings: TranscribeSettings
    run: RunDirectory

    @property
    def seconds(self) -> float:
        """Seconds of a step of the model."""
        return self.features.step * self.model.stride

    def predict(self, inputs: Sequence[str | Path], **options: Any) -> Iterator[Answer]:
        """Transcribe files, and yield each transcription as it is made.

        Args:
            inputs: files, folders of them, or "-" for 16-bit samples, little-endian, one channel, at the run's rate, on
                standard input; their words are yielded as they become certain.
            options: see `Transcribing`.

        Raises:
            DataError: a file cannot be read.
            SettingError: standard input for a model that is not a streaming one.
        """
        wanted = Transcribing(**options)
        if not inputs:
            raise DataError("there is nothing to transcribe", should="files, folders, or -", found="no input")
        for name in inputs:
            if str(name) == "-":
                yield from self.listen(_blocks(sys.stdin.buffer, self._rate()))
                continue
            for path in _files(Path(name), self.settings.input):
                yield self._answer(path, wanted)

    def _answer(self, path: Path, wanted: Transcribing) -> Answer:
        timed, log_p_TV = read_out(self.model, [self.features.of(path)])[0]
        if wanted.beam > 1:
            timed = self.beam(wanted).search(log_p_TV)[0]
        text, words = spelled(self.vocabulary, timed), words_of(self.vocabulary, timed, self.seconds)
        line = f"{path}\t{text}"
        if wanted.times:
            line = "\n".join([f"{path}", *(f"  {second:7.2f} s  {word}" for word, second in words)])
        fields = {"path": str(path), "text": text, "score": timed.score}
        return Answer(line, {**fields, "words": [{"word": word, "second": second} for word, second in words]})

    def beam(self, wanted: Transcribing) -> PrefixBeam:
        """Return the beam search, with the bigrams of the training texts as language model."""
        targets = Speech.open(self.run.path).target
        rows = [(targets[n] + 1).tolist() for n in range(len(targets))]
        language = Bigrams(rows, self.vocabulary.size + 1)
        return PrefixBeam(width=wanted.beam, language=language, weight=wanted.weight, candidates=20)

    def _rate(self) -> int:
        if not isinstance(self.features, SoundFeatures):
            raise SettingError("a run on video reads no samples", should="files", found="-")
        return self.features.rate

    def listen(self, blocks: Iterator[NDArray[np.float32]]) -> Iterator[Answer]:
        """Transcribe a stream of samples, and yield each word when it is certain; last, what the delay was.

        A word is certain when the model has written the next one, or the stream ends. Memory does not grow.

        Raises:
            SettingError: the model is not a streaming one, or does not hear sound.
        """
        rate = self._rate()
        assert isinstance(self.features, SoundFeatures)
        width, hop = round(0.025 * rate), round(self.features.step * rate)
        decoder, hearing, rest = Greedy(), None, np.zeros(0, np.float32)
        pending: list[tuple[int, int]] = []
        computing = []
        for block in blocks:
            began = time.perf_counter()
            rest = np.concatenate([rest, block])
            count = 1 + (len(rest) - width) // hop if len(rest) >= width else 0
            if not count:
                continue
            x_TI = self.features.of_samples(rest[: (count - 1) * hop + width])
            rest = rest[count * hop :]
            logits_TBV, hearing = self.model.hear(torch.from_numpy(x_TI)[:, None], hearing)
            pending += decoder.push(logits_TBV[:, 0])
            words = self._words(pending)
            computing.append(time.perf_counter() - began)
            if len(words) > 1:
                pending = [pair for pair in pending if pair[1] * self.seconds >= words[-1][1]]
                yield from map(_word_answer, words[:-1])
        yield from map(_word_answer, self._words(pending))
        if computing:
            spent = median(computing)
            delay = width / rate + self.seconds + CHUNK + spent
            line = (
                f"delay: {1000 * delay:.0f} ms (window {1000 * width / rate:.0f}, step {1000 * self.seconds:.0f}, "
                f"block {1000 * CHUNK:.0f}, computing {1000 * spent:.1f}), and until the next word begins"
            )
            yield Answer(line, {"delay": delay, "computing": spent})

    def _words(self, pending: list[tuple[int, int]]) -> list[tuple[str, float]]:
        timed = Timed([token_id for token_id, _ in pending], [step for _, step in pending], 0.0)
        return words_of(self.vocabulary, timed, self.seconds)

    def evaluate(self, data: Sequence[Path] | None = None, *, skip_bad: bool = False) -> dict[str, Any]:
        """Return the error rates on a table, or on the run's validation sentences.

        Beside the metrics of training: the same by beam search, and what the commonest text of training gets.

        Raises:
            DataError, RunError: the data cannot be read, or the run has none.
        """
        bad: list[str] = []
        if data:
            columns = (self.settings.path_column, self.settings.text_column)
            rows = [row for path in data for row in read_table(path, columns=columns)]
            kept, bad = featured(rows, self.features.of, skip_bad=skip_bad)
            features, references = [f for f, _ in kept], [text for _, text in kept]
        else:
            speech = Speech.open(self.run.path / "validation")
            features = [speech.input[n] for n in range(len(speech.input))]
            references = texts_of(self.run, "validation")
        found, beam = read_out(self.model, features), self.beam(Transcribing(beam=8))
        searched = [spelled(self.vocabulary, beam.search(log_p_TV)[0]) for _, log_p_TV in found]
        common = Counter(texts_of(self.run, "training")).most_common(1)[0][0]
        return {
            **error_rates([spelled(self.vocabulary, timed) for timed, _ in found], references),
            **{f"{name}_by_beam": value for name, value in list(error_rates(searched, references).items())[:2]},
            "sentences": len(references),
            **({"left_out_as_broken": len(bad)} if bad else {}),
            "baselines": {"the commonest text": error_rates([common] * len(references), references)},
        }


def _word_answer(word: tuple[str, float]) -> Answer:
    return Answer(f"{word[1]:8.2f} s  {word[0]}", {"word": word[0], "second": word[1]})


def _blocks(stream: Any, rate: int) -> Iterator[NDArray[np.float32]]:
    """Yield a stream of 16-bit samples in blocks of `CHUNK` seconds, full scale as 1."""
    odd = b""
    while raw := stream.read(2 * round(CHUNK * rate)):
        raw = odd + raw
        odd = raw[len(raw) - len(raw) % 2 :]
        samples: NDArray[np.float32] = np.frombuffer(raw[: len(raw) - len(odd)], "<i2").astype(np.float32)
        samples /= 32768
        yield samples


def _files(path: Path, kind: str) -> list[Path]:
    """Return a file, or the files of a folder in the order of their names."""
    if not path.is_dir():
        return [path]
    suffixes = VIDEO_SUFFIXES if kind == "video" else (*SOUND_SUFFIXES, *VIDEO_SUFFIXES)
    found = sorted(file for file in path.iterdir() if file.suffix.lower() in suffixes)
    if not found:
        raise DataError(f"{path} holds no {kind}", should=f"files that end in {', '.join(suffixes)}", found="none")
    return found


def load(settings: TranscribeSettings, run: RunDirectory, model: nn.Module) -> TrainedTranscriber:
    """Return the trained model, ready to use."""
    assert isinstance(model, Transcriber)
    return TrainedTranscriber(model, load_vocabulary(run.path), read_features(run.path), settings, run)


def headline(metrics: Mapping[str, float | None]) -> str:
    """Return how well, in a few words."""
    return f"{metrics['character_error_rate']:.1%} of characters, {metrics['word_error_rate']:.1%} of words wrong"


def commands(folder: Path) -> list[tuple[str, str]]:
    """Return what can be done next."""
    run = shlex.quote(str(folder))
    return [
        ("Transcribe files", f"elman predict {run} FILE ... --set times=true"),
        ("Hear a stream (a run with streaming=true)", f"arecord -f S16_LE -r RATE | elman predict {run} -"),
        ("Measure it on another table", f"elman evaluate {run} TABLE.tsv"),
        ("Train it further", f"elman train transcribe --out {run} --resume --minutes 30"),
    ]


RECIPE = Recipe(
    name="transcribe",
    summary="sound or video -> text: speech recognition and lip reading by CTC",
    data="a table (TSV: path, text) of sound or video files",
    default="Morse code with noise, generated",
    example="elman train transcribe train.tsv --set validation_data=valid.tsv --minutes 20 --out runs/speech",
    settings=TranscribeSettings,
    prepare=prepare,
    build=build,
    task=task,
    sample=sample,
    load=load,
    headline=headline,
    commands=commands,
    predict=Transcribing,
)
