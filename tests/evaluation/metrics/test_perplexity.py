"""The metrics of a text: known models, the text's own past, and independence of how it is cut."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from elman.data.text.documents import Document
from elman.data.text.token_file import TokenFile, encode_text
from elman.data.text.vocabularies import build_vocabulary
from elman.errors import DataError
from elman.evaluation.metrics.perplexity import count_characters, perplexity, perplexity_metrics
from elman.models.language_model import LanguageModel


def text(length: int, starts: tuple = (0,)) -> TokenFile:
    numbers = np.random.default_rng(1).integers(0, 9, length).astype(np.uint8)
    return TokenFile.from_token_ids(numbers, vocabulary_size=9, document_starts=starts)


def model() -> LanguageModel:
    torch.manual_seed(1)
    return LanguageModel(9, embedding=3, hidden=5).double().eval()


def test_a_model_that_knows_nothing_is_as_perplexed_as_there_are_symbols() -> None:
    ignorant = model()
    torch.nn.init.zeros_(ignorant.output.weight)
    result = perplexity(ignorant.nats, text(300), characters=598)
    assert result["perplexity"] == pytest.approx(9)
    assert result["nats_per_symbol"] == pytest.approx(math.log(9))
    assert result["symbols"] == 299
    assert result["bits_per_character"] == pytest.approx(math.log2(9) / 2)
    assert "bits_per_character" not in perplexity(ignorant.nats, text(300))


def test_one_stream_is_the_sum_over_the_whole_text_at_once() -> None:
    judged, whole = model(), text(500, (0, 123))
    resets = torch.zeros(499, 1, dtype=torch.bool)
    resets[123] = True
    numbers = torch.from_numpy(whole.token_ids.astype(np.int64))[:, None]
    targets = numbers[1:].clone()
    targets[122] = -100
    nats, _ = judged.nats(numbers[:-1], targets, resets=resets)
    result = perplexity(judged.nats, whole)
    assert result["symbols"] == 498
    assert result["nats_per_symbol"] == pytest.approx(nats.item() / 498, abs=1e-12)


@pytest.mark.parametrize("window", [1, 7, 100, 100_000])
def test_the_window_changes_nothing(window: int) -> None:
    judged, whole = model(), text(5000, (0, 700, 701, 3000))
    expected = perplexity(judged.nats, whole)["nats_per_symbol"]
    if window == 1:
        whole = text(300)
        expected = perplexity(judged.nats, whole)["nats_per_symbol"]
    assert perplexity(judged.nats, whole, window=window)["nats_per_symbol"] == pytest.approx(expected, abs=1e-12)


def test_streams_that_warm_up_come_to_what_one_stream_gives() -> None:
    judged, whole = model(), text(20_000)
    several = perplexity(judged.nats, whole)
    single = perplexity(judged.nats, whole, streams=1, window=4096)
    assert several["symbols"] == single["symbols"] == 19_999
    assert several["nats_per_symbol"] == pytest.approx(single["nats_per_symbol"], abs=1e-6)


def test_a_text_with_nothing_to_predict_is_refused() -> None:
    with pytest.raises(DataError, match="nothing to predict"):
        perplexity(model().nats, text(3, (0, 1, 2)))


def test_a_perplexity_beyond_numbers_is_none() -> None:
    assert perplexity_metrics(1e6, 10)["perplexity"] is None


@pytest.mark.parametrize(("kind", "count"), [("characters", 10), ("bytes", 12), ("words", None)])
def test_the_characters_of_predicted_symbols_are_counted(tmp_path: Path, kind: str, count: int | None) -> None:
    """All but the first of each document; of bytes, a character counts where its last byte is."""
    for name, content in (("a.txt", "Ölöl ölö"), ("b.txt", "ölöö")):
        (tmp_path / name).write_text(content, encoding="utf-8")
    documents = [Document(name, tmp_path / name, "utf-8") for name in ("a.txt", "b.txt")]
    vocabulary = build_vocabulary(kind, documents)
    assert count_characters(vocabulary, encode_text(documents, vocabulary, tmp_path / "text.tokens")) == count
