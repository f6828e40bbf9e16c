"""Captioned pictures: what the files say, what the pictures become, and what a run keeps."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from elman.data.captions.image_features import picture_inputs, read_image_features
from elman.data.captions.pretrained_weights import read_pretrained_weights
from elman.data.captions.readers import read_album
from elman.data.captions.splits import PictureReading, read_evaluation_pictures, split_album
from elman.errors import DataError

TOKEN = """a.png#0\tA  dog runs .
a.png#1 A brown dog .
b.png#0\tTwo girls , smiling
c.png#0\tA boy with #3 on his shirt
"""


def made(folder: Path, captions: str = TOKEN, **lists: str) -> Path:
    """Write Flickr8k's folder with three pictures of different kinds and sizes."""
    (folder / "images").mkdir(exist_ok=True, parents=True)
    Image.new("RGB", (20, 30), "red").save(folder / "images/a.png")
    Image.new("LA", (33, 16), (0, 255)).save(folder / "images/b.png")
    Image.new("P", (64, 64)).save(folder / "images/c.png")
    (folder / "Tiny.token.txt").write_text(captions, encoding="utf-8")
    for name, lines in lists.items():
        (folder / f"Tiny.{name}Images.txt").write_text(lines)
    return folder


def test_flickrs_folder(tmp_path: Path) -> None:
    folder = made(tmp_path, train="a.png\nb.png\n", dev="c.png\n", test="b.png\n")
    album = read_album([folder])
    assert [row.name for row in album.part("training") or []] == ["a.png", "b.png"]
    assert album.rows["a.png"].captions == ("A dog runs .", "A brown dog .")
    assert album.rows["c.png"].captions == ("A boy with #3 on his shirt",)
    assert album.rows["a.png"].path == folder / "images/a.png"
    parts = split_album([folder], PictureReading(16), share=0.1, validation_data=[])
    [first, second], [judged] = list(parts.training), list(parts.validation)
    assert first[0].shape == second[0].shape == (16, 16, 3)
    assert first[1:] == ("a.png", ["a dog runs", "a brown dog"])
    assert judged[1] == "c.png"
    assert [name for _, name, _ in read_evaluation_pictures([folder], PictureReading(16))] == [
        "b.png"
    ]  # the list for the test
    assert [name for _, name, _ in read_evaluation_pictures([folder / "Tiny.devImages.txt"], PictureReading(16))] == [
        "c.png"
    ]
    other = folder / "mine.txt"
    other.write_text("c.png\na.png\n")
    assert [name for _, name, _ in read_evaluation_pictures([other], PictureReading(16))] == ["c.png", "a.png"]


def test_a_captions_file_and_its_pictures_elsewhere(tmp_path: Path) -> None:
    folder = made(tmp_path / "data")
    file = tmp_path / "elsewhere.tsv"
    file.write_text("a.png\tOne.\na.png\tTwo.\nb.png\tThree.\nc.png\tFour, and more")
    parts = split_album([file, folder / "images"], PictureReading(16), share=0.5, validation_data=[])
    assert [(name, texts) for _, name, texts in parts.training] == [("a.png", ["one", "two"])]
    assert [texts for *_, texts in parts.validation] == [["three"], ["four and more"]]


