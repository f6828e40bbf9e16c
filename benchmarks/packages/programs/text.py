"""Programs that work on text and on pictures of text."""

from __future__ import annotations

import random
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from programs.builds import torchvision_without_library
from programs.program import Accelerate, Program


def scores(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the cross-entropy of scores along the last axis."""
    return F.cross_entropy(prediction.flatten(0, -2), target.flatten())


def stanza_tagger() -> Program:
    """Return the tagger with its character model, of its default sizes, for 16 sentences of 5 to 35 words."""
    from stanza.models.pos.model import Tagger
    from stanza.models.tagger import build_argparse

    args = vars(build_argparse().parse_args(["--no_pretrain"]))
    vocabulary = {"word": range(3000), "char": range(90), "upos": range(20), "xpos": range(40)}
    args["tag_columns"] = args.get("tag_columns")
    model = Tagger(args, vocabulary | {"feats": range(60)})
    lengths = sorted((int(n) for n in torch.randint(5, 36, (16,))), reverse=True)
    letters = sorted((int(n) for n in torch.randint(1, 12, (sum(lengths),))), reverse=True)
    words = torch.randint(1, 3000, (16, max(lengths)))
    mask = torch.arange(max(lengths)) >= torch.tensor(lengths)[:, None]
    chars = torch.randint(1, 90, (len(letters), max(letters)))
    order = random.Random(0).sample(range(len(letters)), len(letters))
    tags = [torch.randint(1, 20, words.shape) * ~mask for _ in model.tag_names]
    batch = (words.masked_fill(mask, 0), mask, chars, chars == 0, tags, order, lengths, letters)

    def run(m: Any, b: Any) -> Any:
        words, mask, chars, chars_mask, tags, order, lengths, letters = b
        return m(words, mask, chars, chars_mask, tags, None, order, lengths, letters, None)

    return Program(model, batch, lambda m, b: run(m, b)[0], lambda m, b: run(m, b)[0][None])


def flair_language_model() -> Program:
    """Return the character language model of Flair's embeddings with 1024 cells, for 20 texts of 70 characters."""
    from flair.data import Dictionary
    from flair.models import LanguageModel

    dictionary = Dictionary()
    for k in range(100):
        dictionary.add_item(chr(32 + k))
    model = LanguageModel(dictionary, is_forward_lm=True, hidden_size=1024, nlayers=1)
    batch = (torch.randint(0, 100, (70, 20)), torch.randint(0, 100, (70, 20)))

    def run(m: LanguageModel, b: Any) -> Tensor:
        result: Tensor = m(b[0], m.init_hidden(b[0].shape[1]))[0]
        return result

    return Program(model, batch, lambda m, b: scores(run(m, b), b[1]), run)


def flair_tagger() -> Program:
    """Return Flair's sequence tagger on one-hot embeddings, with a CRF, and its training over one epoch."""
    import tempfile

    from flair.data import Corpus, Sentence
    from flair.datasets.base import FlairDatapointDataset
    from flair.embeddings import OneHotEmbeddings
    from flair.models import SequenceTagger
    from flair.trainers import ModelTrainer

    generator = random.Random(0)
    sentences = []
    for _ in range(160):
        sentence = Sentence([f"w{generator.randrange(400)}" for _ in range(generator.randint(5, 40))])
        for token in sentence:
            token.add_label("pos", f"T{int(token.text[1:]) % 12}")
        sentences.append(sentence)
    data = FlairDatapointDataset(sentences[:128]), FlairDatapointDataset(sentences[128:])
    corpus = Corpus(train=data[0], dev=data[1], test=data[1], sample_missing_splits=False)
    dictionary = corpus.make_label_dictionary("pos", add_unk=False)

    def build() -> SequenceTagger:
        embeddings = OneHotEmbeddings.from_corpus(corpus, embedding_length=100)
        return SequenceTagger(embeddings, dictionary, "pos", hidden_size=256, tag_format="BIOES")

    def fit(accelerate: Accelerate) -> None:
        torch.manual_seed(0)
        model = build()
        accelerate(model)
        with tempfile.TemporaryDirectory() as folder:
            ModelTrainer(model, corpus).train(folder, max_epochs=1, mini_batch_size=16, save_final_model=False)

    def total(m: SequenceTagger, batch: list[Sentence]) -> Tensor:
        for sentence in batch:
            sentence.clear_embeddings()  # a fit leaves its own in them, with their graph
        loss: Tensor = m.forward_loss(batch)[0]
        return loss

    model = build()
    return Program(model, sentences[:16], lambda m, b: total(m, b) / len(b), lambda m, b: total(m, b)[None], fit)


def doctr_crnn() -> Program:
    """Return docTR's CRNN on VGG-16 for 8 pictures of words."""
    torchvision_without_library()
    from doctr.models import crnn_vgg16_bn

    model = crnn_vgg16_bn(pretrained=False, pretrained_backbone=False)
    words = ["elman", "network", "1990", "time", "finding", "structure", "in", "cells"]

    def loss(m: Any, pictures: Tensor) -> Tensor:
        result: Tensor = m(pictures, words)["loss"]
        return result

    return Program(model, torch.rand(8, 3, 32, 128), loss, lambda m, b: m(b, return_model_output=True)["out_map"])


def kraken_recogniser() -> Program:
    """Return Kraken's default network for lines of text, for 4 lines of 400 columns."""
    from kraken.lib.vgsl import TorchVGSLModel

    spec = (
        "[4,120,0,1 Cr3,13,32 Do0.1,2 Mp2,2 Cr3,13,32 Do0.1,2 Mp2,2 Cr3,9,64 Do0.1,2 Mp2,2 Cr3,9,64 Do0.1,2 "
        "S1(1x0)1,3 Lbx200 Do0.1,2 Lbx200 Do0.1,2 Lbx200 Do O1c90]"
    )
    model = TorchVGSLModel(vgsl=spec) if not hasattr(TorchVGSLModel, "from_spec") else TorchVGSLModel.from_spec(spec)
    net = getattr(model, "nn", model)
    batch = torch.rand(4, 1, 120, 400)

    def output(m: Any, b: Tensor) -> Tensor:
        result = m(b)
        tensor: Tensor = result[0] if isinstance(result, tuple) else result
        return tensor

    return Program(net, batch, lambda m, b: output(m, b).square().mean(), output)


def espnet_language_model() -> Program:
    """Return ESPnet's recurrent language model of its default sizes, for 16 sentences of 40 tokens."""
    from espnet2.lm.seq_rnn_lm import SequentialRNNLM

    model = SequentialRNNLM(500, unit=650, nlayers=2, rnn_type="lstm")
    batch = (torch.randint(0, 500, (16, 40)), torch.randint(0, 500, (16, 40)))
    return Program(model, batch, lambda m, b: scores(m(b[0], None)[0], b[1]), lambda m, b: m(b[0], None)[0])


def parakeet_decoder() -> Program:
    """Return the prediction network of Parakeet's transducer of its default sizes, for 16 transcripts of 30 tokens."""
    from transformers.models.parakeet.configuration_parakeet import ParakeetRNNTConfig
    from transformers.models.parakeet.modeling_parakeet import ParakeetRNNTDecoder

    model = ParakeetRNNTDecoder(ParakeetRNNTConfig())
    batch = torch.randint(0, 1000, (16, 30))
    return Program(model, batch, lambda m, b: m(b).square().mean(), lambda m, b: m(b))
