"""Options of `elman predict`, a class for each recipe. They are shown and checked without loading torch."""

from __future__ import annotations

from dataclasses import dataclass

from elman.errors import SettingError
from elman.settings import Settings, setting


@dataclass(frozen=True, kw_only=True)
class ClassifyOptions(Settings):
    """Options of classification."""

    top: int = setting(3, "number of classes in the answer, the most probable first", low=1)
    every: int = setting(0, "steps between running answers; 0: one answer at the end", low=0)
    skip_bad: bool = setting(False, "name broken inputs, and answer the others")


@dataclass(frozen=True, kw_only=True)
class ForecastOptions(Settings):
    """Options of forecasting."""

    horizon: int | None = setting(None, "steps to forecast; none: as in training", low=1, high=1_000_000)
    skip_bad: bool = setting(False, "skip broken rows, and name them")


@dataclass(frozen=True, kw_only=True)
class SimilarityOptions(Settings):
    """Options of text similarity."""

    embed: str | None = setting(None, "write the vector of each text (each line of a file) into this .npy file")
    nearest: str | None = setting(None, "find the nearest lines of this file to each text")
    top: int = setting(5, "how many of them", low=1, high=1000)
    skip_bad: bool = setting(False, "name the broken rows of a file of pairs, and answer the others")

    def check(self) -> None:
        """Check that the options fit together."""
        if self.embed is not None and self.nearest is not None:
            raise SettingError(
                "embed and nearest are two things", should="one of them at a time", found="both", hint="run it twice"
            )


@dataclass(frozen=True, kw_only=True)
class RecommendOptions(Settings):
    """Options of recommendation."""

    top_k: int = setting(10, "number of recommended items", low=1, high=1_000_000)
    exclude_seen: bool | None = setting(None, "exclude items of the session; not set: as in training")
    state: str | None = setting(None, "file that the session is restored from, if it exists, and saved to at the end")


def check_n_best(n_best: int, beam_width: int) -> None:
    """Check that a beam holds as many answers as are asked for.

    Raises:
        SettingError: it does not.
    """
    if n_best > beam_width:
        raise SettingError(
            "n_best is greater than beam_width",
            should=f"at most {beam_width}",
            found=str(n_best),
            hint=f"--set beam_width={n_best}",
        )


@dataclass(frozen=True, kw_only=True)
class BeamOptions(Settings):
    """Options of beam search."""

    beam_width: int = setting(5, "beam width; 1: greedy", low=1, high=1000)
    n_best: int = setting(1, "number of answers to each input, at most beam_width", low=1)

    def check(self) -> None:
        """Check that the options fit together."""
        check_n_best(self.n_best, self.beam_width)


@dataclass(frozen=True, kw_only=True)
class TranslateOptions(BeamOptions):
    """Options of translation."""

    length_penalty: float = setting(0.6, "0 favours short translations, 1 long ones", low=0)
    coverage_penalty: float = setting(0.0, "against untranslated source symbols; 0.1 is much", low=0)
    alignment: bool = setting(False, "show the source symbol with the highest attention for each symbol")
    copy_unknown: bool = setting(False, "words: replace an unknown word by the source word with the highest attention")
    pictures: str | None = setting(None, "folder for plots of the attention of each line")
    max_symbols: int = setting(1000, "symbols of a line; a longer one is an error", low=1)
    repetitions: bool = setting(False, "write cycles of symbols more often than training does")
    resume_from: str | None = setting(None, "output of an interrupted run; its inputs are skipped")
    skip_bad: bool = setting(False, "name broken lines, with an empty line in their place; of - always")

    def check(self) -> None:
        """Check that the options fit together."""
        super().check()
        if self.resume_from is not None and (self.n_best > 1 or self.alignment):
            raise SettingError(
                "resume_from counts lines, and some answers would have several",
                should="n_best=1 and alignment=false",
                found=f"n_best={self.n_best}, alignment={str(self.alignment).lower()}",
            )


@dataclass(frozen=True, kw_only=True)
class CaptionOptions(BeamOptions):
    """Options of captions."""

    length_penalty: float = setting(0.8, "0 favours short captions, 1 long ones", low=0)
    pictures: str | None = setting(None, "folder for plots of the attention of each word")
    skip_bad: bool = setting(False, "name broken images, and caption the others")


@dataclass(frozen=True, kw_only=True)
class TranscribeOptions(Settings):
    """Options of transcription."""

    beam_width: int = setting(1, "beam width; 1: greedy", low=1, high=1000)
    ngram_weight: float | None = setting(
        None, "weight of the n-grams of the training texts in a beam; none: 0.1 for words, else 0.5", low=0
    )
    n_best: int = setting(1, "number of transcripts of each file, at most beam_width, each with its score", low=1)
    cut_pauses: bool = setting(True, "cut sound that is longer than any sentence of training at its pauses")
    times: bool = setting(False, "each word on a line of its own, with the second at which it begins")
    max_seconds: float | None = setting(None, "seconds of a file; none: as in training", low=0.1)
    one_speaker: bool = setting(False, "feature_norm=speaker: all files are of one; else each is of another")
    resume_from: str | None = setting(None, "output of an interrupted run; its inputs are skipped")
    skip_bad: bool = setting(False, "name broken files, and transcribe the others")

    def check(self) -> None:
        """Check that the options fit together."""
        check_n_best(self.n_best, self.beam_width)
        if self.n_best > 1 and self.times:
            raise SettingError(
                "the times are of one transcript", should="times=false, or n_best=1", found=f"n_best={self.n_best}"
            )
