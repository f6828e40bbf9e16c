"""A trained transcriber: it transcribes files and streams, and is measured on tables."""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from elman.data.batching import chunked
from elman.data.media.audio import SOUND_SUFFIXES
from elman.data.media.files import files_of
from elman.data.media.video import VIDEO_SUFFIXES
from elman.data.speech.dataset import SpeechDataset, read_numbers
from elman.data.speech.eigenlips import Lips
from elman.data.speech.features import ExtractedFeatures, collect_features
from elman.data.speech.normalisation import normalise_speakers
from elman.data.speech.readers import TranscribedFile, read_transcripts
from elman.data.speech.utterance import SoundFeatures, Utterance
from elman.data.text.lines import file_lines
from elman.data.text.vocabularies import Vocabulary
from elman.decoding.ctc import PrefixBeam
from elman.decoding.ngrams import NGrams
from elman.errors import DataError, RunError, SettingError
from elman.evaluation.metrics.word_errors import error_rates
from elman.models.transcriber import Transcriber
from elman.predictors.answer import Answer, no_answer
from elman.predictors.options import TranscribeOptions
from elman.predictors.stream_transcriber import Listener, blocks_of
from elman.predictors.word_timings import read_out, spelled, words_of
from elman.storage.resumable_answers import ResumableAnswers
from elman.storage.run_directory import RunDirectory

AT_ONCE = 64  # sentences that are measured between two writes of the transcripts
N_GRAMS = {"words": (2, 0.1)}  # order and weight by the kind of symbols: words in a row the network has learned itself
OF_LETTERS = (6, 0.5)  # of all other kinds
BONUS = 2.0  # nats for each symbol, times the weight, against the n-grams' liking for short texts


class Transcript(NamedTuple):
    """What was said in a file, and what was heard, greedily and by beam search."""

    path: str
    text: str
    heard: str
    by_beam: str


