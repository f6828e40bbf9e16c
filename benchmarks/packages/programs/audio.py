"""Programs that separate, code and recognise sound."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from programs.builds import torchaudio_without_library
from programs.program import Program


def open_unmix() -> Program:
    """Return Open-Unmix of its published sizes, for 2 excerpts of 64 frames."""
    torchaudio_without_library()
    from openunmix.model import OpenUnmix

    model = OpenUnmix(nb_bins=2049, nb_channels=2, hidden_size=512, nb_layers=3, max_bin=1487)
    batch = (torch.rand(2, 2, 2049, 64), torch.rand(2, 2, 2049, 64))
    return Program(model, batch, lambda m, b: F.mse_loss(m(b[0]), b[1]), lambda m, b: m(b[0]))


def demucs() -> Program:
    """Return Demucs v2 with 16 channels, for half a second of sound."""
    from demucs.demucs import Demucs

    model = Demucs(["drums", "bass", "other", "vocals"], channels=16, lstm_layers=2, dconv_mode=0, resample=False)
    sound = torch.randn(1, 2, model.valid_length(22050)) / 10
    batch = (sound, sound[:, None].expand(1, 4, *sound.shape[1:]) / 4)
    return Program(model, batch, lambda m, b: F.l1_loss(m(b[0]), b[1]), lambda m, b: m(b[0]))


def hybrid_demucs() -> Program:
    """Return Hybrid Demucs (v3) with 16 channels, for a second and a half of sound."""
    from demucs.hdemucs import HDemucs

    model = HDemucs(["drums", "bass", "other", "vocals"], channels=16)
    sound = torch.randn(1, 2, 65536) / 10
    batch = (sound, sound[:, None].expand(1, 4, *sound.shape[1:]) / 4)
    return Program(model, batch, lambda m, b: F.l1_loss(m(b[0]), b[1]), lambda m, b: m(b[0]))


def encodec() -> Program:
    """Return EnCodec's autoencoder of its published sizes, without the quantiser, for half a second of sound."""
    from transformers import EncodecConfig, EncodecModel

    model = EncodecModel(EncodecConfig())
    batch = torch.randn(2, 1, 12000) / 10

    def output(m: EncodecModel, sound: torch.Tensor) -> torch.Tensor:
        decoded: torch.Tensor = m.decoder(m.encoder(sound))
        return decoded

    return Program(model, batch, lambda m, b: F.l1_loss(output(m, b)[..., : b.shape[-1]], b), output)


def crdnn() -> Program:
    """Return SpeechBrain's CRDNN encoder with fewer channels, for 2 utterances of a second."""
    torchaudio_without_library()
    from speechbrain.lobes.models.CRDNN import CRDNN
    from speechbrain.nnet.RNN import LSTM

    model = CRDNN(
        input_shape=[None, None, 80],
        rnn_class=LSTM,
        cnn_channels=(32, 64),
        time_pooling=True,
        time_pooling_size=4,
        rnn_layers=4,
        rnn_neurons=256,
        rnn_bidirectional=True,
        dnn_neurons=512,
    )
    batch = (torch.randn(2, 100, 80), torch.randn(2, 25, 512))
    return Program(model, batch, lambda m, b: F.mse_loss(m(b[0]), b[1]), lambda m, b: m(b[0]))
