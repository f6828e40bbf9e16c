"""The packages of the comparison."""

from __future__ import annotations

from programs.program import Package

_LIBRARY = "{}'s compiled library, which the package index has for CUDA alone, is left out of the import"
_TORCHAUDIO = _LIBRARY.format("torchaudio")

PACKAGES = (
    Package("openunmix", "Open-Unmix, published sizes", "audio:open_unmix", note=_TORCHAUDIO),
    Package("demucs", "Hybrid Demucs (v3), 16 channels", "audio:hybrid_demucs", ("numpy",)),
    Package("speechbrain", "CRDNN, 4 bidirectional LSTM layers of 256", "audio:crdnn", note=_TORCHAUDIO),
    Package("transformers", "EnCodec, published sizes", "audio:encodec"),
    Package("stanza", "tagger with character model, default sizes", "text:stanza_tagger"),
    Package("flair", "sequence tagger with a CRF", "text:flair_tagger"),
    Package("python-doctr", "CRNN on VGG-16", "text:doctr_crnn", note=_LIBRARY.format("torchvision")),
    Package("kraken", "default recogniser of lines", "text:kraken_recogniser"),
    Package("espnet", "recurrent language model, default sizes", "text:espnet_language_model"),
    Package("neuralforecast", "LSTM and GRU, default sizes", "series:neural_forecast"),
    Package("darts", "RNNModel, LSTM", "series:darts_rnn", ("darts[torch]",)),
    Package("pytorch-forecasting", "DeepAR, LSTM", "series:pytorch_forecasting"),
    Package("gluonts", "DeepAR, default sizes", "series:gluonts_deepar", ("gluonts[torch]", "scipy")),
    Package("neuralhydrology", "CudaLSTM, 1 layer of 256", "series:neural_hydrology"),
    Package("recbole", "GRU4Rec, default sizes", "series:recbole_gru"),
)