@dataclass(frozen=True)
class TranscriptionPredictor:
    """A transcriber that is ready to use.

    Attributes:
        model, vocabulary, features, run: its parts.
        columns: of a table that it is measured on.
        by_speaker: whether features are normalised over all sentences of a speaker.
    """

    model: Transcriber
    vocabulary: Vocabulary
    features: SoundFeatures | Lips
    run: RunDirectory
    columns: tuple[str, ...]
    by_speaker: bool = False

    @property
    def seconds(self) -> float:
        """Seconds of a step of the model."""
        return self.features.step * self.model.stride

    def predict(self, inputs: Sequence[str | Path], **options: Any) -> Iterator[Answer]:
        """Transcribe files, and yield each transcription as it is made; what is odd about a file is said aloud.

        Args:
            inputs: files, folders of them, or "-" for 16-bit samples, little-endian, one channel, at the run's rate, on
                standard input; their words are yielded as they become certain.
            options: see `TranscribeOptions`.

        Raises:
            DataError: a file cannot be read; those before it are transcribed.
            SettingError: standard input for a model that is not a streaming one, or with a setting of files.
        """
        wanted = TranscribeOptions(**options)
        listener = self._listener_to(wanted) if "-" in map(str, inputs) else None
        if not inputs:
            raise DataError("there is nothing to transcribe", should="files, folders, or -", found="no input")
        features = self.features if wanted.longest is None else replace(self.features, longest=wanted.longest)
        done = {line.split("\t")[0] for line in file_lines(Path(wanted.after))} if wanted.after else set()
        beam = self.beam(wanted) if wanted.beam > 1 else None
        for path, utterance in self._utterances(inputs, features, done, wanted.one_speaker, wanted.skip_bad):
            if utterance is None:
                assert listener is not None
                yield from listener.listen(blocks_of(sys.stdin.buffer, listener.features.rate))
                continue
            if isinstance(utterance, DataError):
                yield no_answer(str(path), utterance)
                continue
            for note in utterance.notes:
                sys.stderr.write(f"{path}: {note}\n")
            yield self._answer(path, utterance, beam, wanted.times)

    def _listener_to(self, wanted: TranscribeOptions) -> Listener:
        """Return what hears standard input, before any of it is read."""
        usual, given = TranscribeOptions().as_dict(), wanted.as_dict()
        told = [f"{name}={str(value).lower()}" for name, value in given.items() if value != usual[name]]
        if told:
            raise SettingError(
                "a stream takes none of the settings of files",
                should="no settings with -",
                found=", ".join(told),
                hint="leave them out, or name a file instead of -",
            )
        return self.listener()

    def _utterances(
        self,
        inputs: Sequence[str | Path],
        features: SoundFeatures | Lips,
        done: set[str],
        one_speaker: bool,
        skip_bad: bool = False,
    ) -> Iterator[tuple[Path, Utterance | DataError | None]]:
        """Yield the files that are not done, with their features, or what is wrong; None for standard input."""
        kind = "sound" if isinstance(features, SoundFeatures) else "video"
        suffixes = VIDEO_SUFFIXES if kind == "video" else (*SOUND_SUFFIXES, *VIDEO_SUFFIXES)
        paths: list[Path] = []
        for name in inputs:
            paths += files_of(Path(name), suffixes, kind=kind) if str(name) != "-" else [Path("-")]
        if done and done.isdisjoint(map(str, paths)):
            raise DataError(
                "none of these files is answered in what `after` names",
                should="what an earlier call for the same files has printed",
                found=f"answers of {len(done)} others, such as {min(done)[:80]!r}",
                hint="name the files as that call did, or leave after out",
            )
        together: list[tuple[Path, Utterance]] = []
        for path in paths:
            if str(path) in done:
                continue
            if str(path) == "-":
                yield path, None
                continue
            try:
                utterance = features.of(path)
            except DataError as error:
                if not skip_bad:
                    hint = f"{error.hint or 'leave it out'}; --skip-bad names such files and transcribes the others"
                    raise error.amended(hint=hint) from error
                yield path, error
                continue
            if not self.by_speaker:
                yield path, utterance
            elif one_speaker:
                together.append((path, utterance))
            else:
                yield path, utterance._replace(features=normalise_speakers([utterance.features], [""])[0])
        scaled = normalise_speakers([utterance.features for _, utterance in together], [""] * len(together))
        for (path, utterance), values in zip(together, scaled, strict=True):
            yield path, utterance._replace(features=values)

    def _answer(self, path: Path, utterance: Utterance, beam: PrefixBeam | None, times: bool) -> Answer:
        timed, log_p_TV = read_out(self.model, [utterance.features])[0]
        if beam:
            timed = beam.search(log_p_TV)[0]
        text, words = spelled(self.vocabulary, timed), words_of(self.vocabulary, timed, self.seconds, utterance.begin)
        line = f"{path}\t{text}"
        if times:
            line = "\n".join([f"{path}\t", *(f"  {word.begin:7.2f} s  {word.text}" for word in words)])
        fields: dict[str, Any] = {"path": str(path), "text": text, "score": timed.score}
        if utterance.notes:
            fields["notes"] = list(utterance.notes)
        return Answer(
            line, {**fields, "words": [{"word": word.text, "second": round(word.begin, 3)} for word in words]}
        )

    def beam(self, wanted: TranscribeOptions) -> PrefixBeam:
        """Return the beam search, with the n-grams of the training texts as language model."""
        targets = SpeechDataset.open(self.run.path).target
        rows = [(targets[n] + 1).tolist() for n in range(len(targets))]
        order, weight = N_GRAMS.get(self.vocabulary.kind, OF_LETTERS)
        weight = weight if wanted.weight is None else wanted.weight
        language = NGrams(rows, self.vocabulary.size + 1, order=order)
        return PrefixBeam(width=wanted.beam, language=language, weight=weight, bonus=BONUS * weight, candidates=20)

    def listener(self) -> Listener:
        """Return what hears streams.

        Raises:
            SettingError: the run is on video, or its model needs the future.
        """
        if not isinstance(self.features, SoundFeatures):
            raise SettingError("a run on video reads no samples", should="files", found="-")
        self.model.check_streaming()
        return Listener(self.model, self.vocabulary, self.features)

    def evaluate(
        self, data: Sequence[Path] | None = None, *, skip_bad: bool = False, pictures: Path | None = None
    ) -> dict[str, Any]:
        """Return the error rates on a table, or on the run's validation sentences.

        Beside the metrics of training: the same by beam search, and what the commonest text of training gets.

        Args:
            data: tables; None for the run's validation sentences.
            skip_bad: broken files are left out and counted.
            pictures: a folder for a file with what was heard, which grows line by line; a call that was stopped goes on
                from there.

        Raises:
            DataError, RunError: the data cannot be read, or the run has none.
        """
        bad: list[str] = []
        if data:
            rows = [row for path in data for row in read_transcripts(path, columns=self.columns)]
            found = self._transcripts(rows, lambda some: self._featured(some, skip_bad, bad), pictures)
        else:
            speech, said = SpeechDataset.open(self.run.path / "validation"), texts_of(self.run, "validation")
            rows = [TranscribedFile(Path(f"validation sentence {n}"), text) for n, text in enumerate(said, 1)]
            kept = {row: speech.input[n] for n, row in enumerate(rows[: len(speech.input)])}
            found = self._transcripts(rows, lambda some: ((row, kept[row]) for row in some if row in kept), pictures)
        if not found:
            raise DataError("every file is broken", should="files that can be read", found="".join(bad[:1]))
        said = [transcript.text for transcript in found]
        beamed = list(error_rates([transcript.by_beam for transcript in found], said).items())[:2]
        common = Counter(texts_of(self.run, "training")).most_common(1)[0][0]
        return {
            **error_rates([transcript.heard for transcript in found], said),
            **{f"{name}_by_beam": value for name, value in beamed},
            "sentences": len(found),
            **({"left_out_as_broken": len(bad)} if bad else {}),
            "baselines": {"the commonest text": error_rates([common] * len(found), said)},
        }

    def _featured(self, rows: Sequence[TranscribedFile], skip_bad: bool, bad: list[str]) -> Iterator[ExtractedFeatures]:
        """Yield sentences with their features; the messages of those that are left out are added to `bad`."""
        pieces = [rows] if self.by_speaker else [[row] for row in rows]
        for some in pieces:
            try:
                one_by_one = skip_bad and len(some) > 1
                found = collect_features(some, self.features, skip_bad=one_by_one, by_speaker=self.by_speaker)
            except DataError as error:
                if not skip_bad:
                    raise
                bad.append(error.what)
                continue
            bad += found.bad
            yield from zip(found.rows, found.features, strict=True)

    def _transcripts(
        self,
        rows: Sequence[TranscribedFile],
        featured: Callable[[Sequence[TranscribedFile]], Iterator[ExtractedFeatures]],
        folder: Path | None,
    ) -> list[Transcript]:
        """Transcribe sentences, some at a time; those that stand in the folder's file already are taken from there."""
        weights = hashlib.sha256(self.run.model.read_bytes()).hexdigest()[:12]
        table = ResumableAnswers(folder / f"transcripts-{weights}.jsonl", Transcript._fields) if folder else None
        beam = self.beam(TranscribeOptions(beam=8))
        known = {row[:2]: Transcript(*row) for row in table.done} if table else {}
        with table or nullcontext():
            left = [row for row in rows if (str(row.source), row.text) not in known]
            parts = featured(rows if self.by_speaker and left else left)  # a speaker's scale needs all sentences
            for some in chunked(parts, AT_ONCE):
                for (row, _), (timed, log_p_TV) in zip(some, read_out(self.model, [f for _, f in some]), strict=True):
                    texts = spelled(self.vocabulary, timed), spelled(self.vocabulary, beam.search(log_p_TV)[0])
                    made = Transcript(str(row.source), row.text, *texts)
                    if table and made[:2] not in known:
                        table.add(*made)
                    known[made[:2]] = made
        keys = [(str(row.source), row.text) for row in rows]
        return [known[key] for key in keys if key in known]


def texts_of(run: RunDirectory, part: str) -> list[str]:
    """Return what is said in the training or the validation part of a run."""
    found = read_numbers(run.path / "texts.json").get(part)
    if not isinstance(found, list) or not found or not all(isinstance(text, str) for text in found):
        raise RunError(f"{run.path}/texts.json is broken", should=f"texts for {part}", found=repr(found)[:80])
    return found
