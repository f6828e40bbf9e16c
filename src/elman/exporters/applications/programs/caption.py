"""Captions of images by a trained captioner.

The model is in the folder of this program, which needs numpy, onnxruntime and Pillow, and for byte pairs tokenizers. A
model of features that were computed before reads .npy instead of images.

    python predict.py image.jpg

It writes a line of JSON for each image. Captions are found by beam search, as `elman predict` does by default.
"""

import argparse
import json
import math
import sys
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime

NEVER = np.float32(-1e30)


class ImageCaptioner:
    """The graphs and the vocabulary of a folder."""

    def __init__(self, folder):
        self.facts = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["caption"]
        self.kind, path = self.facts["symbols"]["kind"], folder / self.facts["symbols"]["file"]
        if self.kind == "bpe":
            from tokenizers import Tokenizer

            self.tokenizer = Tokenizer.from_file(str(path))
        else:
            self.symbols = json.loads(path.read_text(encoding="utf-8"))["symbols"]
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.disable_quant_qdq", "1")  # int8 weights become float32 here
        session = partial(onnxruntime.InferenceSession, sess_options=options, providers=["CPUExecutionProvider"])
        self.encoder, self.step = (session(str(folder / f"{name}.onnx")) for name in ("encoder", "step"))

    def decode(self, ids):
        """Return token ids as a text with single spaces."""
        if self.kind == "bpe":
            text = self.tokenizer.decode(ids)
        else:
            space = " " if self.kind == "words" else ""
            text = space.join(" " if self.symbols[n] == "<eos>" else self.symbols[n] for n in ids)
        return " ".join(text.split())

    def read(self, path):
        """Return an image, (H, W, 3), or features, (S, F), as the model reads them."""
        if len(self.facts["shape"]) == 3:
            return read_image(path, self.facts["shape"][:2])
        array = np.load(path, allow_pickle=False)
        array = array.reshape(len(array), -1).T if array.ndim == 3 else array
        features = array.reshape(-1, array.shape[-1]).astype(np.float32)
        if list(features.shape) != self.facts["shape"] or not np.isfinite(features).all():
            raise ValueError(f"should be finite features of shape {self.facts['shape']}, is {features.shape}")
        return features

    def caption(self, image, width=5):
        """Return the caption of an image, with its score."""
        values = self.encoder.run(None, {"images": image[None].astype(np.float32)})
        state = dict(zip((each.name for each in self.encoder.get_outputs()), values, strict=True))
        _, score, total, ids = self.search(state, width, self.facts["longest"], self.facts["length_penalty"])[0]
        best = {"caption": self.decode(ids), "score": score, "log_probability": total}
        return {"caption": best["caption"], "n_best": [best]}

    def search(self, state, K, limit, penalty):
        """Return (was cut, score, log-probability, token ids) of the best sequences, by beam search of width K."""
        axes = {name: 1 if name[:6] in ("lower_", "upper_") else 0 for name in state}
        state = {name: np.repeat(value, K, axes[name]) for name, value in state.items()}
        after = [each.name.removesuffix("_n") for each in self.step.get_outputs()]
        end = self.facts["symbols"]["count"]
        ids, written = np.full(K, end), [[] for _ in range(K)]
        totals, finished = np.array([0.0] + [NEVER] * (K - 1), np.float32), []
        for length in range(1, limit + 1):
            results = dict(zip(after, self.step.run(None, {"x": ids, **state}), strict=True))
            shifted = results["y"] - results["y"].max(1, keepdims=True)
            log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
            log_p[:, slice(*self.facts["symbols"]["never_written"])] = NEVER
            sums = totals[:, None] + log_p
            best = np.argsort(-sums, axis=None, kind="stable")[: 2 * K]
            best = [(float(sums.flat[place]), *divmod(int(place), end + 1)) for place in best]
            scale = ((5 + length) / 6) ** penalty
            ended = [(each[0], written[each[1]]) for each in best[:K] if each[2] == end and each[0] > NEVER / 2]
            finished += [(False, total / scale, total, each) for total, each in ended]
            totals, rows, ids = map(np.array, zip(*[each for each in best if each[2] != end][:K], strict=True))
            totals = np.maximum(totals.astype(np.float32), NEVER)
            written = [[*written[row], int(number)] for row, number in zip(rows, ids, strict=True)]
            state = {name: np.take(results.get(name, state[name]), rows, axes[name]) for name in state}
            alive = [(float(total), each) for total, each in zip(totals, written, strict=True) if total > NEVER / 2]
            finished += [(True, total / scale, total, each) for total, each in alive if length == limit]
            finished.sort(key=lambda each: (each[0], -each[1]))  # those that were cut come last
            bound = max((total for total, _ in alive), default=-math.inf) / ((5 + limit) / 6) ** penalty
            if not alive or (len(finished) >= K and finished[K - 1][1] >= bound):
                break
        return finished


def read_image(path, size):
    """Return an image, upright, on white and resized, (H, W, 3) bytes."""
    from PIL import Image, ImageOps

    with Image.open(path) as file:
        picture = ImageOps.exif_transpose(file)
    if picture.mode == "F" or picture.mode.startswith("I"):
        raise ValueError(f"should have eight bits for each channel, has the mode {picture.mode}")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGB", picture.size, "white")
        white.paste(picture, mask=picture)
        picture = white
    picture = picture.convert("RGB")
    if picture.size != (size[1], size[0]):
        picture = picture.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.array(picture, np.uint8)


def main():
    """Caption the images, and return the exit code: 2 if one has no answer."""
    parser = argparse.ArgumentParser(description="Describe images.")
    parser.add_argument("images", nargs="+", help="files")
    parser.add_argument("--beam-width", type=int, default=5, help="1: greedy")
    arguments, model, code = parser.parse_args(), ImageCaptioner(Path(__file__).parent), 0
    for path in arguments.images:
        try:
            print(json.dumps({"path": path, **model.caption(model.read(path), arguments.beam_width)}), flush=True)
        except (ValueError, OSError) as error:
            print(json.dumps({"path": path, "error": str(error)}), flush=True)
            code = 2
    return code


if __name__ == "__main__":
    sys.exit(main())
