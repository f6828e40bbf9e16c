"""Long recordings: they are cut at their pauses, and joined as if each part had been alone."""

from pathlib import Path

import numpy as np
import pytest
import torch

from elman.data.speech.pauses import Span
from elman.data.text.vocabularies import VOCABULARIES, Vocabulary
from elman.decoding.ctc import TimedSequence
from elman.models.transcriber import Transcriber
from elman.predictors.sentence_decoder import SentenceDecoder


def built(kind: str, **options: object) -> SentenceDecoder:
    torch.manual_seed(1)
    vocabulary: Vocabulary = VOCABULARIES[kind].build([["a b a"]])
    scale = {"mean": [0.0] * 4, "deviation": [1.0] * 4}
    model = Transcriber(4, vocabulary.size, **scale, hidden=8, layers=1, stride=2, utterance_norm=True)
    return SentenceDecoder(model.eval(), vocabulary, **{"longest": 60, **options})  # type: ignore[arg-type]


def recording(parts: int) -> np.ndarray:
    """Return features of parts of 50 steps, of noise, with pauses of 40."""
    rng = np.random.default_rng(1)
    pause = rng.normal(-12, 0.1, (40, 4))
    return np.concatenate([pause, *(piece for _ in range(parts) for piece in (rng.normal(0, 1, (50, 4)), pause))])


@pytest.mark.parametrize("kind", ["characters", "words"])
def test_parts_are_decoded_as_if_each_were_alone(kind: str) -> None:
    decoder, x_TI = built(kind), recording(3)
    (whole,) = decoder.decode([x_TI])
    assert len(whole.spans) == 3
    space = decoder.vocabulary.encode(" ")[0] + 1 if kind == "characters" else 0
    expected: list[int] = []
    for n, (begin, end) in enumerate(whole.spans):
        (alone,) = decoder.decode([x_TI[begin:end]])
        torch.testing.assert_close(whole.log_p_TV[begin // 2 : begin // 2 + len(alone.log_p_TV)], alone.log_p_TV)
        expected += [space, *alone.timed.token_ids] if space else alone.timed.token_ids
        assert n or begin
    assert whole.timed.token_ids == expected
    assert len(whole.log_p_TV) == len(x_TI) // 2


def test_what_is_not_cut() -> None:
    x_TI = recording(3)
    assert built("words").spans(x_TI[:70]) == built("words", longest=0).spans(x_TI) == []
    assert built("words", sound=False).spans(x_TI) == []
    streaming = built("words")
    streaming.model.streaming = True
    assert streaming.spans(x_TI) == []
    (decoded,) = built("words").decode([x_TI], cut=False)
    assert not decoded.spans


def test_batches_hold_cut_and_whole_sentences() -> None:
    decoder, sentences = built("words"), [recording(3), recording(1)[:60], recording(2)]
    numbers = {decoded.number: decoded for decoded in decoder.decode(sentences)}
    assert sorted(numbers) == [0, 1, 2]
    for n, x_TI in enumerate(sentences):
        (alone,) = decoder.decode([x_TI])
        assert isinstance(alone.timed, TimedSequence) and alone.timed.token_ids == numbers[n].timed.token_ids


def test_notes_say_what_is_longer_than_training() -> None:
    decoder, x_TI = built("words"), recording(3)
    (note,) = decoder.notes(x_TI, decoder.spans(x_TI), 0.01)
    assert note.text == "cut at its pauses into 3 parts: 3.1 s, and the longest sentence of training has 0.6 s"
    noise = np.random.default_rng(1).normal(0, 1, (310, 4))
    (note,) = decoder.notes(noise, decoder.spans(noise), 0.01)
    assert "3.1 s without a pause to cut at, 5 times longer than any sentence of training" in note.text
    assert decoder.notes(noise[:100], [], 0.01) == []
    assert decoder.long_recordings([x_TI, noise, noise[:70]]) == {"cut_at_pauses": 1, "much_longer_than_training": 1}
    assert decoder.long_recordings([noise[:70]]) == built("words", longest=0).long_recordings([noise]) == {}
    assert "5 times longer" in built("words", sound=False).notes(noise, [], 0.04)[0].text


def test_half_a_part_is_not_much_longer() -> None:
    assert not built("words").notes(recording(3), [Span(0, 100), Span(110, 200)], 0.01)[1:]


def test_the_longest_sentence_of_earlier_runs_is_looked_up(transcription_run: Path, tmp_path: Path) -> None:
    import json
    import shutil

    from elman.data.speech.dataset import longest_sentence, usual_levels

    copy = shutil.copytree(transcription_run, tmp_path / "run")
    longest = longest_sentence(copy)
    scale = json.loads((copy / "scale.json").read_text())
    del scale["longest"]
    (copy / "scale.json").write_text(json.dumps(scale))
    assert longest_sentence(copy) == longest > 0
    low, high = usual_levels(copy) or (0, 0)
    assert low < high
    for name in ("values", "ends"):
        (copy / f"input.{name}.npy").unlink()
    assert longest_sentence(copy) == 0 and usual_levels(copy) is None