def test_cocos_file_says_the_same(tmp_path: Path) -> None:
    folder = made(tmp_path)
    plain = read_album([folder])
    notes = [
        {"id": n, "image_id": row.name, "caption": text}
        for n, (row, text) in enumerate((row, text) for row in plain.rows.values() for text in row.captions)
    ]
    images = [{"id": name, "file_name": name} for name in plain.rows]
    (folder / "captions_val.json").write_text(json.dumps({"images": images, "annotations": notes}))
    assert read_album([folder / "captions_val.json"]).rows == plain.rows


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no captions"),
        ("a.png#0\t\n", "line 1: the caption of a.png is empty"),
        ("a.png#0\tfine\n\na.png#1\t . \n", r"line 3: the caption of a.png is empty(.|\n)*'\.'"),
        ("a.png\t\n", "line 1: there is no picture with a caption"),
        ("a picture without a name\n", "line 1: there is no picture with a caption"),
        ("#0\tnobody\n", "line 1: there is no picture with a caption"),
    ],
)
def test_captions_that_are_none(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_album([made(tmp_path, text)])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "is not a COCO captions file"),
        ("{", "is not a COCO captions file"),
        ('{"images": [], "annotations": []}', "has no captions"),
        (
            '{"images": [], "annotations": [{"id": 7, "image_id": 1, "caption": "x"}]}',
            "annotation 7: there is no image 1",
        ),
        (
            '{"images": [{"id": 1, "file_name": "a"}], "annotations": [{"id": 7, "image_id": 1, "caption": " . "}]}',
            "annotation 7: the caption of a is empty",
        ),
        (
            '{"images": [{"id": 1, "file_name": " "}], "annotations": [{"id": 7, "image_id": 1, "caption": "x"}]}',
            "annotation 7: image 1 has no name",
        ),
        (
            '{"images": [], "annotations": [{"id": 7, "image_id": [1], "caption": "x"}]}',
            "is not a COCO captions file",
        ),
        ('{"images": [{"id": 1, "file_name": null}], "annotations": []}', "file_name None of .* is not a string"),
        ('{"images": [{"id": 1, "file_name": "\\ud800"}], "annotations": []}', "surrogates not allowed"),
        (
            '{"images": [], "annotations": [{"id": 7, "image_id": 1, "caption": null}]}',
            "caption None of .* is not a string",
        ),
    ],
)
def test_json_that_is_not_cocos(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "captions.json"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        read_album([path])


def _remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_remove("images/b.png"), "has captions of b.png, which is missing(.|\n)*--skip-bad"),
        (lambda f: (f / "images/b.png").write_bytes(b"no picture"), "b.png cannot be read as an image(.|\n)*skip-bad"),
        (lambda f: (f / "images/b.png").write_bytes(b""), "b.png is empty"),
        (lambda f: [(f / "images/b.png").unlink(), os.mkfifo(f / "images/b.png")], "b.png is not a file"),
        (_remove("Tiny.token.txt"), "has no captions file"),
        (lambda f: (f / "Other.token.txt").write_text("x"), "has several captions files"),
        (lambda f: (f / "x.trainImages.txt").write_text(""), "x.trainImages.txt is empty"),
        (lambda f: (f / "x.trainImages.txt").write_text("a.png\nz.png\n"), "line 2: z.png has no captions"),
        (lambda f: (f / "Tiny.token.txt").write_bytes(b"a.png#0\t\xff\n"), "line 1 is not valid UTF-8"),
        (lambda f: [(f / "images" / f"{n}.png").unlink() for n in "abc"], "missing"),
    ],
)
def test_what_is_refused(tmp_path: Path, spoil: Callable[[Path], None], message: str) -> None:
    folder = made(tmp_path)
    spoil(folder)
    with pytest.raises(DataError, match=message):
        for part in split_album([folder], PictureReading(16), share=0.3, validation_data=[])[:2]:
            list(part or ())


def test_bad_pictures_are_left_out_when_asked(tmp_path: Path) -> None:
    folder = made(tmp_path)
    (folder / "images/a.png").write_bytes(b"no picture")
    told = PictureReading(16, skip_bad=True)
    assert [name for _, name, _ in read_evaluation_pictures([folder], told)] == ["b.png", "c.png"]
    assert told.skipped.count == 1 and "a.png cannot be read as an image" in told.skipped.lines()[0]
    for name in "bc":
        (folder / f"images/{name}.png").unlink()
    with pytest.raises(DataError, match="every picture is missing or broken"):
        list(read_evaluation_pictures([folder], told))


def test_long_captions_are_left_out_of_training(tmp_path: Path) -> None:
    folder = made(tmp_path, train="a.png\nb.png\nc.png\n", dev="c.png\n")
    told = PictureReading(16, max_symbols=3)
    parts = split_album([folder], told, share=0.3, validation_data=[])
    assert [(name, texts) for _, name, texts in parts.training] == [
        ("a.png", ["a dog runs", "a brown dog"]),
        ("b.png", ["two girls smiling"]),
    ]
    assert told.too_long == 1
    assert [texts for *_, texts in parts.validation] == [["a boy with 3 on his shirt"]]
    with pytest.raises(DataError, match="every caption is too long"):
        list(split_album([folder], PictureReading(16, max_symbols=1), share=0.3, validation_data=[]).training)


