"""The data set of captioned pictures, its vocabulary, and its batches."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from elman.data.captions.batches import caption_batch
from elman.data.captions.dataset import CaptionDataset, caption_vocabulary, normalise_caption, write_pictures
from elman.data.text.words import Words
from elman.errors import DataError, RunError


def test_what_a_run_keeps(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    texts = [["a dog left of it", "a dog"], ["two cats"], ["it"]]
    rows = [(values[n], f"{n}.png", texts[n]) for n in range(3)]
    written = write_pictures(tmp_path / "new", iter(rows))
    vocabulary = caption_vocabulary(texts, "words")
    data = CaptionDataset.open(tmp_path / "new", vocabulary, no_flip_words=("left",))
    assert written == data.texts == texts
    assert data.folder == tmp_path / "new"
    same = CaptionDataset(values, texts, ["0.png", "1.png", "2.png"], vocabulary)
    other = CaptionDataset(values, texts, ["0.png", "1.png", "x.png"], vocabulary)
    assert data.fingerprint == same.fingerprint != other.fingerprint
    assert data.flips.tolist() == [False, True, True]
    (tmp_path / "new/captions.json").write_text('{"names": ["a"], "texts": [[]]}')
    with pytest.raises(RunError, match=r"captions\.json is broken"):
        CaptionDataset.open(tmp_path / "new", vocabulary)
    write_pictures(tmp_path, iter(rows[:2]))
    (tmp_path / "captions.json").write_text(json.dumps({"names": ["a"], "texts": [["x"]]}))
    with pytest.raises(RunError, match=r"the pictures in .* are broken"):
        CaptionDataset.open(tmp_path, vocabulary)
    with pytest.raises(DataError, match="x has another shape"):
        write_pictures(tmp_path, iter([rows[0], (values[0, :8], "x", ["x"])]))
    with pytest.raises(DataError, match=r"0\.png has another shape"):
        write_pictures(tmp_path, iter(rows), (8, 16, 3))


def test_batches_have_all_captions_or_some_of_them() -> None:
    values = np.arange(3 * 4 * 4 * 3, dtype=np.uint8).reshape(3, 4, 4, 3)
    texts = [["a dog left of it", "a dog"], ["two cats"], ["it"]]
    vocabulary = caption_vocabulary(texts, "words")
    data = CaptionDataset(values, texts, ["0", "1", "2"], vocabulary)
    batch = caption_batch(data, np.array([2, 0]))
    np.testing.assert_array_equal(batch.picture_B.numpy(), values[[2, 0]])
    assert batch.of_N.tolist() == [0, 1, 1]
    assert [vocabulary.decode([int(v)]).strip() for v in batch.symbol_X[batch.symbol_of_X == 0]] == ["it"]
    # a, dog, left, of, it: also of captions that were not drawn
    assert len(caption_batch(data, np.array([0]), 1).symbol_X) == 5
    captions = [vocabulary.decode([int(t) for t in column if t >= 0]).strip() for column in batch.target_TN.T]
    assert captions == ["it", "a dog left of it", "a dog"]
    torch.manual_seed(0)
    drawn = [tuple(caption_batch(data, np.array([0, 1]), 1).of_N.tolist()) for _ in range(3)]
    assert drawn == [(0, 1)] * 3
    torch.manual_seed(1)
    lengths = {int((caption_batch(data, np.array([0]), 1).target_TN >= 0).sum()) for _ in range(20)}
    assert lengths == {2, 5}  # either caption


def test_captions_are_said_in_words() -> None:
    assert normalise_caption('A man\'s dog -- "Rex" , runs !') == "a man's dog rex runs"
    assert CaptionDataset(np.zeros((1, 4, 4, 3), "u1"), [["a"]], ["n"], Words(["<unk>", "<eos>", "a"])).flips.all()


def test_rare_words_are_unknown_but_never_all() -> None:
    texts = [["a cat", "a dog"], ["a cat"]]
    assert caption_vocabulary(texts, "words").size == 5
    assert caption_vocabulary(texts, "words", min_count=2).size == 4
    assert caption_vocabulary(texts, "words", min_count=9).size == 3
    assert caption_vocabulary(texts, "words", size=3, min_count=2).size == 3
    assert caption_vocabulary(texts, "characters").kind == "characters"
