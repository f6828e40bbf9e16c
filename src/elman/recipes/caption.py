"""Image -> text: train on pictures with captions, describe others."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from elman.data.batching import BucketBatches
from elman.data.captions.dataset import CaptionBatch, count_symbols, open_pictures, write_pictures
from elman.data.captions.pretrained_weights import read_pretrained_weights
from elman.data.captions.splits import SIDE, PictureReading, split_album, split_scenes
from elman.data.text.documents import Document
from elman.data.text.vocabularies import build_vocabulary, load_vocabulary
from elman.data.text.words import Words
from elman.errors import SettingError
from elman.layers import LAYERS
from elman.models.captioner import Captioner
from elman.modules.image_encoder import PixelEncoder, RegionEncoder
from elman.modules.resnet import RESNETS, weight_shapes
from elman.predictors.captioner import CaptionPredictor, judge_in_training, judged_pictures, side_of
from elman.predictors.options import DescribeOptions
from elman.recipes.legacy import LegacyRecipe, LegacySample
from elman.recipes.network_settings import CellSettings
from elman.settings import setting
from elman.storage.ragged import RaggedArrays
from elman.storage.run_directory import RunDirectory
from elman.training.device import choose_device
from elman.training.task import Loss, Task

LITTLE = 64  # height and width of pictures for which a smaller network does
MEASURED = 2000  # pictures whose features say what is usual
SAMPLE = 8  # pictures that a diagnosis looks at


@dataclass(frozen=True, kw_only=True)
class CaptionSettings(CellSettings):
    """The settings of a captioner."""

    size: int | None = setting(
        None, "height and width that pictures are brought to; none: 128", low=16, high=1024, fixed=True
    )
    vocabulary: str = setting("words", "what a symbol is", choices=("words", "characters", "bpe"), fixed=True)
    vocabulary_size: int | None = setting(None, "most symbols there may be, for words and bpe", low=1, fixed=True)
    rare: int = setting(4, "words that come fewer times than this are unknown", low=1, fixed=True)
    longest: int = setting(40, "captions of more symbols are left out of training and counted", low=1, fixed=True)
    validation: float = setting(0.05, "share of the pictures, at the end, kept where no list says", fixed=True)
    validation_data: tuple[str, ...] = setting((), "captions file, with pictures, for validation instead", fixed=True)
    skip_bad: bool = setting(False, "missing and broken pictures are left out and counted", fixed=True)
    encoder: str = setting("small", "what sees", choices=("small", *RESNETS), fixed=True)
    weights: str | None = setting(None, "safetensors file with weights of torchvision's resnet", fixed=True)
    width: int | None = setting(
        None, "small: channels of its first stage; 32, or 16 up to 64 pixels", low=4, high=1024, fixed=True
    )
    blocks: int = setting(1, "small: blocks of each stage", low=1, high=16, fixed=True)
    shift: float = setting(0.06, "greatest share of the side that a picture moves by in training", low=0, high=0.5)
    zoom: float = setting(0.1, "greatest share that it grows or shrinks by in training", low=0, high=0.9)
    light: float = setting(0.1, "greatest share that colours brighten or darken by in training", low=0, high=1)
    mirror: bool = setting(True, "half of the pictures are mirrored in training, but see `sided`", fixed=True)
    sided: tuple[str, ...] = setting(("left", "right"), "pictures with these words are never mirrored", fixed=True)
    attention: str = setting(
        "multiplicative", "how places are compared", choices=("multiplicative", "additive", "none"), fixed=True
    )
    cell: str = setting("lstm", "the recurrent layer", choices=tuple(LAYERS), fixed=True)
    embedding: int = setting(128, "size of the vector of a symbol", low=1, high=65536, fixed=True)
    hidden: int | None = setting(
        None, "units of a decoder layer; 256, or 128 up to 64 pixels", low=1, high=65536, fixed=True
    )
    layers: int = setting(1, "layers that write", low=1, high=64, fixed=True)
    dropout: float = setting(0.2, "probability of dropping a feature", low=0, high=1)
    forgetting: float = setting(0.1, "probability that a word that was written is not read in training", low=0, high=1)
    smoothing: float = setting(0.0, "label smoothing", low=0, high=0.99)
    bag: float = setting(0.5, "weight of telling from the picture which symbols its captions have", low=0)
    captions: int = setting(2, "captions of a picture in a batch, drawn anew each time; 0: all", low=0, fixed=True)
    batch_size: int = setting(32, "pictures in a batch", low=1, high=65536, fixed=True)
    learning_rate: float = setting(0.003, "step size at the top of the schedule", low=0)


def prepare(sources: Sequence[Path], settings: CaptionSettings, folder: Path) -> dict[str, Any]:
    """Read pictures and captions, choose the symbols, and keep both in the folder."""
    if settings.weights is not None:
        outside_weights(settings)  # a file of another network is refused before anything is read
    if settings.size is not None and not sources:
        raise SettingError(
            "the generated scenes have a size of their own",
            should="size without a value",
            found=f"size={settings.size}",
        )
    told = PictureReading(
        settings.size or SIDE, settings.skip_bad, settings.longest, settings.vocabulary != "characters"
    )
    if sources:
        other = [Path(name) for name in settings.validation_data]
        parts = split_album(sources, told, share=settings.validation, validation_data=other)
    else:
        parts = split_scenes(settings.seed)
    texts, fingerprint = write_pictures(folder, parts.training)
    said = Document("the captions", "".join(f" {text}\n" for each in texts for text in each))
    size = settings.vocabulary_size
    if settings.vocabulary == "words":
        frequent = count_symbols(texts, rare=settings.rare)
        size = min(frequent, size or frequent)
    vocabulary = build_vocabulary(settings.vocabulary, [said], size=size)
    vocabulary.save(folder)
    described = {"training_pictures": len(texts), "captions": sum(map(len, texts))}
    for name, part in (("validation", parts.validation), ("held_out", parts.held_out)):
        if part is not None:
            (folder / name).mkdir()
            judged, _ = write_pictures(folder / name, part)
            described[f"{name}_pictures"] = len(judged)
            open_pictures(folder / name, vocabulary)  # a character that is unknown is told before training
    return {
        "sources": [str(source) for source in sources] or ["scenes of two coloured shapes, generated"],
        "fingerprint": fingerprint,
        "vocabulary": f"{vocabulary.size} {vocabulary.kind}",
        **described,
        "captions_left_out_as_too_long": told.too_long,
        "skipped": told.skipped.lines(),
    }


def outside_weights(settings: CaptionSettings) -> dict[str, Tensor]:
    """Return the weights that the network begins with, out of the user's file.

    Raises:
        SettingError, DataError: they are for a network that is not chosen, or the file is broken.
    """
    if settings.encoder not in RESNETS:
        raise SettingError(
            "weights are for a network of torchvision's",
            should=f"encoder={' or '.join(RESNETS)}",
            found=f"encoder={settings.encoder}",
            hint="--set encoder=resnet18",
        )
    return read_pretrained_weights(Path(settings.weights or ""), weight_shapes(settings.encoder))


def build(settings: CaptionSettings, folder: Path) -> Captioner:
    """Build the untrained model for the pictures and the vocabulary in the folder."""
    shape = RaggedArrays.open(folder, "picture").values.shape[1:]
    vocabulary = load_vocabulary(folder)
    little = len(shape) == 3 and max(shape[:2]) <= LITTLE
    hidden = settings.hidden or (128 if little else 256)
    if len(shape) == 2:
        seeing: nn.Module = RegionEncoder(shape, hidden)
    else:
        seeing = PixelEncoder(
            shape,
            name=settings.encoder,
            width=settings.width or (16 if little else 32),
            blocks=settings.blocks,
            max_shift_share=settings.shift,
            max_zoom=settings.zoom,
            max_brightness_change=settings.light,
        )
    never = (vocabulary.unknown, vocabulary.end_of_line) if isinstance(vocabulary, Words) else ()
    return Captioner(
        seeing,
        vocabulary.size,
        embedding=settings.embedding,
        hidden=hidden,
        layers=settings.layers,
        **settings.layer(),
        attention=settings.attention,
        dropout=settings.dropout,
        word_dropout=settings.forgetting,
        suppressed=never,
    )


def task(settings: CaptionSettings, run: RunDirectory, model: nn.Module) -> Task:
    """Return what training needs."""
    device = choose_device(settings.device)
    vocabulary = load_vocabulary(run.path)
    pictures = open_pictures(run.path, vocabulary, sided=settings.sided)
    run.check_data(pictures.fingerprint, "pictures")
    judged = open_pictures(run.path / "validation", vocabulary)
    if isinstance(model.seeing, RegionEncoder):
        model.seeing.fit_normalisation(torch.from_numpy(np.array(pictures.values[:MEASURED])))
    if settings.weights is not None and not run.checkpoint.exists():
        # Not strict: all that matters has been checked, and the counts of batches may be missing.
        model.seeing.net.load_state_dict(outside_weights(settings), strict=False)  # type: ignore[union-attr]
    loss = objective(settings, device)

    def evaluate(model: Any) -> dict[str, float | None]:
        return judge_in_training(model, judged, vocabulary, device)

    batches = BucketBatches(
        np.ones(len(pictures), np.int64),
        lambda chosen: pictures.batch(chosen, settings.captions),
        batch_size=settings.batch_size,
        seed=settings.seed,
    )
    return Task(
        model,
        batches,
        lambda model, batch, state: loss(model, batch),
        evaluate,
        metric="decides",
        lower_is_better=False,
        default_minutes=2.5,
    )


def objective(settings: CaptionSettings, device: torch.device) -> Any:
    """Return (model, batch) -> Loss: nats per symbol of the captions, and of the bag of their symbols."""

    def loss(model: Any, batch: CaptionBatch) -> Loss:
        picture_B, turns_B, target_TN, of_N, said_X, said_of_X = (tensor.to(device) for tensor in batch)
        memory_BSM = model.encode(picture_B, turns_B if settings.mirror else None)
        nats, count = model.nats(memory_BSM, target_TN, of_N, label_smoothing=settings.smoothing)
        mean = nats / count
        if settings.bag:
            mean = mean + settings.bag * model.bag_of_words_nats(memory_BSM, said_X, said_of_X)
        return Loss(mean, count)

    return loss


def sample(settings: CaptionSettings, run: RunDirectory, sources: Sequence[Path]) -> LegacySample:
    """Return the first pictures of DATA, or of the run's validation data."""
    vocabulary = load_vocabulary(run.path)
    pictures = judged_pictures(run, vocabulary, sources, PictureReading(side_of(run)), most=SAMPLE)
    loss = objective(settings, torch.device("cpu"))

    def mean(model: Any, batch: CaptionBatch) -> Tensor:
        found: Tensor = loss(model, batch).mean
        return found

    return LegacySample([pictures.batch(np.arange(min(SAMPLE, len(pictures))))], mean, None)