@pytest.mark.parametrize("name", [300 * "a" + ".png", "zero\0.png", "images", "loop.png", "pipe.png", "."])
@pytest.mark.parametrize("place", ["images", "maps"])
def test_a_picture_of_an_impossible_name_is_named_or_left_out(tmp_path: Path, name: str, place: str) -> None:
    made(tmp_path)
    for folder, ending in (("images", ""), ("maps", ".npy")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / f"loop.png{ending}").symlink_to(f"loop.png{ending}")
        os.mkfifo(tmp_path / folder / f"pipe.png{ending}")
        (tmp_path / folder / f"images{ending}").mkdir()
    np.save(tmp_path / "maps/b.npy", np.ones(3))
    names = ["b.png", name]
    notes = [{"id": n, "image_id": n, "caption": "A dog"} for n in range(2)]
    images = [{"id": n, "file_name": name} for n, name in enumerate(names)]
    file = tmp_path / "captions.json"
    file.write_text(json.dumps({"images": images, "annotations": notes}))
    for sources in ([file], [file, tmp_path / place]):
        with pytest.raises(DataError) as caught:
            list(read_evaluation_pictures(sources, PictureReading(16)))
        assert (
            name.split(".")[0].rstrip("\0") in caught.value.what
            and caught.value.found
            and "skip-bad" in str(caught.value)
        )
        told = PictureReading(16, skip_bad=True)
        assert [row[1] for row in read_evaluation_pictures(sources, told)] == ["b.png"]
        (line,) = told.skipped.lines()
        assert line == f"{caught.value.what}: {caught.value.found}"


