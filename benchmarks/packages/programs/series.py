"""Programs that forecast series of numbers and of events."""

from __future__ import annotations

import tempfile
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from programs.program import Accelerate, Program

QUIET = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}


def waves(count: int, length: int) -> Any:
    """Return series of a daily and a weekly wave and noise."""
    import numpy as np

    rng = np.random.default_rng(0)
    time = np.arange(length)
    phases = rng.uniform(0, 24, (count, 1))
    daily, weekly = (np.sin(2 * np.pi * (time + phases) / period) for period in (24, 168))
    return (10 + 3 * daily + 2 * weekly + rng.normal(0, 0.3, (count, length))).astype(np.float32)


def callback(lightning: Any, accelerate: Accelerate) -> Any:
    """Return a callback of Lightning that accelerates the module before it is fitted."""

    class Accelerated(lightning.pytorch.Callback if hasattr(lightning, "pytorch") else lightning.Callback):  # type: ignore[misc]
        def on_fit_start(self, trainer: Any, module: Any) -> None:
            accelerate(module)

    return Accelerated()


def neural_forecast() -> Program:
    """Return the LSTM of its default sizes for 64 windows of 96 hours, and a fit and a forecast of LSTM and GRU."""
    import pandas
    from neuralforecast import NeuralForecast
    from neuralforecast.models import GRU, LSTM

    values = waves(16, 600)
    dates = pandas.date_range("2024-01-01", periods=600, freq="h")
    frames = [pandas.DataFrame({"unique_id": f"s{k}", "ds": dates, "y": row}) for k, row in enumerate(values)]
    frame = pandas.concat(frames)

    def build(kind: Any, steps: int) -> Any:
        return kind(h=24, input_size=96, max_steps=steps, windows_batch_size=64, accelerator="cpu", **QUIET)

    def fit(accelerate: Accelerate) -> None:
        models = [build(LSTM, 8), build(GRU, 8)]
        for model in models:
            accelerate(model)
        forecast = NeuralForecast(models=models, freq="h")
        forecast.fit(frame)
        forecast.predict()

    windows = torch.as_tensor(values[:, :480]).reshape(80, 96)[:64, :, None] - 10
    none = {"futr_exog": None, "hist_exog": None, "stat_exog": None}
    batch = none | {"insample_y": windows, "target": windows[:, -24:].roll(1, 0)}
    return Program(build(LSTM, 1), batch, lambda m, b: F.l1_loss(m(dict(b)), b["target"]), lambda m, b: m(dict(b)), fit)


def darts_rnn() -> Program:
    """Return the LSTM of a fitted RNNModel for 32 windows of 72 hours, and a fit and a forecast of it."""
    import pytorch_lightning
    from darts import TimeSeries
    from darts.models import RNNModel
    from darts.utils.data.torch_datasets.utils import PLModuleInput

    series = [TimeSeries.from_values(row) for row in waves(4, 300) - 10]

    def build(accelerate: Accelerate, epochs: int) -> Any:
        options = {"accelerator": "cpu", "callbacks": [callback(pytorch_lightning, accelerate)], **QUIET}
        model = RNNModel(
            input_chunk_length=48, training_length=72, model="LSTM", hidden_dim=64, n_rnn_layers=2, batch_size=32,
            n_epochs=epochs, random_state=0, pl_trainer_kwargs=options,
        )  # fmt: skip
        model.fit(series if epochs > 1 else series[:1])
        return model

    def fit(accelerate: Accelerate) -> None:
        build(accelerate, 2).predict(48, series=series)

    model = build(lambda model: None, 1).model.float()
    model.trainer = None
    windows = torch.as_tensor(waves(32, 73)) - 10
    batch = (windows[:, :-1, None], windows[:, 1:, None])

    def output(m: Any, b: Any) -> Tensor:
        prediction: Tensor = m(PLModuleInput(past_target=b[0], stage=None)).prediction[..., 0]
        return prediction

    return Program(model, batch, lambda m, b: F.mse_loss(output(m, b), b[1]), output, fit)


def pytorch_forecasting() -> Program:
    """Return DeepAR with 2 layers of 64 cells for 32 windows of 72 hours, and a fit of it."""
    import lightning
    import pandas
    from pytorch_forecasting import DeepAR, TimeSeriesDataSet

    frames = [
        pandas.DataFrame({"series": str(k), "time": range(300), "value": row}) for k, row in enumerate(waves(8, 300))
    ]
    data = TimeSeriesDataSet(
        pandas.concat(frames, ignore_index=True), time_idx="time", target="value", group_ids=["series"],
        max_encoder_length=72, max_prediction_length=24, time_varying_unknown_reals=["value"],
    )  # fmt: skip

    def build() -> Any:
        torch.manual_seed(0)
        return DeepAR.from_dataset(data, hidden_size=64, rnn_layers=2, cell_type="LSTM")

    def fit(accelerate: Accelerate) -> None:
        model = build()
        accelerate(model)
        options = {"max_epochs": 1, "limit_train_batches": 15, "accelerator": "cpu", **QUIET}
        lightning.pytorch.Trainer(**options).fit(model, data.to_dataloader(batch_size=64))

    batch = next(iter(data.to_dataloader(train=True, batch_size=32, shuffle=False)))

    def output(m: Any, b: Any) -> Tensor:
        x = b[0]
        m.log = m.log_dict = lambda *args, **options: None
        prediction: Tensor = m(x).prediction
        return prediction

    return Program(build(), batch, lambda m, b: m.loss(output(m.train(), b), b[1]), lambda m, b: output(m, b), fit)