def load(settings: CaptionSettings, run: RunDirectory, model: nn.Module) -> CaptionPredictor:
    """Return the trained model, ready to use."""
    assert isinstance(model, Captioner)
    return CaptionPredictor(model, load_vocabulary(run.path), side_of(run), run)


def headline(metrics: Mapping[str, float | None]) -> str:
    """Return how well, in a few words."""
    return (
        f"CIDEr {metrics['cider']:.3f}, {metrics['exact']:.1%} exact, {metrics['nats_per_symbol']:.3f} nats per symbol"
    )


def commands(folder: Path) -> list[tuple[str, str]]:
    """Return what can be done next."""
    run = shlex.quote(str(folder))
    return [
        ("Describe pictures", f"elman predict {run} PICTURE ..."),
        ("See where it looks", f"elman predict {run} PICTURE --set pictures=FOLDER"),
        ("Measure it, also with the pictures shuffled", f"elman evaluate {run}"),
        ("Train it further", f"elman train caption --out {run} --resume --minutes 30"),
    ]


RECIPE = LegacyRecipe(
    name="caption",
    summary="image -> text: pictures described in sentences",
    data="a folder with pictures and a captions file (Flickr8k's, with its lists, or COCO's JSON), or the captions "
    "file and then the pictures or features of them",
    default="scenes of two coloured shapes",
    example="elman train caption flickr8k/ --minutes 60 --out runs/flickr8k",
    settings=CaptionSettings,
    prepare=prepare,
    build=build,
    task=task,
    sample=sample,
    load=load,
    headline=headline,
    commands=commands,
    predict=DescribeOptions,
)