def test_features_instead_of_pictures(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    folder = made(tmp_path)
    arrays = {f"{n}.png": np.random.default_rng(i).normal(size=(5, 2, 3)).astype("f4") for i, n in enumerate("abc")}
    save_file(arrays, tmp_path / "maps.safetensors")
    (tmp_path / "maps").mkdir()
    for n, (name, array) in enumerate(arrays.items()):
        np.save(tmp_path / "maps" / (f"{name}.npy" if n else "a.npy"), array)
    for source in ("maps.safetensors", "maps"):
        found = list(read_evaluation_pictures([folder / "Tiny.token.txt", tmp_path / source], PictureReading(16)))
        for values, name, _ in found:
            assert values.shape == (6, 5)  # places, features
            np.testing.assert_array_equal(values[4], arrays[name][:, 1, 1])
    np.save(tmp_path / "one.npy", np.arange(4))
    np.testing.assert_array_equal(read_image_features(tmp_path / "one.npy"), np.arange(4, dtype="f4")[None])
    np.save(tmp_path / "bad.npy", np.array([1, np.nan]))
    with pytest.raises(DataError, match="not all finite"):
        read_image_features(tmp_path / "bad.npy")
    np.save(tmp_path / "objects.npy", np.array([None]), allow_pickle=True)
    with pytest.raises(DataError, match="cannot be read"):
        read_image_features(tmp_path / "objects.npy")
    (tmp_path / "x.safetensors").write_bytes(b"{")
    with pytest.raises(DataError, match="a safetensors file"):
        list(read_evaluation_pictures([folder / "Tiny.token.txt", tmp_path / "x.safetensors"], PictureReading(16)))


def test_features_may_have_half_precision(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    for dtype in (torch.bfloat16, torch.float16):
        save_file({"a.png": torch.full((2, 3), 1.5, dtype=dtype)}, tmp_path / "maps.safetensors")
        (found,) = picture_inputs([tmp_path / "maps.safetensors"], (2, 3))
        np.testing.assert_array_equal(found.read(), np.full((2, 3), 1.5, np.float32))
        assert found.read().dtype == np.float32


def test_features_of_predict_come_from_arrays_and_tensors(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    rows = {name: np.full((2, 3), n, np.float32) for n, name in enumerate(("b.png", "a.png"))}
    save_file(rows, tmp_path / "maps.safetensors")
    np.save(tmp_path / "c.npy", np.full((2, 3), 7))
    found = picture_inputs([tmp_path], (2, 3))
    assert [each.path for each in found] == [
        tmp_path / name for name in ("c.npy", "maps.safetensors/a.png", "maps.safetensors/b.png")
    ]
    assert [each.read()[0, 0] for each in found] == [7, 1, 0]
    os.mkfifo(tmp_path / "pipe.npy")
    (tmp_path / "none.npy").write_bytes(b"")
    (tmp_path / "short.npy").write_bytes((tmp_path / "c.npy").read_bytes()[:-8])
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 1000), }"
    (tmp_path / "vast.npy").write_bytes(b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + header.ljust(117) + b"\n")
    for name, message in (
        ("pipe.npy", "is not a file"),
        ("none.npy", "is empty"),
        ("short.npy", "cannot be read"),
        ("vast.npy", "cannot be read"),
        ("gone.npy", "does not exist"),
    ):
        (each,) = picture_inputs([tmp_path / name], (2, 3))
        with pytest.raises(DataError, match=f"{name} {message}"):
            each.read()
    shutil.copy(tmp_path / "maps.safetensors", tmp_path / "MAPS.SAFETENSORS")
    assert len(picture_inputs([tmp_path / "MAPS.SAFETENSORS"], (2, 3))) == 2
    (tmp_path / "broken.safetensors").write_bytes(b"junk")
    broken, last = picture_inputs([tmp_path / "broken.safetensors", tmp_path / "c.npy"], (2, 3))
    assert (broken.path, last.read()[0, 0]) == (tmp_path / "broken.safetensors", 7)
    with pytest.raises(DataError, match=r"broken\.safetensors cannot be read"):
        broken.read()
    save_file({}, tmp_path / "none.safetensors")
    (none,) = picture_inputs([tmp_path / "none.safetensors"], (2, 3))
    with pytest.raises(DataError, match=r"none\.safetensors holds nothing"):
        none.read()
    with pytest.raises(DataError, match="features do not come from standard input"):
        picture_inputs([tmp_path / "c.npy", "-"], (2, 3))


def test_what_predict_is_given(tmp_path: Path) -> None:
    images = made(tmp_path) / "images"
    found = list(picture_inputs([images, images / "b.png"], (16, 16, 3)))
    assert [path.name for path, _ in found] == ["a.png", "b.png", "c.png", "b.png"]
    np.testing.assert_array_equal(found[1][1](), found[3][1]())
    for inputs, message in [
        ([], "nothing to describe"),
        ([tmp_path / "none.png"], "does not exist"),
        ([300 * "a"], "cannot be read as an image"),
        (["-"], r"pictures do not come from standard input\n.*files, or folders of them\n.*-\n.*cat > picture\.png"),
        ([tmp_path / "Tiny.token.txt"], "cannot be read as an image"),
    ]:
        with pytest.raises(DataError, match=message):
            [read() for _, read in picture_inputs(inputs, (16, 16, 3))]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty has no pictures"):
        list(picture_inputs([tmp_path / "empty"], (16, 16, 3)))
    np.save(tmp_path / "x.npy", np.ones((3, 7)))
    with pytest.raises(DataError, match="does not fit the model"):
        [read() for _, read in picture_inputs([tmp_path / "x.npy"], (3, 8))]


def test_weights_of_another_network(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.ones(2, 3), "fc": torch.ones(1)}, tmp_path / "w.safetensors")
    assert list(read_pretrained_weights(tmp_path / "w.safetensors", {"a": (2, 3)})) == ["a"]
    with pytest.raises(DataError, match=r"of another network\n.*\(3, 2\)\n.*\(2, 3\)"):
        read_pretrained_weights(tmp_path / "w.safetensors", {"a": (3, 2)})
    with pytest.raises(DataError, match="no such tensor"):
        read_pretrained_weights(tmp_path / "w.safetensors", {"b": (3, 2)})
    for bad, found in (
        (torch.full((2, 3), torch.nan), "nan or infinity"),
        (torch.ones(2, 3, dtype=torch.int8), "int8"),
    ):
        save_file({"a": bad}, tmp_path / "bad.safetensors")
        with pytest.raises(
            DataError, match=rf"bad\.safetensors are broken\n.*a of finite numbers.*\n.*{found}\n.*again"
        ):
            read_pretrained_weights(tmp_path / "bad.safetensors", {"a": (2, 3)})
    (tmp_path / "pickle.pt").write_bytes(b"\x80\x04")
    with pytest.raises(DataError, match="cannot be read"):
        read_pretrained_weights(tmp_path / "pickle.pt", {"b": (3, 2)})
