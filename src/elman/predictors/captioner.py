"""A trained captioner: captions of images by beam search, and their attention."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from elman.data.captions.image_features import picture_inputs
from elman.data.in_memory import RowFormat
from elman.data.notes import FileNotes
from elman.data.text.encoding import symbols_of
from elman.data.text.vocabulary import Vocabulary
from elman.decoding.beam import Beam, Hypothesis
from elman.errors import DataError, SettingError
from elman.models.captioner import Captioner, CaptionerState
from elman.plots.attention_matrix import create_plot_folder
from elman.plots.attention_overlay import draw_attention_overlay, overlay_paths
from elman.predictors.answer import Answer, label_notes, no_answer
from elman.predictors.base import Predictor, non_finite_output
from elman.predictors.options import CaptionOptions

MAX_SYMBOLS = 50  # of a caption in words or pieces; of one in characters so many times 6


class CaptionPredictor(Predictor):
    """A captioner that is ready to use.

    Args:
        model: the model, in evaluation mode.
        run: the run directory.
        vocabulary: of the captions.
        shape: of an image: (H, W, 3), or features (S, F).
    """

    Options = CaptionOptions
    input_rows = RowFormat(("path",), files="path")
    model: Captioner

    def __init__(self, model: Captioner, run: Path, vocabulary: Vocabulary, shape: tuple[int, ...]) -> None:
        super().__init__(model, run)
        self.vocabulary, self.shape = vocabulary, shape

    def answers(self, inputs: Sequence[str | Path], **options: Any) -> Iterator[Answer]:
        """Caption images, and yield each caption as it is made.

        Args:
            inputs: files, and folders of them.
            options: the fields of `CaptionOptions`.

        Raises:
            DataError: an image cannot be read; those before it are captioned.
            SettingError: an option is invalid, or a plot would replace an image.
        """
        chosen = CaptionOptions(**options)
        notes = FileNotes()
        images = picture_inputs(inputs, self.shape, notes)
        plots: list[Path | None] = [None] * len(images)
        if chosen.pictures is not None:
            self.check_attention()
            paths = [image.path for image in images]
            plots = [*overlay_paths(paths, Path(chosen.pictures), protected=paths)]
        for (path, read), plot in zip(images, plots, strict=True):
            try:
                values = read()
            except DataError as error:
                if not chosen.skip_bad:
                    hint = f"{error.hint or 'leave it out'}; --skip-bad names such images and captions the others"
                    raise error.amended(hint=hint) from error
                yield no_answer(str(path), error)
            else:
                yield self.answer(path, values, chosen, plot)
        for line in notes.lines():
            sys.stderr.write(f"{line}\n")

    @torch.no_grad()
    def answer(self, path: Path, values: Any, options: CaptionOptions, plot: Path | None = None) -> Answer:
        """Return the captions of an image, (H, W, 3) or features (S, F), and plot the attention of the best."""
        memory_BSM = self.model.encode(torch.from_numpy(np.array(values))[None])
        best = self.search(memory_BSM, options)[0][: options.n_best]
        n_best = [
            {"caption": self.text(found), "score": found.score, "log_probability": found.log_probability}
            for found in best
        ]
        fields: dict[str, Any] = {"path": str(path), "caption": n_best[0]["caption"], "n_best": n_best}
        if plot is not None:
            legend = self._plot(values, memory_BSM, best[0], plot)
            fields |= {"picture": str(plot), **({"picture_labels": legend} if legend else {})}
        lines = [f"{path}\t{fields['caption']}"]
        lines += [f"  {row['score']:9.4f}  {row['caption']}" for row in n_best if options.n_best > 1]
        return Answer("\n".join(lines), fields, notes=tuple(label_notes(fields)))

    def search(self, memory_BSM: Tensor, options: CaptionOptions) -> list[list[Hypothesis]]:
        """Return the best captions of each image, by the features that `Captioner.encode` returned.

        Raises:
            NonFiniteError: the model gives numbers that are not finite.
        """
        device, count = memory_BSM.device, len(memory_BSM)
        beam: Beam[CaptionerState] = Beam(
            lambda ids_N, state: self.model.step(ids_N.to(device), state),
            lambda state, rows_N: state.select(rows_N.to(device)),
            self.model.boundary,
            self.model.boundary,
            width=options.beam_width,
            length_penalty=options.length_penalty,
            never=self.vocabulary.never_written,
        )
        limit = MAX_SYMBOLS * (6 if self.vocabulary.kind == "characters" else 1)
        hypotheses = beam.search(self.model.initial_state(memory_BSM), count, [limit] * count)
        if not all(hypotheses):
            raise non_finite_output(self.run)
        return hypotheses

    def text(self, hypothesis: Hypothesis) -> str:
        """Return a caption as a text with single spaces."""
        return " ".join(self.vocabulary.decode(hypothesis.token_ids).split())

    @torch.no_grad()
    def attention(self, memory_BSM: Tensor, hypothesis: Hypothesis) -> Tensor | None:
        """Return the attention weights of each symbol, the end included, (T, S); None without attention."""
        input_TN = torch.tensor([self.model.boundary, *hypothesis.token_ids])[:, None]
        weights_NTS = self.model.decode(input_TN, self.model.initial_state(memory_BSM))[1]
        return None if weights_NTS is None else weights_NTS[0]

    def check_attention(self) -> None:
        """Refuse a model without attention over images.

        Raises:
            SettingError: there is nothing to plot.
        """
        if self.model.attention is None or len(self.shape) != 3:
            raise SettingError(
                "there is no attention to plot",
                should="a model with attention over images",
                found="attention=none" if self.model.attention is None else "a model of features",
                hint="omit pictures, or --out of elman evaluate",
            )

    def _plot(self, values: Any, memory_BSM: Tensor, hypothesis: Hypothesis, path: Path) -> dict[str, str]:
        weights_TS = self.attention(memory_BSM, hypothesis)
        assert weights_TS is not None
        maps_TYX = weights_TS[:-1].view(-1, *self.model.seeing.grid).numpy()  # the end is not shown
        create_plot_folder(path.parent)
        return draw_attention_overlay(values, maps_TYX, symbols_of(self.vocabulary, hypothesis.token_ids), path)
