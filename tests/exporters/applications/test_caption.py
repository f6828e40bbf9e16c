"""The export of a captioner: predict.py writes the captions of `elman predict`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import elman
from elman.recipes.caption import Caption
from elman.recipes.run import start

Program = Callable[..., Any]


def check_answers(run: Path, files: list[Path], app: Path, program: Program) -> None:
    """Export a run and compare the captions of its program with those of elman."""
    elman.export(run, app)
    expected = [answer.fields for answer in elman.load(run).predict(files)]
    for answer, fields in zip(program(app, *files), expected, strict=True):
        assert (answer["path"], answer["caption"]) == (fields["path"], fields["caption"])
        assert answer["n_best"][0]["score"] == pytest.approx(fields["n_best"][0]["score"], abs=1e-4)
        log_p = fields["n_best"][0]["log_probability"]
        assert answer["n_best"][0]["log_probability"] == pytest.approx(log_p, abs=1e-4)


def test_a_shared_run(caption_run: Path, odd_images: Any, tmp_path: Path, program: Program) -> None:
    readable = [odd_images.folder / name for name in odd_images.readable if name != "deep.png"]
    check_answers(caption_run, [*sorted(odd_images.folder.glob("1*.png"))[:15], *readable], tmp_path / "app", program)
    broken = [odd_images.folder / name for name in (*odd_images.broken, "deep.png", "absent.png")]
    message = program(tmp_path / "app", *broken, code=2)
    assert message.count('"error"') == 5 and "Traceback" not in message


@pytest.mark.parametrize(
    "settings",
    [
        {"attention": "none", "vocabulary": "words", "cell": "gru", "layers": 2, "image_size": 70},
        {"attention": "additive", "vocabulary": "bpe", "vocabulary_size": 280, "blocks": 2, "image_size": 17},
    ],
)
def test_networks_and_vocabularies(
    caption_data: Path, tmp_path: Path, program: Program, settings: dict[str, Any]
) -> None:
    options = {"hidden": 8, "embedding": 6, "width": 4, "min_count": 1, "steps": 6, "learning_rate": 0.02}
    start(Caption, [caption_data], {**options, **settings}, tmp_path / "run")
    files = sorted((caption_data / "images").glob("2*.png"))[:4]
    check_answers(tmp_path / "run", files, tmp_path / "app", program)


def test_features_that_were_computed_before(caption_data: Path, tmp_path: Path, program: Program) -> None:
    rng, folder = np.random.default_rng(1), tmp_path / "features"
    folder.mkdir()
    for n in range(120):
        np.save(folder / f"{n}.npy", rng.normal(0, 1, (4, 10)).astype(np.float32))
    options = {"hidden": 8, "embedding": 6, "min_count": 1, "steps": 4}
    start(Caption, [caption_data, folder], options, tmp_path / "run")
    check_answers(tmp_path / "run", [folder / f"{n}.npy" for n in range(5)], tmp_path / "app", program)
