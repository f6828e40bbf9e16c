"""Videos and sounds to read, made on the spot."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

WriteVideo = Callable[..., Path]


@pytest.fixture
def write_video() -> WriteVideo:
    """Write frames (T, H, W, 3), without loss if the codec can, and samples (N,) as a sound track if there are any."""

    def write(
        path: Path,
        frames: np.ndarray | None,
        samples: np.ndarray | None = None,
        *,
        rate: int = 16000,
        codec: str = "ffv1",
    ) -> Path:
        with av.open(str(path), "w") as container:
            picture = sound = None
            if frames is not None:
                picture = container.add_stream(codec, rate=25)
                picture.height, picture.width = frames.shape[1:3]
                picture.pix_fmt = "bgr0" if codec == "ffv1" else "yuv420p"
            if samples is not None:
                sound = container.add_stream("pcm_s16le", rate=rate, layout="mono")
            for n, image in enumerate([] if frames is None else frames):
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts, frame.time_base = n, Fraction(1, 25)
                container.mux(picture.encode(frame))
            if picture is not None:
                container.mux(picture.encode(None))
            if sound is not None:
                whole = (np.clip(samples, -1, 1) * 32767).astype(np.int16)[None]
                block = av.AudioFrame.from_ndarray(whole, format="s16", layout="mono")
                block.sample_rate, block.pts, block.time_base = rate, 0, Fraction(1, rate)
                container.mux(sound.encode(block))
                container.mux(sound.encode(None))
        return path

    return write
