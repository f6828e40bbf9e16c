"""A trained language model: generated text."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import elman as package
from elman.errors import SettingError
from elman.kernels.cpu.packing import current_promise
from elman.recipes.language_model import LanguageModelling
from elman.recipes.run import start

Elman = Callable[..., Any]


@pytest.fixture
def run(language_run: Path) -> Path:
    return language_run


def test_the_seed_decides_the_text(elman: Elman, run: Path) -> None:
    first = elman("generate", run, "--prompt", "ein", "--length", 40, "--seed", 5)
    assert first.code == 0
    assert first.out.startswith("ein")
    assert len(first.out) == 3 + 40 + 1
    assert elman("generate", run, "--prompt", "ein", "--length", 40, "--seed", 5).out == first.out
    assert elman("generate", run, "--prompt", "ein", "--length", 40, "--seed", 6).out != first.out
    greedy = [elman("generate", run, "--temperature", 0, "--length", 9, "--seed", n).out for n in (1, 2)]
    assert greedy[0] == greedy[1]
    assert elman("generate", run, "--top-k", 1, "--length", 9).out == greedy[0]


def test_text_streams_and_python_gives_the_same(elman: Elman, run: Path) -> None:
    pieces = package.load(run).generate("ein", length=None, seed=5)
    text = "".join(next(pieces) for _ in range(40))
    assert elman("generate", run, "--prompt", "ein", "--length", 40, "--seed", 5).out == f"ein{text}\n"


def test_a_weight_changed_between_two_texts_is_seen(run: Path) -> None:
    def texts(predictor: Any) -> list[str]:
        return ["".join(predictor.generate("ein", length=20, temperature=0)) for _ in range(2)]

    predictor, other = package.load(run), package.load(run)
    before = texts(predictor)
    for each in (predictor, other):
        each.model.recurrent.weight_hh_l0.data.mul_(-1)
    assert texts(predictor) == texts(other) != before


def test_weights_are_compared_at_the_first_symbol_alone(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = package.load(run)
    original, promises = predictor.model.step, []
    monkeypatch.setattr(predictor.model, "step", lambda *given: promises.append(current_promise()) or original(*given))
    for _ in predictor.generate("ein", length=5):
        assert not current_promise()
    assert promises[0] > 0 and set(promises) == {promises[0]}


def test_it_knows_its_run_and_answers_no_inputs(run: Path) -> None:
    predictor = package.load(run)
    assert predictor.run == run
    assert predictor.metrics["bits_per_character"] > 0
    assert predictor.Options.meanings() == {}
    with pytest.raises(SettingError, match="cannot predict"):
        list(predictor.predict(["ein"]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--temperature", "-1"], "invalid value for temperature"),
        (["--top-k", "0"], "invalid value for top-k"),
        (["--top-p", "1.5"], "invalid value for top-p"),
        (["--length", "-5"], "should be: 0 or more, or -1 for no end"),
        (["--seed", str(10**22)], "the seed is out of range"),
        (["--seed", "-1"], "the seed is out of range"),
    ],
)
def test_invalid_options_are_refused(elman: Elman, run: Path, options: list, message: str) -> None:
    refused = elman("generate", run, *options)
    assert (refused.code, refused.out) == (2, "")
    assert message in refused.err


def test_unknown_symbols_of_a_prompt_are_named(elman: Elman, run: Path) -> None:
    answer = elman("generate", run, "--prompt", "ein☃ x☃", "--length", 5, "--seed", 1)
    assert answer.code == 0 and answer.out.startswith("ein☃ x☃") and len(answer.out) == 7 + 5 + 1
    assert answer.err == "note: 3 symbols of the prompt are not in the vocabulary: '☃', 'x'\n"
    assert elman("generate", run, "--prompt", "ein", "--length", 5).err == ""


def test_words_are_not_glued_to_the_prompt(
    elman: Elman, language_text: Path, language_settings: dict[str, int], tmp_path: Path
) -> None:
    settings = {**language_settings, "vocabulary": "words", "steps": 2}
    start(LanguageModelling, [language_text], settings, tmp_path / "run")
    text = elman("generate", tmp_path / "run", "--prompt", "ein paar", "--length", 3, "--temperature", 0).out
    assert text.startswith(("ein paar ", "ein paar\n"))
