"""Transcripts of sounds by a trained transcriber.

The model is in the folder of this program, which needs numpy, onnxruntime and soundfile, scipy where the sample rate of
a sound differs, and for byte pairs tokenizers.

    python predict.py sound.wav

It writes a line of JSON for each sound: the text, and its words with their times in seconds.
"""

import codecs
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime


class SoundTranscriber:
    """The graphs and the vocabulary of a folder."""

    def __init__(self, folder):
        self.facts = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["transcription"]
        kind, path = self.facts["symbols"]["kind"], folder / self.facts["symbols"]["file"]
        self.words = kind == "words"
        if kind == "bpe":
            from tokenizers import Tokenizer

            tokens = Tokenizer.from_file(str(path)).get_vocab()
            symbols = [token.encode() for token in sorted(tokens, key=tokens.get)]
            self.symbols = [bytes([number]) for number in range(256)] + symbols[256:]
        elif kind == "bytes":
            self.symbols = [bytes([number]) for number in range(256)]
        else:
            symbols = json.loads(path.read_text(encoding="utf-8"))["symbols"]
            self.symbols = [symbol.encode() for symbol in symbols]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.add_session_config_entry("session.disable_quant_qdq", "1")  # int8 weights become float32 here
        self.features, self.acoustic = (
            onnxruntime.InferenceSession(str(folder / f"{name}.onnx"), options, ["CPUExecutionProvider"])
            for name in ("features", "whole")
        )

    def read(self, path):
        """Return the samples of a sound, (N,), and the second at which they begin."""
        import soundfile

        sound, rate = soundfile.read(path, dtype="float32", always_2d=True)
        if len(sound) > self.facts["max_seconds"] * rate:
            raise ValueError(f"should have at most {self.facts['max_seconds']:g} seconds, has {len(sound) / rate:g}")
        sound, model_rate = sound.mean(1, dtype=np.float32), self.facts["sample_rate"]
        if rate != model_rate:
            from scipy.signal import resample_poly

            factor = np.gcd(rate, model_rate)
            sound = resample_poly(sound, model_rate // factor, rate // factor).astype(np.float32)
        if not len(sound) or sound.min() == sound.max():
            raise ValueError("the sound is silent")
        begin, end = speech_span(sound, model_rate) if self.facts["trim"] else (0, len(sound))
        return sound[begin:end], begin / model_rate

    def log_probabilities(self, samples):
        """Return log p of the blank and of each symbol, (T, V + 1)."""
        x = self.features.run(None, {"samples": samples})[0]
        if self.facts["longest"] and len(x) > 1.2 * self.facts["longest"]:
            raise ValueError(f"the sound has {len(x)} steps of 10 ms, far more than sentences of training: cut it")
        if self.facts["norm"] == "speaker":  # float16, as the features of training
            exact = x.astype(np.float64)
            mean, deviation = exact.mean(0), exact.std(0)
            deviation[deviation <= 1e-6 * np.maximum(1, np.abs(mean))] = 1.0
            x = ((exact - mean) / deviation).astype(np.float32).astype(np.float16).astype(np.float32)
        if len(x) < self.facts["stride"]:
            return np.zeros((0, len(self.symbols) + 1), np.float32)
        return self.acoustic.run(None, {"x": x[:, None], "lengths": np.array([len(x)], np.int32)})[0][:, 0]

    def emissions(self, log_p):
        """Return the symbols of the most probable path: number, first step, last step, probability."""
        best, emissions = log_p.argmax(1), []
        firsts = [t for t in range(len(best)) if best[t] and (t == 0 or best[t] != best[t - 1])]  # 0 is the blank
        for t, following in zip(firsts, [*firsts, len(best)][1:], strict=True):
            end = t
            while end + 1 < following and best[end + 1] == best[t]:
                end += 1
            emissions.append((int(best[t]) - 1, t, end, float(np.exp(log_p[t:following, best[t]].max()))))
        return emissions

    def pieces(self, ids):
        """Return the text of each symbol; a character of several symbols stands at the last of them."""
        if self.words:
            names = [self.symbols[number].decode() for number in ids]
            after = [None, *names][:-1] if names else []
            return [
                "\n" if name == "<eos>" else " " * (before not in (None, "<eos>")) + name
                for name, before in zip(names, after, strict=True)
            ]
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        return [decoder.decode(self.symbols[n], place == len(ids) - 1) for place, n in enumerate(ids)]

    def answer(self, path):
        """Return the answer to a sound."""
        samples, begin = self.read(path)
        log_p, words, new = self.log_probabilities(samples), [], True
        emissions, seconds = self.emissions(log_p), 0.01 * self.facts["stride"]
        pieces = self.pieces([number for number, *_ in emissions])
        for piece, (_, first, last, probability) in zip(pieces, emissions, strict=True):
            new, text, end = new or piece[:1].isspace(), piece.strip(), begin + (last + 1) * seconds
            if text and new:
                words.append({"word": text, "second": begin + first * seconds, "end": end, "confidence": probability})
            elif text:
                confidence = words[-1]["confidence"] * probability
                words[-1] |= {"word": words[-1]["word"] + text, "end": end, "confidence": confidence}
            new = piece[-1:].isspace() if text else True
        rounded = [{k: v if k == "word" else round(v, 4) for k, v in word.items()} for word in words]
        text = " ".join("".join(pieces).split())
        return {"path": path, "text": text, "log_probability": float(log_p.max(1).sum()), "words": rounded}


def speech_span(samples, rate):
    """Return the first sample of speech, which is louder than the background noise, and the one behind the last."""
    size = max(1, round(0.02 * rate))
    padded = np.pad(samples.astype(np.float64), (0, -len(samples) % size))
    energy = np.pad((padded.reshape(-1, size) ** 2).mean(1), 2, mode="edge")
    level = 10 * np.log10(np.convolve(energy, np.full(5, 0.2), "valid") + 1e-12)
    noise, top = np.percentile(level, [10, 98])
    if len(energy) < 10 or top - noise < 15:
        return 0, len(samples)
    loud, margin = np.flatnonzero(level > noise + 0.4 * (top - noise)), round(0.1 * rate)
    return max(0, int(loud[0]) * size - margin), min(len(samples), int(loud[-1] + 1) * size + margin)


def main(paths):
    """Answer the sounds, and return the exit code: 2 if one has no answer."""
    if not paths:
        print(__doc__, file=sys.stderr)
        return 2
    model, code = SoundTranscriber(Path(__file__).parent), 0
    for path in paths:
        try:
            print(json.dumps(model.answer(path)), flush=True)
        except (ValueError, OSError, RuntimeError) as error:
            print(json.dumps({"path": path, "error": str(error)}), flush=True)
            code = 2
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