def gluonts_deepar() -> Program:
    """Return DeepAR of its default sizes for 32 windows of 72 hours, and a fit and a forecast of it."""
    import pandas
    from gluonts.dataset.common import ListDataset
    from gluonts.torch.model.deepar import DeepAREstimator
    from gluonts.torch.model.deepar.module import DeepARModel
    from lightning import pytorch

    start = pandas.Period("2024-01-01", freq="h")
    data = ListDataset([{"start": start, "target": row} for row in waves(10, 600)], freq="h")

    def fit(accelerate: Accelerate) -> None:
        options = {"max_epochs": 1, "accelerator": "cpu", "callbacks": [callback(pytorch, accelerate)], **QUIET}
        options |= {"enable_checkpointing": True, "default_root_dir": tempfile.mkdtemp()}
        estimator = DeepAREstimator(
            freq="h", prediction_length=24, context_length=72, num_batches_per_epoch=15, trainer_kwargs=options
        )
        predictor = estimator.train(data)
        list(predictor.predict(data, num_samples=20))

    model = DeepARModel(freq="h", context_length=72, prediction_length=24)
    inputs = dict(model.describe_inputs(32).zeros())
    for name, tensor in inputs.items():
        if tensor.is_floating_point():
            inputs[name] = torch.ones_like(tensor) if "observed" in name else torch.rand_like(tensor)
    future = torch.rand(32, 24)
    batch = inputs | {"future_target": future, "future_observed_values": torch.ones_like(future)}

    def output(m: Any, b: Any) -> Tensor:
        losses: Tensor = m.loss(**b, aggregate_by=torch.sum)
        return losses

    return Program(model, batch, lambda m, b: m.loss(**b).mean(), output, fit)


def neural_hydrology() -> Program:
    """Return CudaLSTM with 256 cells for 32 basins over 180 days of 5 forcings and 27 attributes."""
    from pathlib import Path

    from neuralhydrology.modelzoo.cudalstm import CudaLSTM
    from neuralhydrology.utils.config import Config

    forcings = [f"forcing {k}" for k in range(5)]
    attributes = [f"attribute {k}" for k in range(27)]
    settings = {
        "model": "cudalstm", "hidden_size": 256, "head": "regression", "output_activation": "linear",
        "output_dropout": 0.4, "initial_forget_bias": 3, "dynamic_inputs": forcings, "static_attributes": attributes,
        "target_variables": ["discharge"], "seq_length": 180, "predict_last_n": 1, "use_frequencies": [],
        "run_dir": Path(), "train_dir": Path(),
    }  # fmt: skip
    model = CudaLSTM(Config(settings))
    data = {"x_d": {name: torch.randn(32, 180, 1) for name in forcings}, "x_s": torch.randn(32, 27)}
    batch = (data, torch.randn(32, 1))
    return Program(model, batch, lambda m, b: F.mse_loss(m(b[0])["y_hat"][:, -1], b[1]), lambda m, b: m(b[0])["y_hat"])


def recbole_gru() -> Program:
    """Return GRU4Rec of its default sizes for 256 sessions of 50 of 3000 items."""
    from recbole.model.sequential_recommender.gru4rec import GRU4Rec

    config = {
        "USER_ID_FIELD": "user", "ITEM_ID_FIELD": "item", "LIST_SUFFIX": "_list", "ITEM_LIST_LENGTH_FIELD": "length",
        "NEG_PREFIX": "neg_", "MAX_ITEM_LIST_LENGTH": 50, "device": "cpu", "embedding_size": 64, "hidden_size": 128,
        "num_layers": 1, "dropout_prob": 0.3, "loss_type": "CE",
    }  # fmt: skip
    model = GRU4Rec(config, SimpleNamespace(num=lambda field: 3000))
    items = torch.randint(1, 3000, (256, 50))
    batch = {"item_list": items, "length": torch.randint(5, 51, (256,)), "item": items[:, 0]}
    return Program(model, batch, lambda m, b: m.calculate_loss(b), lambda m, b: m(b["item_list"], b["length"]))
