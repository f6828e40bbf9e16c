"""A captioner that is ready to use: it describes pictures, and is measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from elman.data.captions.dataset import CaptionDataset, open_pictures, read_captions
from elman.data.captions.image_features import picture_inputs
from elman.data.captions.splits import SIDE, PictureReading, read_evaluation_pictures
from elman.data.text.encoding import symbols_of
from elman.data.text.vocabularies import Vocabulary
from elman.decoding.beam import Beam, Hypothesis
from elman.errors import DataError, SettingError
from elman.evaluation.metrics.captions import caption_metrics, cider, constant_caption, exact_match
from elman.models.captioner import Captioner
from elman.plots.attention_matrix import create_plot_folder
from elman.plots.attention_overlay import draw_attention_overlay, overlay_paths
from elman.predictors.answer import Answer, no_answer
from elman.predictors.options import DescribeOptions
from elman.storage.ragged import RaggedArrays
from elman.storage.run_directory import RunDirectory

DRAWN = 8  # pictures that an evaluation draws
TOGETHER = 32  # pictures that are described at a time
LONGEST = 50  # symbols of a description in words or pieces; of one in characters so many times 6


def described(
    model: Captioner, memory_BSM: Tensor, vocabulary: Vocabulary, wanted: DescribeOptions
) -> list[list[Hypothesis]]:
    """Return the best descriptions of pictures that the model has seen."""
    beam = Beam(
        lambda ids_N, state: model.step(ids_N.to(memory_BSM.device), state),
        lambda state, rows: state.select(rows.to(memory_BSM.device)),
        model.boundary,
        model.boundary,
        width=wanted.beam,
        length_penalty=wanted.length_penalty,
    )
    longest = LONGEST * (6 if vocabulary.kind == "characters" else 1)
    return beam.search(model.initial_state(memory_BSM), len(memory_BSM), [longest] * len(memory_BSM))


def written(
    model: Captioner,
    pictures: CaptionDataset,
    vocabulary: Vocabulary,
    wanted: DescribeOptions,
    device: torch.device | str = "cpu",
) -> tuple[list[str], float]:
    """Return the best description of each picture, and the cross-entropy of their captions, in nats per symbol."""
    found: list[str] = []
    total = count = 0.0
    with torch.no_grad():
        for begin in range(0, len(pictures), TOGETHER):
            batch = pictures.batch(np.arange(begin, min(begin + TOGETHER, len(pictures))))
            picture_B, _, target_TN, of_N, *_ = (tensor.to(device) for tensor in batch)
            memory_BSM = model.encode(picture_B)
            nats, symbols = model.nats(memory_BSM, target_TN, of_N)
            total, count = total + float(nats), count + symbols
            best = described(model, memory_BSM, vocabulary, wanted)
            found += [_text(vocabulary, hypotheses[0]) for hypotheses in best]
    return found, total / count


def judge_in_training(
    model: Captioner, pictures: CaptionDataset, vocabulary: Vocabulary, device: torch.device
) -> dict[str, float | None]:
    """Return nats per symbol, and CIDEr and exact matches of greedy descriptions.

    What decides which weights are best is CIDEr, and where that is equal, as where all descriptions are right, nats.
    """
    texts, nats = written(model, pictures, vocabulary, DescribeOptions(beam=1), device)
    score = cider(texts, pictures.texts)
    return {
        "nats_per_symbol": nats,
        "cider": score,
        "exact": exact_match(texts, pictures.texts),
        "decides": score - nats / 100,
    }


def judged_pictures(
    run: RunDirectory,
    vocabulary: Vocabulary,
    sources: Sequence[Path],
    told: PictureReading,
    *,
    most: int | None = None,
) -> CaptionDataset:
    """Return the pictures of DATA to judge on, read as `told`, or those for validation in the run.

    Raises:
        DataError, RunError: they cannot be read.
    """
    if not sources:
        return open_pictures(run.path / "validation", vocabulary)
    found = list(islice(read_evaluation_pictures(sources, told), most))
    shape = shape_of(run)
    for array, name, _ in found:
        if array.shape != shape:
            raise DataError(f"{name} is not like what the run learned from", should=f"{shape}", found=f"{array.shape}")
    arrays, names, texts = zip(*found, strict=True)
    return CaptionDataset(np.stack(list(arrays)), texts, names, vocabulary)


def shape_of(run: RunDirectory) -> tuple[int, ...]:
    """Return the shape of a picture in a run: (H, W, 3), or features (S, F)."""
    return RaggedArrays.open(run.path, "picture").values.shape[1:]


def side_of(run: RunDirectory) -> int:
    """Return the height and width of the pictures that a run was trained on; features have none, and take any."""
    shape = shape_of(run)
    return shape[0] if len(shape) == 3 else SIDE


def _text(vocabulary: Vocabulary, hypothesis: Hypothesis) -> str:
    return " ".join(vocabulary.decode(hypothesis.token_ids).split())


@dataclass(frozen=True)
class CaptionPredictor:
    """A captioner with its vocabulary and run."""

    model: Captioner
    vocabulary: Vocabulary
    side: int
    run: RunDirectory

    def predict(self, inputs: Sequence[str | Path], **options: Any) -> Iterator[Answer]:
        """Describe pictures, and yield each description as it is made.

        Args:
            inputs: files, and folders of them.
            options: see `DescribeOptions`.

        Raises:
            DataError: a picture cannot be read; those before it are described.
            SettingError: more descriptions are wanted than the beam finds, or a drawing would replace a picture.
        """
        wanted = DescribeOptions(**options)
        if wanted.n_best > wanted.beam:
            raise SettingError(
                "n_best is more than the beam finds",
                should=f"at most beam={wanted.beam}",
                found=str(wanted.n_best),
                hint=f"--set beam={wanted.n_best}",
            )
        given = picture_inputs(inputs, self.side, self.shape)
        drawings: list[Path | None] = [None] * len(given)
        if wanted.pictures is not None:
            self._check_drawable()
            paths = [path for path, _ in given]
            drawings = [*overlay_paths(paths, Path(wanted.pictures), protected=paths)]
        for (path, read), drawing in zip(given, drawings, strict=True):
            try:
                values = read()
            except DataError as error:
                if not wanted.skip_bad:
                    hint = f"{error.hint or 'leave it out'}; --skip-bad names such pictures and describes the others"
                    raise error.amended(hint=hint) from error
                yield no_answer(str(path), error)
            else:
                yield self._answer(path, values, wanted, drawing)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a picture as the run has it: (H, W, 3), or features (S, F)."""
        return shape_of(self.run)

    @torch.no_grad()
    def _answer(self, path: Path, values: Any, wanted: DescribeOptions, drawing: Path | None) -> Answer:
        memory_BSM = self.model.encode(torch.from_numpy(np.array(values))[None])
        best = described(self.model, memory_BSM, self.vocabulary, wanted)[0][: wanted.n_best]
        texts = [_text(self.vocabulary, hypothesis) for hypothesis in best]
        n_best = [
            {"caption": text, "score": found.score, "log_probability": found.log_probability}
            for text, found in zip(texts, best, strict=True)
        ]
        fields: dict[str, Any] = {"path": str(path), "caption": texts[0], "n_best": n_best}
        if drawing is not None:
            self._draw(values, memory_BSM, best[0], drawing)
            fields["picture"] = str(drawing)
        lines = [f"{path}\t{texts[0]}"]
        lines += [f"  {each['score']:9.4f}  {each['caption']}" for each in n_best if wanted.n_best > 1]
        return Answer("\n".join(lines), fields)

    @torch.no_grad()
    def attention(self, memory_BSM: Tensor, hypothesis: Hypothesis) -> Tensor | None:
        """Return how much each symbol, the end included, looked at each place, (T, S); None without attention."""
        read_TN = torch.tensor([self.model.boundary, *hypothesis.token_ids])[:, None]
        weights_NTS = self.model.decode(read_TN, self.model.initial_state(memory_BSM))[1]
        return None if weights_NTS is None else weights_NTS[0]

    def _check_drawable(self) -> None:
        if self.model.attention is None or len(self.shape) != 3:
            raise SettingError(
                "there is nothing to draw",
                should="a model with attention over pictures",
                found="attention=none" if self.model.attention is None else "a model of features",
                hint="leave out pictures, or --out of elman evaluate",
            )

    def _draw(self, values: Any, memory_BSM: Tensor, best: Hypothesis, drawing: Path) -> None:
        weights_TS = self.attention(memory_BSM, best)
        assert weights_TS is not None
        height, width = self.model.seeing.grid
        maps_TYX = weights_TS[:-1].view(-1, height, width).numpy()  # the end is not shown
        create_plot_folder(drawing.parent)
        draw_attention_overlay(values, maps_TYX, symbols_of(self.vocabulary, best.token_ids), drawing)

    def evaluate(
        self, data: Sequence[Path] | None = None, *, skip_bad: bool = False, pictures: Path | None = None
    ) -> dict[str, Any]:
        """Return CIDEr, BLEU-1 to 4 and exact matches of descriptions by beam search, and nats per symbol.

        Beside them stand what the same descriptions get for other pictures than their own, and what the best constant
        caption of the training gets. A run on the default scenes tells its metrics on the held-out ones too.

        Args:
            data: pictures with captions; None for the run's validation data.
            skip_bad: missing and broken pictures are left out and counted.
            pictures: a folder where is drawn what the words of the first few descriptions looked at.

        Raises:
            DataError, RunError: the data cannot be read.
            SettingError: there is nothing to draw.
        """
        if pictures is not None:
            self._check_drawable()
        told = PictureReading(self.side, skip_bad)
        judged = judged_pictures(self.run, self.vocabulary, data or (), told)
        if len(judged) < 2:
            raise DataError("one picture cannot be shuffled", should="at least 2", found="1")
        texts, nats = written(self.model, judged, self.vocabulary, DescribeOptions())
        constant = constant_caption(read_captions(self.run.path)[1])
        right, shuffled = caption_metrics(texts, judged.texts), caption_metrics(texts, shuffle(judged.texts))
        held_out: dict[str, Any] = {}
        if not data and (self.run.path / "held_out").exists():
            other = open_pictures(self.run.path / "held_out", self.vocabulary)
            told_there, _ = written(self.model, other, self.vocabulary, DescribeOptions())
            held_out = {"held_out_exact": exact_match(told_there, other.texts), "held_out_pictures": len(other)}
        if pictures is not None:
            for n, drawing in enumerate(overlay_paths(judged.names[:DRAWN], pictures)):
                self._answer(Path(judged.names[n]), judged.values[n], DescribeOptions(), drawing)
        return {
            "nats_per_symbol": nats,
            **right,
            **({"cider_ratio": right["cider"] / shuffled["cider"]} if shuffled["cider"] else {}),
            **held_out,
            "pictures": len(judged),
            **({"pictures_left_out": told.skipped.count, "left_out": told.skipped.lines()} if skip_bad else {}),
            "one_caption": constant,
            "baselines": {
                "the pictures shuffled": shuffled,
                "one caption for all": caption_metrics([constant] * len(judged), judged.texts),
            },
        }


def shuffle(rows: Sequence[Any]) -> list[Any]:
    """Return the rows so that none stands where it stood, the same way each time."""
    order = np.random.default_rng(0).permutation(len(rows))
    found = [rows[0]] * len(rows)
    for here, there in zip(order, np.roll(order, 1), strict=True):
        found[here] = rows[there]
    return found
