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
from elman.errors import DataError
from elman.recipes import run as runs
from elman.storage import tensors

Elman = Callable[..., Any]
COLOURS = {"red": (220, 30, 30), "green": (30, 180, 30), "blue": (30, 30, 220), "white": (250, 250, 250)}
SMALL = [
    "--hidden",
    24,
    "--set",
    "embedding=16",
    "--set",
    "width=6",
    "--set",
    "rare=1",
    "--seed",
    1,
]
LITTLE = [*SMALL, "--set", "size=16"]
CALM = ["--set", "shift=0", "--set", "zoom=0", "--set", "light=0", "--set", "dropout=0"]
TINY = [*LITTLE, *CALM]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures whose left and right halves have colours, with two captions each."""
    folder = tmp_path_factory.mktemp("halves")
    (folder / "images").mkdir()
    chance, lines, names = np.random.default_rng(1), [], []
    for n in range(120):
        left, right = chance.choice(list(COLOURS), 2)
        pixels = np.empty((20, 24, 3))
        pixels[:, :12], pixels[:, 12:] = COLOURS[left], COLOURS[right]
        noisy = np.clip(pixels + chance.normal(0, 5, pixels.shape), 0, 255).astype(np.uint8)
        names.append(f"{n}.png")
        Image.fromarray(noisy).save(folder / "images" / names[-1])
        lines += [f"{names[-1]}#0\t{left} on the left , {right} on the right .", f"{names[-1]}#1\tIt is {left} {right}"]
    (folder / "Halves.token.txt").write_text("\n".join(lines))
    for part, some in (("train", names[:90]), ("dev", names[90:105]), ("test", names[105:])):
        (folder / f"{part}Images.txt").write_text("\n".join(some))
    return folder


@pytest.fixture(scope="module")
def run(data: Path) -> Path:
    from elman import cli

    out = data.with_name("run")
    words = ["train", "caption", data, "--steps", 120, "--out", out, "--set", "learning_rate=0.01", *TINY]
    assert cli.run([str(word) for word in words]) == 0
    return out


def test_it_learns_what_is_in_the_pictures(elman: Elman, run: Path, data: Path) -> None:
    metrics = json.loads(elman("evaluate", run, data, "--json").out)
    assert metrics["pictures"] == 15  # the list for the test
    assert metrics["exact"] > 0.8
    assert metrics["cider"] > 2 * metrics["baselines"]["the pictures shuffled"]["cider"]
    assert metrics["cider_ratio"] == pytest.approx(
        metrics["cider"] / metrics["baselines"]["the pictures shuffled"]["cider"]
    )
    assert metrics["bleu_4"] > metrics["baselines"]["one caption for all"]["bleu_4"]
    assert metrics["one_caption"].count("on the") == 2
    kept = json.loads(elman("evaluate", run, "--json").out)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert kept["pictures"] == 15
    assert max(row["validation"]["cider"] for row in rows) > 5
    assert kept["nats_per_symbol"] == pytest.approx(
        max(rows, key=lambda row: row["validation"]["decides"])["validation"]["nats_per_symbol"], rel=1e-5
    )


def test_what_predict_answers(
    elman: Elman, run: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = Image.new("RGBA", (50, 40), (220, 30, 30, 255))  # of another mode and size
    picture.paste((30, 30, 220, 255), (25, 0, 50, 40))
    picture.save(tmp_path / "new.png")
    answer = json.loads(elman("predict", run, tmp_path / "new.png", "--json", "--set", "n_best=2").out)["predictions"][
        0
    ]
    assert answer["caption"] in ("red on the left blue on the right", "it is red blue")
    assert [each["score"] for each in answer["n_best"]] == sorted((e["score"] for e in answer["n_best"]), reverse=True)
    assert answer["n_best"][0]["caption"] == answer["caption"]
    folder = elman("predict", run, data / "images", "--set", "beam=1").out.splitlines()
    assert len(folder) == 120
    assert folder[0].startswith(f"{data / 'images' / '0.png'}\t")
    drawn = elman("predict", run, tmp_path / "new.png", "--set", f"pictures={tmp_path / 'drawn'}")
    assert drawn.code == 0
    with Image.open(tmp_path / "drawn/attention-new.png") as found:
        assert found.width > 500
    monkeypatch.setattr("elman.predictors.captioner.DRAWN", 2)
    assert elman("evaluate", run, "--out", tmp_path / "judged").code == 0
    assert len(list((tmp_path / "judged").iterdir())) == 2


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
    rows = [f"{tmp_path}/{folder}/x.png\tred" for folder in "ab"]
    (tmp_path / "two.tsv").write_text("\n".join(rows))
    assert elman("evaluate", run, tmp_path / "two.tsv", "--out", tmp_path / "judged").code == 0
    assert len(list((tmp_path / "judged").iterdir())) == 2


def test_a_description_without_words_is_drawn_too(elman: Elman, run: Path, data: Path, tmp_path: Path) -> None:
    trained = runs.load(run)
    with torch.no_grad():  # a model that ends at once
        trained.model.output.bias[trained.model.boundary] += 100
    [answer] = trained.predict([data / "images/0.png"], pictures=str(tmp_path))
    assert answer.fields["caption"] == ""
    assert Path(answer.fields["picture"]).stat().st_size > 1000


def test_a_run_that_was_stopped_ends_as_one_that_was_not(elman: Elman, data: Path, tmp_path: Path) -> None:
    once, twice = tmp_path / "once", tmp_path / "twice"
    common = [*LITTLE, "--set", "evaluate_every=2", "--set", "schedule=constant", "--set", "captions=1"]
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
    assert "the pictures in" in refused.err and "fingerprint another" in refused.err


def test_it_can_be_diagnosed(elman: Elman, run: Path, data: Path) -> None:
    report = json.loads(elman("diagnose", run, "--json").out)
    assert {layer["name"].split()[0] for layer in report["layers"]} >= {"lower", "upper"}
    assert elman("diagnose", run, data, "--json").code == 0


def test_it_learns_from_features_too_and_without_attention(
    elman: Elman, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    assert elman("train", "caption", *sources, "--out", out, *TINY, *plain).code == 0
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
    assert (drawn.code, drawn.out) == (2, "") and "there is nothing to draw" in drawn.err
    monkeypatch.setattr("elman.predictors.captioner.written", None)  # refused before anything is measured
    assert "there is nothing to draw" in elman("evaluate", out, *sources, "--out", tmp_path / "judged").err
    monkeypatch.undo()
    assert "is not like what the run learned from" in elman("evaluate", out, data).err


def test_it_begins_with_weights_of_others(
    elman: Elman, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import save_file

    from elman.modules.resnet import RESNETS, ResNet

    monkeypatch.setitem(RESNETS, "resnet18", (1, 1, 1))  # so that it is quick
    torch.manual_seed(3)
    weights = ResNet(RESNETS["resnet18"]).state_dict()
    weights = {
        name: tensor for name, tensor in weights.items() if "num_batches" not in name
    }  # as in torchvision's files
    save_file(weights, tmp_path / "resnet18.safetensors")
    chosen = [*TINY, "--set", "encoder=resnet18", "--set", f"weights={tmp_path / 'resnet18.safetensors'}"]
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
        (["--set", "longest=1"], "every caption is too long"),
        (["--set", "size=8"], "size is out of range"),
        (["--set", "attention=x"], "unknown value of the setting attention"),
        (["--set", "weights=none.safetensors", "--set", "encoder=small"], "weights are for a network of torchvision's"),
        (["--set", "weights=none.safetensors", "--set", "encoder=resnet18"], "the weights none.safetensors cannot be"),
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
    words = ["--steps", 1, "--out", tmp_path / "run", "--set", "vocabulary=characters", "--set", "longest=60"]
    answer = elman("train", "caption", folder, *words)
    assert answer.code == 2
    assert "a caption of 100.png: " in answer.err and "at character 1 of the text" in answer.err


def test_what_predict_and_evaluate_refuse(elman: Elman, run: Path, data: Path, tmp_path: Path) -> None:
    picture = data / "images/0.png"
    assert "n_best is more than the beam finds" in elman("predict", run, picture, "--set", "n_best=9").err
    assert "unknown setting 'beem'" in elman("predict", run, picture, "--set", "beem=9").err
    assert "nothing to describe" in elman("predict", run).err
    (tmp_path / "one.tsv").write_text(f"{picture}\tred")
    assert "one picture cannot be shuffled" in elman("evaluate", run, tmp_path / "one.tsv").err
    (tmp_path / "two.tsv").write_text(f"{picture}\tred\nnone.png\tblue\n{data}/images/1.png\tblue")
    assert "none.png, which is missing" in elman("evaluate", run, tmp_path / "two.tsv").err
    left = json.loads(elman("evaluate", run, tmp_path / "two.tsv", "--skip-bad", "--json").out)
    assert (left["pictures"], left["pictures_left_out"]) == (2, 1)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    answer = elman("predict", run, tmp_path / "broken.png", picture)
    assert (answer.code, answer.out) == (2, "")
    assert "--skip-bad names such pictures and describes the others" in answer.err
    answer = elman("predict", run, picture, "-")
    assert (answer.code, answer.out) == (2, "")
    assert "pictures do not come from standard input" in answer.err
    answer = elman("predict", run, tmp_path / "broken.png", picture, "--set", "skip_bad=true")
    assert "cannot be read as an image" in answer.err
    assert answer.out.startswith(f"{picture}\t") and answer.out.count("\n") == 1


def exif(orientation: int) -> Image.Exif:
    found = Image.Exif()
    found[0x0112] = orientation
    return found


def test_odd_pictures_are_described_and_broken_ones_named(elman: Elman, run: Path, data: Path, tmp_path: Path) -> None:
    images, red = tmp_path / "images", Image.new("RGB", (24, 20), (220, 30, 30))
    shutil.copytree(data / "images", images)
    Image.new("RGB", (1, 1)).save(images / "one.png")
    Image.new("RGB", (9000, 10)).save(images / "wide.png")
    Image.fromarray(np.full((20, 24), 40000, np.uint16)).save(images / "deep.png")
    red.convert("P").save(images / "glass.png", transparency=bytes(range(256)))
    red.convert("CMYK").save(images / "print.jpg")
    red.save(images / "moving.gif", save_all=True, append_images=[Image.new("RGB", (24, 20))])
    red.save(images / "turned.jpg", exif=exif(6))
    odd = ["one.png", "wide.png", "deep.png", "glass.png", "print.jpg", "moving.gif", "turned.jpg"]
    (images / "cut.jpg").write_bytes((images / "print.jpg").read_bytes()[:-200])
    (images / "text.png").write_text("no picture")
    (images / "none.png").write_bytes(b"")
    bad = ["cut.jpg", "text.png", "none.png"]
    trained = runs.load(run)
    assert [answer.answered for answer in trained.predict([images / name for name in odd])] == [True] * len(odd)
    answer = elman("predict", run, images, "--skip-bad")
    assert len(answer.out.splitlines()) == 120 + len(odd)
    assert all(f"no answer: {images / name} " in answer.err for name in bad)
    whole = [f"{n}.png\tred" for n in range(8)]
    for name in bad:
        with pytest.raises(DataError, match=f"{name} (is|cannot be)"):
            list(trained.predict([images / name]))
        (tmp_path / "one_bad.tsv").write_text("\n".join([*whole, f"{name}\tred"]))
        answer = elman(
            "train", "caption", tmp_path / "one_bad.tsv", images, "--out", tmp_path / "r", "--steps", 1, *TINY
        )
        assert (answer.code, answer.out) == (2, "") and f"error: {images / name} " in answer.err
        assert not (tmp_path / "r").exists()
    (tmp_path / "all.tsv").write_text("\n".join([*(f"{name}\tred" for name in [*odd, *bad]), *whole]))
    words = ["train", "caption", tmp_path / "all.tsv", images, "--out", tmp_path / "r", "--steps", 1, *TINY]
    assert elman(*words, "--skip-bad").code == 0
    described = json.loads((tmp_path / "r/config.json").read_text())["data"]
    assert described["training_pictures"] + described["validation_pictures"] == len(whole) + len(odd)
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


def test_scenes_need_no_data(elman: Elman, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elman.data.captions.splits.SCENES", 40)
    monkeypatch.setattr("elman.data.captions.splits.EVALUATED", 10)
    out = tmp_path / "run"
    assert elman("train", "caption", "--steps", 2, "--out", out, *SMALL).code == 0
    metrics = json.loads(elman("evaluate", out, "--json").out)
    assert metrics["held_out_pictures"] == metrics["pictures"] == 10
    assert 0 <= metrics["held_out_exact"] <= 1
    assert runs.load(out).shape == (48, 48, 3)
    Image.new("RGB", (70, 60)).save(tmp_path / "new.png")
    assert elman("predict", out, tmp_path / "new.png").code == 0  # brought to the size of the scenes
    assert "a size of their own" in elman("train", "caption", "--out", tmp_path / "other", "--set", "size=64").err


def test_what_a_diagnosis_advises_reaches_every_layer(elman: Elman, data: Path, tmp_path: Path) -> None:
    words = [
        *TINY,
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
    layers = [module for module in runs.load(tmp_path / "run").model.modules() if isinstance(module, RNN)]
    assert len(layers) == 2 and {layer.nonlinearity for layer in layers} == {"relu"}
    for layer in layers:
        torch.testing.assert_close(layer.weight_hh_l0.detach(), torch.eye(layer.hidden_size), rtol=0, atol=1e-6)
