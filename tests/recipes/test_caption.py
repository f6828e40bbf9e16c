"""The recipe `caption`, on pictures so small that it learns them in seconds."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from elman import RNN
from elman.recipes import use
from elman.storage import tensors

Elman = Callable[..., Any]
CALM = [
    word
    for option in ("image_size=16", "max_shift_share=0", "max_zoom=0", "max_brightness_change=0", "dropout=0")
    for word in ("--set", option)
]


@pytest.fixture
def data(caption_data: Path) -> Path:
    return caption_data


@pytest.fixture
def run(caption_run: Path) -> Path:
    return caption_run


def test_it_learns_what_is_in_the_pictures(elman: Elman, run: Path, data: Path) -> None:
    metrics = json.loads(elman("evaluate", run, data, "--json").out)
    assert metrics["pictures"] == 15  # the list for the test
    assert metrics["exact"] > 0.8
    assert metrics["cider"] > 2 * metrics["baselines"]["shuffled images"]["cider"]
    assert metrics["cider_ratio"] == pytest.approx(metrics["cider"] / metrics["baselines"]["shuffled images"]["cider"])
    assert metrics["bleu_4"] > metrics["baselines"]["constant caption"]["bleu_4"]
    assert metrics["constant_caption"].count("on the") == 2
    kept = json.loads(elman("evaluate", run, "--json").out)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert kept["pictures"] == 15
    assert max(row["validation"]["cider"] for row in rows) > 5
    assert kept["nats_per_symbol"] == pytest.approx(
        max(rows, key=lambda row: row["validation"]["decides"])["validation"]["nats_per_symbol"], rel=1e-5
    )


def test_a_run_that_was_stopped_ends_as_one_that_was_not(
    elman: Elman, caption_options: list[str], data: Path, tmp_path: Path
) -> None:
    once, twice = tmp_path / "once", tmp_path / "twice"
    options = ("image_size=16", "evaluate_every=2", "schedule=constant", "captions_per_image=1")
    common = [*caption_options, *(word for option in options for word in ("--set", option))]
    assert elman("train", "caption", data, "--steps", 4, "--out", once, *common).code == 0
    assert elman("train", "caption", data, "--steps", 2, "--out", twice, *common).code == 0
    assert elman("train", "caption", "--out", twice, "--resume", "--steps", 4).code == 0
    weights = [tensors.read(path / "model.safetensors")[0] for path in (once, twice)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert (once / "metrics.jsonl").read_text() == (twice / "metrics.jsonl").read_text()


def test_other_pictures_than_the_run_began_with_are_refused(elman: Elman, run: Path, tmp_path: Path) -> None:
    out = shutil.copytree(run, tmp_path / "run")
    config = json.loads((out / "config.json").read_text())
    config["data"]["fingerprint"] = "another"
    (out / "config.json").write_text(json.dumps(config))
    refused = elman("train", "caption", "--out", out, "--resume", "--steps", 1000)
    assert (refused.code, refused.out) == (2, "")
    assert "the data in" in refused.err and "fingerprint another" in refused.err


def test_it_can_be_diagnosed(elman: Elman, run: Path, data: Path) -> None:
    report = json.loads(elman("diagnose", run, "--json").out)
    assert {layer["name"].split()[0] for layer in report["layers"]} >= {"lower", "upper"}
    assert elman("diagnose", run, data, "--json").code == 0


def test_it_learns_from_features_too_and_without_attention(
    elman: Elman, caption_options: list[str], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "maps").mkdir()
    for path in sorted((data / "images").iterdir()):
        pixels = np.asarray(Image.open(path), np.float32) / 255
        np.save(tmp_path / "maps" / f"{path.name}.npy", pixels[10, [4, 20]])  # two places, three features
    sources, out = [data / "Halves.token.txt", tmp_path / "maps"], tmp_path / "run"
    plain = [
        "--set",
        "attention=none",
        "--set",
        "cell=gru",
        "--steps",
        200,
        "--set",
        "learning_rate=0.01",
        "--set",
        "batch_size=16",
    ]
    assert elman("train", "caption", *sources, "--out", out, *caption_options, *CALM, *plain).code == 0
    metrics = json.loads(elman("evaluate", out, *sources, "--json").out)
    assert metrics["pictures"] == 120
    assert metrics["exact"] > 0.5
    assert len(elman("predict", out, tmp_path / "maps").out.splitlines()) == 120
    (tmp_path / "maps/0-broken.safetensors").write_bytes(b"junk")
    answer = elman("predict", out, tmp_path / "maps", "--skip-bad")
    assert (answer.code, len(answer.out.splitlines())) == (0, 120)
    assert f"no answer: {tmp_path}/maps/0-broken.safetensors cannot be read" in answer.err
    (tmp_path / "maps/0-broken.safetensors").unlink()
    drawn = elman("predict", out, tmp_path / "maps", "--set", f"pictures={tmp_path}")
    assert (drawn.code, drawn.out) == (2, "") and "there is no attention to plot" in drawn.err
    monkeypatch.setattr("elman.recipes.caption.Caption.captions", None)  # refused before anything is measured
    assert "there is no attention to plot" in elman("evaluate", out, *sources, "--out", tmp_path / "judged").err
    monkeypatch.undo()
    assert "has another shape" in elman("evaluate", out, data).err


def test_it_begins_with_weights_of_others(
    elman: Elman, caption_options: list[str], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import save_file

    from elman.modules import RESNETS
    from elman.modules.resnet import ResNet

    monkeypatch.setitem(RESNETS, "resnet18", (1, 1, 1))  # so that it is quick
    torch.manual_seed(3)
    weights = ResNet(RESNETS["resnet18"]).state_dict()
    weights = {
        name: tensor for name, tensor in weights.items() if "num_batches" not in name
    }  # as in torchvision's files
    save_file(weights, tmp_path / "resnet18.safetensors")
    chosen = [
        *caption_options,
        *CALM,
        "--set",
        "encoder=resnet18",
        "--set",
        f"pretrained_weights={tmp_path / 'resnet18.safetensors'}",
    ]
    out = tmp_path / "run"
    small = ["--set", "batch_size=2", "--set", "learning_rate=1e-12", "--set", "weight_decay=0"]
    assert elman("train", "caption", data, "--steps", 1, "--out", out, *chosen, *small).code == 0
    found = tensors.read(out / "model.safetensors")[0]
    assert torch.allclose(found["seeing.net.layer3.0.conv2.weight"], weights["layer3.0.conv2.weight"], atol=1e-6)
    (tmp_path / "resnet18.safetensors").unlink()
    assert elman("evaluate", out).code == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["--set", "max_symbols=1"], "every caption is too long"),
        (["--set", "image_size=8"], "image_size is out of range"),
        (["--set", "attention=x"], "unknown value of the setting attention"),
        (
            ["--set", "pretrained_weights=none.safetensors", "--set", "encoder=small"],
            "pretrained_weights are for a network of torchvision's",
        ),
        (
            ["--set", "pretrained_weights=none.safetensors", "--set", "encoder=resnet18"],
            "the weights none.safetensors cannot be",
        ),
        (["--set", "validation_data=nowhere"], "nowhere does not exist"),
    ],
)
def test_what_training_refuses(elman: Elman, data: Path, tmp_path: Path, settings: list, message: str) -> None:
    answer = elman("train", "caption", data, "--steps", 1, "--out", tmp_path / "run", *settings)
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err
    assert not (tmp_path / "run").exists()


def test_a_character_that_nobody_saw(elman: Elman, data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    shutil.copytree(data, folder)
    captions = (folder / "Halves.token.txt").read_text()
    (folder / "Halves.token.txt").write_text(captions.replace("100.png#0\t", "100.png#0\tλ "))
    words = ["--steps", 1, "--out", tmp_path / "run", "--set", "vocabulary=characters", "--set", "max_symbols=60"]
    answer = elman("train", "caption", folder, *words)
    assert answer.code == 2
    assert "a caption of 100.png: " in answer.err and "at character 1 of the text" in answer.err


def test_plots_of_images_of_one_name(elman: Elman, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, colour in (("a", "red"), ("b", "blue")):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (16, 16), colour).save(tmp_path / folder / "x.png")
    (tmp_path / "two.tsv").write_text("\n".join(f"{tmp_path}/{folder}/x.png\tred" for folder in "ab"))
    assert elman("evaluate", run, tmp_path / "two.tsv", "--out", tmp_path / "plots").code == 0
    assert len(list((tmp_path / "plots").iterdir())) == 2
    monkeypatch.setattr("elman.recipes.caption.PLOTS", 3)
    assert elman("evaluate", run, "--out", tmp_path / "more").code == 0
    assert len(list((tmp_path / "more").iterdir())) == 3


def test_what_an_evaluation_refuses_and_skips(elman: Elman, run: Path, data: Path, tmp_path: Path) -> None:
    picture = data / "images/0.png"
    (tmp_path / "one.tsv").write_text(f"{picture}\tred")
    assert "one image cannot be shuffled" in elman("evaluate", run, tmp_path / "one.tsv").err
    (tmp_path / "two.tsv").write_text(f"{picture}\tred\nnone.png\tblue\n{data}/images/1.png\tblue")
    assert "none.png, which is missing" in elman("evaluate", run, tmp_path / "two.tsv").err
    metrics = json.loads(elman("evaluate", run, tmp_path / "two.tsv", "--skip-bad", "--json").out)
    assert (metrics["pictures"], metrics["skipped_rows"], len(metrics["skipped"])) == (2, 1, 1)
    assert "none.png, which is missing" in metrics["skipped"][0]


def test_broken_images_are_skipped_in_training(
    elman: Elman, caption_options: list[str], odd_images: Any, tmp_path: Path
) -> None:
    images, odd, bad = odd_images
    whole = [f"{n}.png\tred" for n in range(8)]
    for name in bad:
        (tmp_path / "one_bad.tsv").write_text("\n".join([*whole, f"{name}\tred"]))
        words = ["train", "caption", tmp_path / "one_bad.tsv", images, "--out", tmp_path / "r", "--steps", 1]
        answer = elman(*words, *caption_options, *CALM)
        assert (answer.code, answer.out) == (2, "") and f"error: {images / name} " in answer.err
        assert not (tmp_path / "r").exists()
    (tmp_path / "all.tsv").write_text("\n".join([*(f"{name}\tred" for name in [*odd, *bad]), *whole]))
    words = ["train", "caption", tmp_path / "all.tsv", images, "--out", tmp_path / "r", "--steps", 1]
    assert elman(*words, *caption_options, *CALM, "--skip-bad").code == 0
    described = json.loads((tmp_path / "r/config.json").read_text())["data"]
    assert described["training_pictures"] + described["validation_pictures"] == len(whole) + len(odd)
    assert described["skipped_rows"] == len(bad)
    assert [line.partition(": ")[0].split()[0] for line in described["skipped"]] == [str(images / name) for name in bad]
    assert all(line.partition(": ")[2] for line in described["skipped"])  # the reason


def test_a_strangers_run_is_refused_with_a_message(elman: Elman, run: Path, tmp_path: Path) -> None:
    for name in ("vocabulary.json", "captions.json", "picture.values.npy", "validation/captions.json"):
        copy = tmp_path / name.replace("/", "-")
        shutil.copytree(run, copy)
        (copy / name).write_text("{")
        answer = elman("evaluate", copy)
        assert (answer.code, answer.out) == (2, "")
        assert "error: " in answer.err


def test_scenes_need_no_data(
    elman: Elman, caption_options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elman.data.captions.splits.SCENES", 40)
    monkeypatch.setattr("elman.data.captions.splits.EVALUATED", 10)
    out = tmp_path / "run"
    assert elman("train", "caption", "--steps", 2, "--out", out, *caption_options).code == 0
    metrics = json.loads(elman("evaluate", out, "--json").out)
    assert metrics["held_out_pictures"] == metrics["pictures"] == 10
    assert 0 <= metrics["held_out_exact"] <= 1
    assert use.load(out).shape == (48, 48, 3)
    Image.new("RGB", (70, 60)).save(tmp_path / "new.png")
    assert elman("predict", out, tmp_path / "new.png").code == 0  # brought to the size of the scenes
    assert "a size of their own" in elman("train", "caption", "--out", tmp_path / "other", "--set", "image_size=64").err


def test_what_a_diagnosis_advises_reaches_every_layer(
    elman: Elman, caption_options: list[str], data: Path, tmp_path: Path
) -> None:
    words = [
        *caption_options,
        *CALM,
        "--cell",
        "rnn",
        "--set",
        "nonlinearity=relu",
        "--set",
        "init=identity",
        "--set",
        "learning_rate=1e-9",
    ]
    assert elman("train", "caption", data, "--steps", 1, "--out", tmp_path / "run", *words).code == 0
    layers = [module for module in use.load(tmp_path / "run").model.modules() if isinstance(module, RNN)]
    assert len(layers) == 2 and {layer.nonlinearity for layer in layers} == {"relu"}
    for layer in layers:
        torch.testing.assert_close(layer.weight_hh_l0.detach(), torch.eye(layer.hidden_size), rtol=0, atol=1e-6)
