"""Classes of images and videos by a trained classifier.

The model is in the folder of this program, which needs numpy and onnxruntime, for images Pillow and for videos av.

    python predict.py image.png video.mp4 array.npy

It writes a line of JSON for each input. An array holds bytes: the steps of a sequence, or frames.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
VIDEOS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp")


class PixelClassifier:
    """The graph and the labels of a folder."""

    def __init__(self, folder):
        self.manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        labels = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
        self.target, self.classes = labels["target"], labels["classes"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.add_session_config_entry("session.disable_quant_qdq", "1")  # int8 weights become float32 here
        self.graph = onnxruntime.InferenceSession(str(folder / "whole.onnx"), options, ["CPUExecutionProvider"])

    def answer(self, steps):
        """Return the answer to the steps of a sequence, (T, I), or frames, (T, H, W) or (T, H, W, 3)."""
        if len(steps) == 0:
            raise ValueError("should have at least one step, has none")
        if list(steps.shape[1:]) != self.manifest["step"]["shape"]:
            raise ValueError(f"should have steps of shape {self.manifest['step']['shape']}, has {steps.shape[1:]}")
        feeds = {"x": steps[:, None].astype(np.float32), "lengths": np.array([len(steps)], np.int32)}
        y = self.graph.run(None, feeds)[0]
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
    """Return the steps of an input."""
    suffix = Path(name).suffix.lower()
    if suffix == ".npy":
        steps = np.load(name, allow_pickle=False)
        return steps[:, None] if steps.ndim == 1 else steps
    if suffix in IMAGES:
        return scan(image(name, step["image_size"], step["colour"]), step["pixel_order"])
    if suffix in VIDEOS:
        return frames(name, step)
    raise ValueError(f"should be an image, a video or .npy, is {suffix or 'a name without ending'}")


def image(path, size, colour):
    """Return an image, upright and on white, (H, W) or (H, W, 3) bytes."""
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
    picture = picture.convert("RGB" if colour else "L")
    if size and picture.size != (size[1], size[0]):
        picture = picture.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.array(picture, np.uint8)


def scan(pixels, order):
    """Return an image as a sequence: a step is a row, or a pixel, in order or in a fixed random order."""
    count = pixels.shape[0] * pixels.shape[1]
    if order == "rows" or (order == "auto" and count > 256):
        return pixels.reshape(len(pixels), -1)
    steps = pixels.reshape(count, -1)
    if order == "permuted":
        return steps[np.random.Generator(np.random.Philox(key=1504)).permutation(count)]
    return steps


def frames(path, step):
    """Return the frames of a video, less the mean frame unless that is to stay, (T, H, W) or (T, H, W, 3) bytes."""
    import av

    if step["crop"]:
        raise ValueError("the model reads a window around the motion: give its frames as .npy")
    begin, end = step["time_range"] or (0.0, float("inf"))
    size, pixels, steps = step["image_size"] or None, "rgb24" if step["colour"] else "gray", []
    with av.open(path) as container:
        for frame in container.decode(video=0):
            time = 0.0 if frame.time is None else frame.time + 1e-3
            if time < begin:
                continue
            if time >= end:
                break
            turns = round(frame.rotation / 90) % 4
            size = size or [frame.height, frame.width][:: -1 if turns % 2 else 1]
            height, width = size[:: -1 if turns % 2 else 1]
            shown = frame.to_ndarray(format=pixels, height=height, width=width, interpolation="AREA")
            steps.append(np.rot90(shown, turns))
    if not steps:
        raise ValueError("should have at least one frame, has none")
    video = np.stack(steps)
    if step["keep_mean_frame"]:
        return video
    moving = video.astype(np.float32) - video.mean(0, dtype=np.float32)
    return np.clip(np.rint(moving) + 128, 0, 255).astype(np.uint8)


def main(inputs):
    """Answer the inputs, and return the exit code: 2 if one has no answer."""
    if not inputs:
        print(__doc__, file=sys.stderr)
        return 2
    model, code = PixelClassifier(Path(__file__).parent), 0
    for name in inputs:
        try:
            print(json.dumps({"input": name, **model.answer(read(name, model.manifest["step"]))}), flush=True)
        except (ValueError, OSError) as error:
            print(json.dumps({"input": name, "error": str(error)}), flush=True)
            code = 2
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
