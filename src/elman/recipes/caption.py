"""Image -> text: captions of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from elman.data.batching import BucketBatches
from elman.data.captions.dataset import CaptionDataset, caption_vocabulary, read_captions, write_pictures
from elman.data.captions.pretrained_weights import read_pretrained_weights
from elman.data.captions.splits import SIDE, PictureReading, read_evaluation_pictures, split_album, split_scenes
from elman.data.in_memory import RowFormat
from elman.data.skipped import SkippedRows
from elman.data.text.vocabularies import Vocabulary, load_vocabulary
from elman.data.text.words import Words
from elman.errors import DataError, RunError, SettingError
from elman.evaluation.baselines.captions import caption_evaluation
from elman.evaluation.metrics.captions import cider, exact_match
from elman.evaluation.result import Metrics
from elman.layers import LAYERS
from elman.modules import RESNETS
from elman.number_format import decimal, percent
from elman.plots.attention_overlay import overlay_paths
from elman.predictors.options import CaptionOptions
from elman.recipes.base import Part, Recipe, skipped_rows
from elman.recipes.network_settings import CellSettings, SkipBadSettings, ValidationSettings, VocabularySettings
from elman.settings import setting
from elman.storage.files import exists
from elman.storage.ragged import RaggedArrays
from elman.training.task import Loss

if TYPE_CHECKING:
    from torch import Tensor

    from elman.data.captions.batches import CaptionBatch
    from elman.models.captioner import Captioner
    from elman.predictors.captioner import CaptionPredictor

SMALL_SIDE = 64  # height and width of images for which a smaller network does
NORMALISED = 2000  # images by whose features features are normalised
PLOTS = 8  # images whose attention an evaluation plots
BATCH = 32  # images that are captioned at a time


@dataclass(frozen=True, kw_only=True)
class CaptionSettings(ValidationSettings, SkipBadSettings, VocabularySettings, CellSettings):
    """Settings of image captioning."""

    image_size: int | None = setting(None, "height and width of images; none: 128", low=16, high=1024, fixed=True)
    vocabulary: str = setting("words", "kind of symbols", choices=("words", "characters", "bpe"), fixed=True)
    min_count: int = setting(4, "words with fewer occurrences are unknown", low=1, fixed=True)
    max_symbols: int = setting(40, "longer captions are skipped in training, and counted", low=1, fixed=True)
    validation: float = setting(0.05, "share of the images, at the end, without a list", low=0, high=1, fixed=True)
    validation_data: tuple[str, ...] = setting((), "captions file, with images, for validation instead", fixed=True)
    encoder: str = setting("small", "image encoder", choices=("small", *RESNETS), fixed=True)
    pretrained_weights: str | None = setting(None, "safetensors file of torchvision's resnet", fixed=True)
    width: int | None = setting(None, "small: channels of stage 1; none: 32 or 16", low=4, high=1024, fixed=True)
    blocks: int = setting(1, "small: residual blocks of each stage", low=1, high=16, fixed=True)
    max_shift_share: float = setting(0.06, "greatest random shift, as a share of the side", low=0, high=0.5)
    max_zoom: float = setting(0.1, "greatest random change of scale, as a share", low=0, high=0.9)
    max_brightness_change: float = setting(0.1, "greatest random change of colours, as a share", low=0, high=1)
    horizontal_flip: bool = setting(True, "flip half of the images, but see `no_flip_words`", fixed=True)
    no_flip_words: tuple[str, ...] = setting(("left", "right"), "words of images that are never flipped", fixed=True)
    attention: str = setting("multiplicative", "scores", choices=("multiplicative", "additive", "none"), fixed=True)
    cell: str = setting("lstm", "the recurrent layer", choices=tuple(LAYERS), fixed=True)
    embedding: int = setting(128, "size of the vector of a symbol", low=1, high=65536, fixed=True)
    hidden: int | None = setting(None, "units of a decoder layer; none: 256 or 128", low=1, high=65536, fixed=True)
    layers: int = setting(1, "upper layers of the decoder", low=1, high=64, fixed=True)
    dropout: float = setting(0.2, "probability of dropping a feature", low=0, high=1)
    word_dropout: float = setting(0.1, "probability of masking a decoder input", low=0, high=1)
    label_smoothing: float = setting(0.0, "label smoothing", low=0, high=0.99)
    bag_of_words_weight: float = setting(0.5, "weight of the auxiliary bag-of-words loss", low=0)
    captions_per_image: int = setting(2, "captions of an image in a batch, drawn anew; 0: all", low=0, fixed=True)
    batch_size: int = setting(32, "images in a batch", low=1, high=65536, fixed=True)
    learning_rate: float = setting(0.003, "peak learning rate", low=0)

    def check(self) -> None:
        super().check()
        if self.pretrained_weights is not None and self.encoder not in RESNETS:
            raise SettingError(
                "pretrained_weights are for a network of torchvision's",
                should=f"encoder={' or '.join(RESNETS)}",
                found=f"encoder={self.encoder}",
                hint="--set encoder=resnet18",
            )


class Caption(Recipe[CaptionSettings, CaptionDataset]):
    """Image captioning with a residual network and an attentive decoder."""

    name = "caption"
    summary = "image -> text: images described in sentences"
    data = (
        "a folder with images and a captions file (Flickr8k's, with its lists, or COCO's JSON), or the captions file "
        "and then the images or features of them"
    )
    default = "scenes of two coloured shapes"
    example = "elman train caption flickr8k/ --minutes 60 --out runs/flickr8k"
    Settings, Options = CaptionSettings, CaptionOptions
    rows = RowFormat(("path", "caption"), ".tsv", header=False, files="path")
    metric, lower_is_better = "decides", False
    examples = "pictures"
    sample_size = 8
    evaluation_files = "plots of the attention over the first images"
    default_minutes = 2.5

    @cached_property
    def vocabulary(self) -> Vocabulary:
        return load_vocabulary(self.folder)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """The shape of an image: (H, W, 3), or features (S, F)."""
        return RaggedArrays.open(self.folder, "picture").values.shape[1:]

    def prepare(self, sources: Sequence[Path]) -> dict[str, Any]:
        s = self.settings
        self.pretrained_weights()  # a file of another network is refused before images are read
        if s.image_size is not None and not sources:
            raise SettingError(
                "the generated scenes have a size of their own",
                should="image_size without a value",
                found=f"image_size={s.image_size}",
            )
        reading = PictureReading(s.image_size or SIDE, s.skip_bad, s.max_symbols, s.vocabulary != "characters")
        if sources:
            other = [Path(name) for name in s.validation_data]
            parts = split_album(sources, reading, share=s.validation, validation_data=other)
        else:
            parts = split_scenes(s.seed)
        texts = write_pictures(self.folder, parts.training)
        write_pictures(self.folder / "validation", parts.validation)
        if parts.held_out is not None:
            write_pictures(self.folder / "held_out", parts.held_out)
        vocabulary = caption_vocabulary(texts, s.vocabulary, size=s.vocabulary_size, min_count=s.min_count)
        vocabulary.save(self.folder)
        return {
            "vocabulary": f"{vocabulary.size} {vocabulary.kind}",
            "captions": sum(map(len, texts)),
            "skipped_captions": reading.too_long,
            **skipped_rows(reading),
            **({"notes": reading.notes.lines()} if reading.notes else {}),
        }

    def build(self) -> Captioner:
        from elman.models.captioner import Captioner
        from elman.modules.image_encoder import build_image_encoder

        s, vocabulary = self.settings, self.vocabulary
        small = len(self.shape) == 3 and max(self.shape[:2]) <= SMALL_SIDE
        hidden = s.hidden or (128 if small else 256)
        encoder = build_image_encoder(
            self.shape,
            hidden,
            name=s.encoder,
            width=s.width or (16 if small else 32),
            blocks=s.blocks,
            max_shift_share=s.max_shift_share,
            max_zoom=s.max_zoom,
            max_brightness_change=s.max_brightness_change,
        )
        return Captioner(
            encoder,
            vocabulary.size,
            embedding=s.embedding,
            hidden=hidden,
            layers=s.layers,
            **s.layer(),
            attention=s.attention,
            dropout=s.dropout,
            word_dropout=s.word_dropout,
            suppressed=(vocabulary.unknown, vocabulary.end_of_line) if isinstance(vocabulary, Words) else (),
        )

    def initialise(self, model: Captioner, training: CaptionDataset) -> None:
        import torch

        if len(self.shape) == 2:
            model.seeing.fit_normalisation(torch.from_numpy(np.array(training.values[:NORMALISED])))
        if weights := self.pretrained_weights():
            # Not strict: all that matters has been checked, and the counts of batches may be missing.
            model.seeing.net.load_state_dict(weights, strict=False)

    def pretrained_weights(self) -> dict[str, Tensor]:
        """Return the weights of the image encoder in the user's file; none without a file."""
        from elman.modules.resnet import weight_shapes

        file, encoder = self.settings.pretrained_weights, self.settings.encoder
        return read_pretrained_weights(Path(file), weight_shapes(encoder)) if file is not None else {}

    def dataset(self, part: Part) -> CaptionDataset:
        folder = self.folder if part == "training" else self.folder / part
        return CaptionDataset.open(folder, self.vocabulary, no_flip_words=self.settings.no_flip_words)

    def read(
        self, sources: Sequence[Path], folder: Path, *, skip_bad: bool, limit: int | None
    ) -> tuple[CaptionDataset, SkippedRows]:
        reading = PictureReading(self.shape[0] if len(self.shape) == 3 else SIDE, skip_bad)
        write_pictures(folder, islice(read_evaluation_pictures(sources, reading), limit), self.shape)
        return CaptionDataset.open(folder, self.vocabulary), reading.skipped

    def batches(self, training: CaptionDataset) -> BucketBatches[CaptionBatch]:
        from elman.data.captions.batches import caption_batch

        s = self.settings
        return BucketBatches(
            np.ones(len(training), np.int64),
            lambda numbers: caption_batch(training, numbers, s.captions_per_image),
            batch_size=s.batch_size,
            seed=s.seed,
        )

    def loss(self, model: Captioner, batch: CaptionBatch, state: None, progress: float | None) -> Loss:
        s = self.settings
        memory_BSM = model.encode(batch.picture_B, batch.flips_B if s.horizontal_flip else None)
        nats, count = model.nats(memory_BSM, batch.target_TN, batch.of_N, label_smoothing=s.label_smoothing)
        mean = nats / count
        if s.bag_of_words_weight:
            mean = mean + s.bag_of_words_weight * model.bag_of_words_nats(memory_BSM, batch.symbol_X, batch.symbol_of_X)
        return Loss(mean, count)

    def captions(self, model: Captioner, data: CaptionDataset, options: CaptionOptions) -> tuple[list[str], float]:
        """Return the caption of each image, and the cross-entropy of the references, in nats per symbol."""
        from elman.data.captions.batches import caption_batch
        from elman.training.checkpoint import to_device

        predictor, device = self.predictor(model), next(model.parameters()).device
        captions: list[str] = []
        total = count = 0.0
        for begin in range(0, len(data), BATCH):
            batch = to_device(caption_batch(data, np.arange(begin, min(begin + BATCH, len(data)))), device)
            memory_BSM = model.encode(batch.picture_B)
            nats, symbols = model.nats(memory_BSM, batch.target_TN, batch.of_N)
            total, count = total + float(nats), count + symbols
            captions += [predictor.text(best[0]) for best in predictor.search(memory_BSM, options)]
        return captions, total / count

    def measure(self, model: Captioner, data: CaptionDataset) -> dict[str, float | None]:
        """Return the metrics of greedy captions; of equal CIDEr, as of captions without errors, nats decide."""
        captions, nats = self.captions(model, data, CaptionOptions(beam_width=1))
        score, exact = cider(captions, data.texts), exact_match(captions, data.texts)
        return {"nats_per_symbol": nats, "cider": score, "exact": exact, "decides": score - nats / 100}

    def training_captions(self) -> list[list[str]]:
        """Return the captions of each training image; none where the run came without them."""
        try:
            return read_captions(self.folder, len(RaggedArrays.open(self.folder, "picture")))[1]
        except RunError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            return []

    def evaluate(self, model: Captioner, data: CaptionDataset, *, out: Path | None) -> dict[str, Any]:
        """Return the metrics of captions by beam search, on the run's own data also of held-out combinations."""
        predictor, options = self.predictor(model), CaptionOptions()
        if out is not None:
            predictor.check_attention()
        if len(data) < 2:
            raise DataError("one image cannot be shuffled", should="at least 2", found="1")
        captions, nats = self.captions(model, data, options)
        metrics = caption_evaluation(captions, data.texts, self.training_captions())
        if data.folder == self.folder / "validation" and exists(self.folder / "held_out"):
            held_out = CaptionDataset.open(self.folder / "held_out", self.vocabulary)
            metrics["held_out_exact"] = exact_match(self.captions(model, held_out, options)[0], held_out.texts)
            metrics["held_out_pictures"] = len(held_out)
        if out is not None:
            for n, path in enumerate(overlay_paths(data.names[:PLOTS], out)):
                predictor.answer(Path(data.names[n]), data.values[n], options, path)
        return {"nats_per_symbol": nats, **metrics}

    def sample(self, data: CaptionDataset) -> tuple[list[CaptionBatch], None]:
        from elman.data.captions.batches import caption_batch

        return [caption_batch(data, np.arange(min(self.sample_size, len(data))))], None

    def predictor(self, model: Captioner) -> CaptionPredictor:
        from elman.predictors.captioner import CaptionPredictor

        return CaptionPredictor(model, self.folder, self.vocabulary, self.shape)

    @staticmethod
    def headline(metrics: Metrics) -> str:
        return (
            f"CIDEr {decimal(metrics['cider'], 3)}, {percent(metrics['exact'])} exact, "
            f"{decimal(metrics['nats_per_symbol'], 3)} nats per symbol"
        )

    def usage(self, run: str) -> list[tuple[str, str]]:
        return [
            ("Caption images", f"elman predict {run} IMAGE ..."),
            ("Plot its attention", f"elman predict {run} IMAGE --set pictures=FOLDER"),
            ("Evaluate it by BLEU, beside shuffled images", f"elman evaluate {run}"),
        ]
