"""A trained transcriber: it transcribes files and streams."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from elman.data.in_memory import RowFormat
from elman.data.media.audio import SOUND_SUFFIXES
from elman.data.media.files import files_of
from elman.data.media.video import VIDEO_SUFFIXES
from elman.data.notes import FileNotes
from elman.data.speech.dataset import SpeechDataset, usual_levels
from elman.data.speech.eigenlips import Lips
from elman.data.speech.normalisation import level_note, level_of, normalise_speakers
from elman.data.speech.utterance import SoundFeatures, Utterance
from elman.data.text.lines import file_lines
from elman.data.text.vocabularies import Vocabulary
from elman.decoding.ctc import PrefixBeam, TimedSequence, emissions
from elman.decoding.ngrams import NGrams
from elman.errors import DataError, RunError, SettingError
from elman.models.transcriber import Transcriber
from elman.predictors.answer import Answer, Note, no_answer
from elman.predictors.base import Predictor
from elman.predictors.inputs import STDIN, standard_input
from elman.predictors.options import TranscribeOptions
from elman.predictors.sentence_decoder import SentenceDecoder
from elman.predictors.stream_transcriber import StreamTranscriber, sample_blocks
from elman.predictors.word_timings import Word, are_misplaced, words_of

MOST_MISPLACED = 0.5  # share of the sentences of the validation, above which no time is relied on
DEPENDS = "the words depend on the level of the microphone, as feature_norm=training does not even it out"
UNRELIABLE = Note(
    "recordings whose times of words are unreliable",
    "the times of words are unreliable: the network writes them at an end of the recording, or together",
)
NGRAMS = {"words": (2, 0.1)}  # order and weight by the kind of symbols: the network itself learns sequences of words
CHARACTER_NGRAMS = (6, 0.5)  # of all other kinds
BONUS = 2.0  # nats for each symbol, times the weight, against the preference of n-grams for short texts


class TranscriptionPredictor(Predictor):
    """A transcriber that is ready to use.

    Args:
        model: the model, in evaluation mode.
        run: the run directory.
        vocabulary: the symbols.
        features: computes the features of a file.
        norm: what they are normalised by, as in `FeatureScale`.
        longest: input steps of the longest sentence of training; 0: unknown.
    """

    Options = TranscribeOptions
    input_rows = RowFormat(("path",), files="path")
    model: Transcriber

    def __init__(
        self,
        model: Transcriber,
        run: Path,
        vocabulary: Vocabulary,
        features: SoundFeatures | Lips,
        *,
        norm: str = "utterance",
        longest: int = 0,
    ) -> None:
        super().__init__(model, run)
        self.vocabulary, self.features, self.norm = vocabulary, features, norm
        sound = isinstance(features, SoundFeatures)
        self.decoder = SentenceDecoder(model, vocabulary, longest, sound, by_speaker=norm == "speaker")

    def is_endless(self, inputs: Sequence[str | Path]) -> bool:
        """Return whether standard input is among the inputs."""
        return STDIN in map(str, inputs)

    def answers(self, inputs: Sequence[str | Path] = (), **options: Any) -> Iterator[Answer]:
        """Transcribe files, and yield each transcript when it is made.

        Notes on files go to standard error: the first few files of each, and then the number of the others.

        Args:
            inputs: files, folders of them, or "-" for 16-bit samples, little-endian, one channel, at the sample rate of
                the run, on standard input; their words are yielded when they are final.
            options: the fields of `TranscribeOptions`.

        Raises:
            DataError: a file cannot be read; those before it are transcribed.
            SettingError: standard input for a model that is not a streaming one, or with an option of files.
        """
        chosen = TranscribeOptions(**options)
        stream = self._stream(chosen) if self.is_endless(inputs) else None
        if not inputs:
            raise DataError("there is nothing to transcribe", should="files, folders, or -", found="no input")
        paths = self._paths(inputs, chosen.resume_from)
        features = self.features if chosen.max_seconds is None else replace(self.features, longest=chosen.max_seconds)
        beam = self.beam_search(chosen.beam_width, chosen.ngram_weight) if chosen.beam_width > 1 else None
        notes = FileNotes()
        for path, utterance in self._utterances(paths, features, chosen.one_speaker, chosen.skip_bad):
            if utterance is None:
                assert stream is not None
                if self.norm == "training":
                    sys.stderr.write(f"{STDIN}: {DEPENDS}\n")
                yield from stream.transcribe(sample_blocks(standard_input(), stream.features.rate))
            elif isinstance(utterance, DataError):
                yield no_answer(str(path), utterance)
            else:
                for note in utterance.notes:
                    if notes.add(note, str(path)):
                        sys.stderr.write(f"{path}: {note}\n")
                yield self._answer(path, utterance, beam, chosen)
        for line in notes.others():
            sys.stderr.write(f"{line}\n")

    def transcribe(self, features: Sequence[NDArray[Any]]) -> list[str]:
        """Return the greedy transcript of each sentence, whose features are (T, I)."""
        texts = {n: self.text(timed) for n, timed, *_ in self.decoder.decode(features)}
        return [texts[n] for n in range(len(features))]

    def text(self, timed: TimedSequence) -> str:
        """Return decoded symbols as text."""
        return " ".join(self.vocabulary.decode([token_id - 1 for token_id in timed.token_ids]).split())

    def beam_search(self, width: int, ngram_weight: float | None = None) -> PrefixBeam:
        """Return the beam search, with the n-grams of the training texts as the language model.

        Args:
            width: the beam width.
            ngram_weight: of the language model; None: by the kind of symbols.

        Raises:
            RunError: the run came without its training data.
        """
        targets = SpeechDataset.open(self.run, "training", self.vocabulary.size).target
        assert targets is not None
        rows = [(targets[n] + 1).tolist() for n in range(len(targets))]
        order, weight = NGRAMS.get(self.vocabulary.kind, CHARACTER_NGRAMS)
        weight = weight if ngram_weight is None else ngram_weight
        language = NGrams(rows, self.vocabulary.size + 1, order=order)
        return PrefixBeam(width=width, language=language, weight=weight, bonus=BONUS * weight, candidates=20)

    def stream_transcriber(self) -> StreamTranscriber:
        """Return what transcribes streams.

        Raises:
            SettingError: the run is on video, or its model needs the future.
        """
        if not isinstance(self.features, SoundFeatures):
            raise SettingError("a run on video reads no samples", should="files", found=STDIN)
        self.model.check_streaming()
        return StreamTranscriber(self.model, self.vocabulary, self.features)

    def _stream(self, chosen: TranscribeOptions) -> StreamTranscriber:
        """Return what transcribes standard input, before any of it is read."""
        default, given = TranscribeOptions().as_dict(), chosen.as_dict()
        changed = [f"{name}={str(value).lower()}" for name, value in given.items() if value != default[name]]
        if changed:
            raise SettingError(
                "a stream takes none of the options of files",
                should="no options with -",
                found=", ".join(changed),
                hint="omit them, or name a file instead of -",
            )
        return self.stream_transcriber()

    def _paths(self, inputs: Sequence[str | Path], resume_from: str | None) -> list[Path]:
        """Return the files of the inputs but for those that are answered in `resume_from`, and "-" as it is."""
        kind = "sound" if isinstance(self.features, SoundFeatures) else "video"
        suffixes = VIDEO_SUFFIXES if kind == "video" else (*SOUND_SUFFIXES, *VIDEO_SUFFIXES)
        paths: list[Path] = []
        for name in inputs:
            paths += [Path(STDIN)] if str(name) == STDIN else files_of(Path(name), suffixes, kind=kind)
        done = {line.split("\t")[0] for line in file_lines(Path(resume_from))} if resume_from else set()
        if done and done.isdisjoint(map(str, paths)):
            raise DataError(
                f"none of these files is answered in {resume_from}",
                should="the output of an interrupted call for the same files",
                found=f"answers of {len(done)} others, such as {min(done)[:80]!r}",
                hint="name the files as that call did, or omit resume_from",
            )
        return [path for path in paths if str(path) not in done]

    def _utterances(
        self, paths: Sequence[Path], features: SoundFeatures | Lips, one_speaker: bool = False, skip_bad: bool = False
    ) -> Iterator[tuple[Path, Utterance | DataError | None]]:
        """Yield the files with their features, or what is wrong with them; None for standard input."""
        together: list[tuple[Path, Utterance]] = []
        for path in paths:
            if str(path) == STDIN:
                yield path, None
                continue
            try:
                utterance = features.of(path)
            except DataError as error:
                if not skip_bad:
                    hint = f"{error.hint or 'omit it'}; --skip-bad names such files and transcribes the others"
                    raise error.amended(hint=hint) from error
                yield path, error
                continue
            if self.norm != "speaker":
                yield path, utterance
            elif one_speaker:
                together.append((path, utterance))
            else:
                yield path, utterance._replace(features=normalise_speakers([utterance.features], [""])[0])
        normalised = normalise_speakers([utterance.features for _, utterance in together], [""] * len(together))
        for (path, utterance), values in zip(together, normalised, strict=True):
            yield path, utterance._replace(features=values)

    def _answer(self, path: Path, utterance: Utterance, beam: PrefixBeam | None, chosen: TranscribeOptions) -> Answer:
        """Return the answer to a file."""
        (decoded,) = self.decoder.decode([utterance.features], cut=chosen.cut_pauses)
        best = self._distinct(beam.search(decoded.log_p_TV))[: chosen.n_best] if beam else [decoded.timed]
        words, misplaced = self.words(best[0], decoded.log_p_TV, utterance.begin)
        reliable = not (misplaced or self.misplaces_words)
        notes = [
            *self.decoder.notes(utterance.features, decoded.spans, self.features.step),
            *self._level_notes(utterance.features),
            *([] if reliable or not chosen.times else [UNRELIABLE]),
        ]
        texts = [*utterance.notes, *(note.text for note in notes)]
        rows = [{"text": self.text(timed), "score": timed.score, "log_probability": timed.log_p} for timed in best]
        lines = [f"{path}\t{row['text']}" for row in rows]
        if len(rows) > 1:
            lines = [f"{path}\t{row['text']}\t{row['score']:.4f}" for row in rows]
        if chosen.times:
            lines = [f"{path}\t", *(f"  {word.begin:7.2f} s  {word.text}" for word in words)]
        return Answer(
            "\n".join(lines),
            {
                **{"path": str(path), **rows[0]},
                **({"notes": texts} if texts else {}),
                **({"n_best": rows} if chosen.n_best > 1 else {}),
                "times_reliable": reliable,
                "words": [word.fields() for word in words],
            },
            notes=tuple(note._replace(text=f"{path}: {note.text}") for note in notes),
        )

    def _distinct(self, sequences: Sequence[TimedSequence]) -> list[TimedSequence]:
        """Return the first sequence of each text; several differ by spaces alone."""
        first: dict[str, TimedSequence] = {}
        for timed in sequences:
            first.setdefault(self.text(timed), timed)
        return list(first.values())

    @cached_property
    def usual_levels(self) -> tuple[float, float] | None:
        """The levels of training sentences (dB), where they matter and are known."""
        matters = self.norm == "training" and isinstance(self.features, SoundFeatures)
        return usual_levels(self.run) if matters else None

    def _level_notes(self, x_TI: NDArray[Any]) -> list[Note]:
        text = level_note(level_of(x_TI), self.usual_levels) if self.usual_levels else ""
        return [Note("recordings of an unusual level", text)] if text else []

    def words(self, timed: TimedSequence, log_p_TV: Tensor, begin: float = 0.0) -> tuple[list[Word], bool]:
        """Return the words of decoded symbols, with times from the second `begin` on, and whether they are misplaced.

        Clips of lips are longer than what is said in them; sound is trimmed to it.
        """
        symbols = emissions(log_p_TV, timed)
        words = words_of(self.vocabulary, symbols, self.features.step * self.model.stride, begin)
        untrimmed = isinstance(self.features, Lips) and not self.model.streaming
        return words, are_misplaced(words, symbols, len(log_p_TV), untrimmed=untrimmed)

    @cached_property
    def misplaces_words(self) -> bool:
        """Whether the model writes the words of most sentences of the validation where they are not spoken."""
        try:
            share = self.metrics.get("misplaced_words")
        except RunError:  # a model that was built, or weights without metrics
            return False
        return share is not None and share > MOST_MISPLACED
