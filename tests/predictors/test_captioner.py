"""A trained captioner: captions of images, and plots of their attention."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import elman as elman_package
from elman.errors import DataError, SettingError
from elman.predictors.options import CaptionOptions

Elman = Callable[..., Any]


@pytest.fixture
def data(caption_data: Path) -> Path:
    return caption_data


@pytest.fixture
def run(caption_run: Path) -> Path:
    return caption_run


def test_it_knows_its_run_and_its_options(run: Path) -> None:
    predictor = elman_package.load(run)
    assert predictor.run == run
    assert predictor.metrics["cider"] > 5
    assert predictor.Options is CaptionOptions
    with pytest.raises(SettingError, match="n_best is greater than beam_width"):
        list(predictor.predict(["x.png"], n_best=3, beam_width=2))


def test_what_predict_answers(elman: Elman, run: Path, data: Path, tmp_path: Path) -> None:
    picture = Image.new("RGBA", (50, 40), (220, 30, 30, 255))  # of another mode and size
    picture.paste((30, 30, 220, 255), (25, 0, 50, 40))
    picture.save(tmp_path / "new.png")
    answer = json.loads(elman("predict", run, tmp_path / "new.png", "--json", "--set", "n_best=2").out)["predictions"][
        0
    ]
    assert answer["caption"] in ("red on the left blue on the right", "it is red blue")
    assert [each["score"] for each in answer["n_best"]] == sorted((e["score"] for e in answer["n_best"]), reverse=True)
    assert answer["n_best"][0]["caption"] == answer["caption"]
    folder = elman("predict", run, data / "images", "--set", "beam_width=1").out.splitlines()
    assert len(folder) == 120
    assert folder[0].startswith(f"{data / 'images' / '0.png'}\t")
    drawn = elman("predict", run, tmp_path / "new.png", "--set", f"pictures={tmp_path / 'drawn'}")
    assert drawn.code == 0
    with Image.open(tmp_path / "drawn/attention-new.png") as found:
        assert found.width > 500


def test_pictures_of_one_name_are_drawn_apart_and_none_is_written_over(
    elman: Elman, run: Path, data: Path, tmp_path: Path
) -> None:
    for folder, colour in (("a", "red"), ("b", "blue")):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (16, 16), colour).save(tmp_path / folder / "x.png")
    found = elman("predict", run, tmp_path / "a", tmp_path / "b/x.png", "--json", "--set", f"pictures={tmp_path}/drawn")
    drawn = [Path(each["picture"]) for each in json.loads(found.out)["predictions"]]
    assert [path.name for path in drawn] == ["attention-x.png", "attention-x-2.png"]
    brightness = [np.asarray(Image.open(path).convert("RGB"), float).mean((0, 1)) for path in drawn]
    assert brightness[0][0] > brightness[0][2] and brightness[1][0] < brightness[1][2]
    shutil.copy(tmp_path / "b/x.png", tmp_path / "a/attention-x.png")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.png")}
    answer = elman("predict", run, tmp_path / "a", "--set", f"pictures={tmp_path / 'a'}")
    assert (answer.code, answer.out) == (2, "")
    assert "would overwrite an input image" in answer.err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.png")} == before


def test_a_description_without_words_is_drawn_too(elman: Elman, run: Path, data: Path, tmp_path: Path) -> None:
    trained = elman_package.load(run)
    with torch.no_grad():  # a model that ends at once
        trained.model.output.bias[trained.model.boundary] += 100
    [answer] = trained.predict([data / "images/0.png"], pictures=str(tmp_path))
    assert answer.fields["caption"] == ""
    assert Path(answer.fields["picture"]).stat().st_size > 1000


def test_what_predict_refuses(elman: Elman, run: Path, data: Path, tmp_path: Path) -> None:
    picture = data / "images/0.png"
    assert "n_best is greater than beam_width" in elman("predict", run, picture, "--set", "n_best=9").err
    assert "unknown setting 'beem'" in elman("predict", run, picture, "--set", "beem=9").err
    assert "nothing to describe" in elman("predict", run).err
    (tmp_path / "broken.png").write_bytes(b"no picture")
    answer = elman("predict", run, tmp_path / "broken.png", picture)
    assert (answer.code, answer.out) == (2, "")
    assert "--skip-bad names such images and captions the others" in answer.err
    answer = elman("predict", run, picture, "-")
    assert (answer.code, answer.out) == (2, "")
    assert "pictures do not come from standard input" in answer.err
    answer = elman("predict", run, tmp_path / "broken.png", picture, "--set", "skip_bad=true")
    assert "cannot be read as an image" in answer.err
    assert answer.out.startswith(f"{picture}\t") and answer.out.count("\n") == 1


def test_odd_images_are_described_and_broken_ones_named(elman: Elman, run: Path, odd_images: Any) -> None:
    images, odd, bad = odd_images
    trained = elman_package.load(run)
    assert [answer.answered for answer in trained.predict([images / name for name in odd])] == [True] * len(odd)
    answer = elman("predict", run, images, "--skip-bad")
    assert len(answer.out.splitlines()) == 120 + len(odd)
    assert all(f"no answer: {images / name} " in answer.err for name in bad)
    for name in bad:
        with pytest.raises(DataError, match=f"{name} (is|cannot be)"):
            list(trained.predict([images / name]))
