"""Classes of series and sounds by a trained classifier.

The model is in the folder of this program, which needs numpy and onnxruntime; for sounds soundfile, and scipy where the
sample rate differs.

    python predict.py series.csv array.npy sound.wav

It writes a line of JSON for each input. The rows of a CSV file are steps, if the classes were folders of files; -
reads steps from standard input, a line each.
"""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime

SOUNDS = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au")


class SeriesClassifier:
    """The graph and the labels of a folder."""

    def __init__(self, folder):
        self.manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        labels = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
        self.target, self.classes = labels["target"], labels["classes"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.add_session_config_entry("session.disable_quant_qdq", "1")  # int8 weights become float32 here
        self.graph = onnxruntime.InferenceSession(str(folder / "whole.onnx"), options, ["CPUExecutionProvider"])
        self.dtype = np.float64 if "double" in self.graph.get_inputs()[0].type else np.float32

    def answer(self, steps):
        """Return the answer to the steps of a series, (T, I)."""
        if len(steps) == 0:
            raise ValueError("should have at least one step, has none")
        if list(steps.shape[1:]) != self.manifest["step"]["shape"]:
            raise ValueError(f"should have steps of shape {self.manifest['step']['shape']}, has {steps.shape[1:]}")
        feeds = {"x": steps[:, None].astype(self.dtype), "lengths": np.array([len(steps)], np.int32)}
        y = self.graph.run(None, feeds)[0]
        if not np.isfinite(y).all():
            raise ValueError("has a number that is not finite, or far from those of the training data")
        if self.target == "number":
            return {"number": float(y[0, 0])}
        if self.target == "tags":
            best = y[:, 0].argmax(1)
            return {"tags": [self.classes[n] for n in best], "probabilities": y[:, 0].max(1).tolist()}
        probabilities = dict(zip(self.classes, y[0].tolist(), strict=True))
        if self.target == "classes":
            return {"labels": [name for name, p in probabilities.items() if p > 0.5], "probabilities": probabilities}
        return {"label": self.classes[int(y[0].argmax())], "probabilities": probabilities}


def read(name, step):
    """Return the steps of an input, (T, I)."""
    if name == "-":
        rows = [line.replace(",", " ").replace(";", " ").split() for line in sys.stdin if line.strip()]
        return np.array(rows, np.float64)
    suffix = Path(name).suffix.lower()
    if suffix == ".npy":
        steps = np.load(name, allow_pickle=False)
        return steps[:, None] if steps.ndim == 1 else steps
    if suffix in SOUNDS:
        return log_mel(samples(name, step), step["sample_rate"], step["mel_bands"])
    if suffix == ".csv" and step["reader"] != "folders":
        raise ValueError("a table of examples is not read here, where .csv would be one series: give series as .npy")
    if suffix == ".csv":
        return table(Path(name).read_text(encoding="utf-8-sig"))
    raise ValueError(f"should be .csv, .npy or a sound such as .wav, is {suffix or 'a name without ending'}")


def table(text):
    """Return the numbers of a CSV file, whose first line may name the columns; a column without a name is not read."""
    first = text.split("\n", 1)[0]
    rows = [row for row in csv.reader(text.splitlines(), delimiter=max(",;\t", key=first.count)) if row]
    try:
        [float(cell) for cell in rows[0] if cell.strip()]
        columns = range(len(rows[0]))
    except ValueError:
        columns = [n for n, cell in enumerate(rows[0]) if cell.strip()]
        rows = rows[1:]
    return np.array([[float(row[n]) for n in columns] for row in rows], np.float64)


def samples(path, step):
    """Return the samples of a sound as one channel at the sample rate of the model, (N,)."""
    import soundfile

    sound, rate = soundfile.read(path, dtype="float32", always_2d=True)
    if len(sound) > step["max_seconds"] * rate:
        raise ValueError(f"should have at most {step['max_seconds']:g} seconds, has {len(sound) / rate:g}")
    sound = sound.mean(1, dtype=np.float32)
    if rate != step["sample_rate"]:
        from scipy.signal import resample_poly

        factor = np.gcd(rate, step["sample_rate"])
        sound = resample_poly(sound, step["sample_rate"] // factor, rate // factor).astype(np.float32)
        rate = step["sample_rate"]
    begin, end = step["time_range"] or (0.0, None)
    sound = sound[round(begin * rate) : None if end is None else round(end * rate)]
    if not step["trim_silence"] or not len(sound):
        return sound
    size = max(1, round(0.02 * rate))  # windows; those 40 decibels below the loudest are silent
    energy = (np.pad(sound.astype(np.float64), (0, -len(sound) % size)).reshape(-1, size) ** 2).mean(1)
    loud, margin = np.flatnonzero(energy >= energy.max() * 1e-4), round(0.05 * rate)
    return sound[max(0, loud[0] * size - margin) : (loud[-1] + 1) * size + margin]


def log_mel(sound, rate, bands):
    """Return log-mel energies, (T, bands): Hann windows of 25 ms every 10 ms, and triangular filters."""
    width, hop = max(1, round(0.025 * rate)), max(1, round(0.01 * rate))
    bins = 1 << (2 * width - 1).bit_length()
    edges = 2595 * np.log10(1 + np.array([20.0, rate / 2]) / 700)
    edges = 700 * (10 ** (np.linspace(*edges, bands + 2) / 2595) - 1)
    hertz = np.arange(bins // 2 + 1)[:, None] * rate / bins
    rising = (hertz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hertz) / (edges[2:] - edges[1:-1])
    filters = np.maximum(0, np.minimum(rising, falling))
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(width) / width)
    window /= np.sqrt((window**2).sum())
    sound = np.pad(sound.astype(np.float64), (0, max(0, width - len(sound))))
    frames = np.lib.stride_tricks.sliding_window_view(sound, width)[::hop]
    blocks = (frames[n : n + 2048] * window for n in range(0, len(frames), 2048))
    energy = [np.abs(np.fft.rfft(block, bins)) ** 2 @ filters for block in blocks]
    return np.log(np.maximum(np.concatenate(energy), 1e-10)).astype(np.float32)


def main(inputs):
    """Answer the inputs, and return the exit code: 2 if one has no answer."""
    if not inputs:
        print(__doc__, file=sys.stderr)
        return 2
    model, code = SeriesClassifier(Path(__file__).parent), 0
    for name in inputs:
        try:
            steps = read(name, model.manifest["step"])
            place = {"input": name, "step": len(steps)} if name == "-" else {"input": name}
            print(json.dumps({**place, **model.answer(steps)}), flush=True)
        except (ValueError, OSError, RuntimeError) as error:
            print(json.dumps({"input": name, "error": str(error)}), flush=True)
            code = 2
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
