"""Input layers: symbol vectors with word dropout, standardised features with masking, and their builder."""

import math

import pytest
import torch
from torch.nn import functional

from elman.errors import SettingError
from elman.modules.frame_encoder import FrameEncoder
from elman.modules.input_layers import FeatureInput, SymbolInput, build_input_layer


def test_features_are_standardised() -> None:
    layer = build_input_layer("features", (2,), mean=(1.0, 2.0), deviation=(2.0, 4.0), symbols=0, embedding=3)
    assert layer(torch.tensor([[[3, 10]]], dtype=torch.uint8)).tolist() == [[[1.0, 2.0]]]
    one = build_input_layer("features", (2,), mean=(1.0,), deviation=(2.0,))
    assert one(torch.tensor([[[3.0, 10.0]]])).tolist() == [[[1.0, 4.5]]]
    with pytest.raises(SettingError, match="unknown kind of step"):
        build_input_layer("feature", (2,))


def test_word_dropout_in_training_only() -> None:
    torch.manual_seed(1)
    layer = SymbolInput(10, 4, word_dropout=0.3)
    x_TB = torch.randint(0, 9, (400, 5))
    unknown = layer.embedding.weight[9]
    share = (layer(x_TB) == unknown).all(-1).float().mean().item()
    assert abs(share - 0.3) < 4 * math.sqrt(0.3 * 0.7 / 2000)
    torch.testing.assert_close(layer.eval()(x_TB), functional.embedding(x_TB, layer.embedding.weight))


def test_masks_lie_within_the_lengths() -> None:
    torch.manual_seed(1)
    layer, lengths_B = FeatureInput(4, mask_steps=30, mask_features=2), torch.tensor([30, 6] * 20)
    masked_TBI = layer(torch.ones(30, 40, 4), lengths_B) == 0
    assert not masked_TBI.all(2)[6:, 1::2].any() and masked_TBI.all(2)[:6, 1::2].any()
    assert masked_TBI[:, ::2].all(0).any(), "features are masked at all steps"
    assert not (layer.eval()(torch.ones(30, 40, 4), lengths_B) == 0).any()


def test_the_builder_passes_the_options_of_frames() -> None:
    options = {"max_shift": 2, "horizontal_flip": True, "dropout": 0.5, "mean": (3.0,), "deviation": (2.0,)}
    layer = build_input_layer("frames", (12, 10), embedding=6, symbols=0, **options)
    assert isinstance(layer, FrameEncoder) and layer.output_size == 6
    assert (layer.mean, layer.deviation, layer.dropout) == (3.0, 2.0, 0.5)
    assert (layer.shift.max_shift, layer.shift.horizontal_flip) == (2, True)
    symbols = build_input_layer("symbols", (), symbols=9, embedding=5, word_dropout=0.1)
    assert isinstance(symbols, SymbolInput)
    assert (symbols.embedding.weight.shape, symbols.word_dropout) == ((9, 5), 0.1)
