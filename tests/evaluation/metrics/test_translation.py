"""Translation metrics against the formulas of BLEU and chrF."""

import math
from collections import Counter

import pytest

from elman.errors import DataError, MissingExtraError
from elman.evaluation.metrics.translation import (
    choose_tokenizer,
    signatures,
    tokenized_lines,
    translation_metrics,
)

TRANSLATIONS = ["the cat sat on the mat today", "a dog runs in the green park"]
REFERENCES = ["the cat sat on a mat today", "the dog runs in the green park"]


def ngrams(tokens: list[str] | str, n: int) -> Counter:
    return Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))


def bleu_by_formula() -> float:
    """Geometric mean of the n-gram precisions of the corpus; its lengths are equal, so there is no brevity penalty."""
    logs = []
    for n in range(1, 5):
        pairs = [(ngrams(t.split(), n), ngrams(r.split(), n)) for t, r in zip(TRANSLATIONS, REFERENCES, strict=True)]
        logs.append(math.log(sum((t & r).total() for t, r in pairs) / sum(t.total() for t, _ in pairs)))
    return 100 * math.exp(sum(logs) / 4)


def chrf_by_formula() -> float:
    """F2 of the precision and recall of character n-grams, both means over n = 1 to 6."""
    precision = recall = 0.0
    for n in range(1, 7):
        pairs = [
            (ngrams(t.replace(" ", ""), n), ngrams(r.replace(" ", ""), n))
            for t, r in zip(TRANSLATIONS, REFERENCES, strict=True)
        ]
        hits = sum((t & r).total() for t, r in pairs)
        precision += hits / sum(t.total() for t, _ in pairs) / 6
        recall += hits / sum(r.total() for _, r in pairs) / 6
    return 100 * 5 * precision * recall / (4 * precision + recall)


def test_the_metrics_are_those_of_the_formulas() -> None:
    metrics = translation_metrics(TRANSLATIONS, REFERENCES)
    assert metrics["bleu"] == pytest.approx(bleu_by_formula())
    assert metrics["chrf"] == pytest.approx(chrf_by_formula(), rel=1e-3)


def test_a_perfect_translation_has_100() -> None:
    assert translation_metrics(REFERENCES, REFERENCES) == pytest.approx({"bleu": 100, "chrf": 100})


def test_the_signatures_name_the_tokenizer_and_the_version() -> None:
    assert "tok:13a" in signatures() and signatures().count("version:") == 2


@pytest.mark.parametrize(
    ("references", "tokenizer"),
    [
        (["猫は東京で魚を食べます。", "犬は本を読みます。"], "char"),
        (["猫在北京吃鱼。", "狗看书。"], "zh"),
        (["แมวกินปลาที่บ้าน"], "char"),
        (["ខ្ញុំស្រលាញ់អ្នក"], "char"),
        (["Die Katze frisst Fisch."], "13a"),
        (["고양이가 집에서 생선을 먹습니다."], "13a"),
        (["猫 は 東京 で 魚 を 食べ ます 。"], "13a"),
        (["The word 猫 means cat."], "13a"),
        ([""], "13a"),
    ],
)
def test_the_tokenizer_follows_from_the_script(references: list[str], tokenizer: str) -> None:
    assert choose_tokenizer(references)[0] == tokenizer


def test_a_language_without_spaces_has_a_score() -> None:
    references = ["猫は東京で魚を食べます。", "犬は公園で本を読みます。"]
    translations = ["猫は東京で魚を食べます。", "犬は学校で本を読みます。"]
    assert translation_metrics(["犬は学校で本を読みます。"], ["犬は公園で本を読みます。"], "13a")["bleu"] < 1
    assert 50 < translation_metrics(translations, references, "char")["bleu"] < 100
    assert translation_metrics(references, references, "zh")["bleu"] == pytest.approx(100)
    assert "tok:zh" in signatures("zh")


@pytest.mark.parametrize(
    ("tokenizer", "module", "package"),
    [
        ("ja-mecab", "sacrebleu.tokenizers.tokenizer_ja_mecab", "sacrebleu[ja]"),
        ("ko-mecab", "sacrebleu.tokenizers.tokenizer_ko_mecab", "sacrebleu[ko]"),
    ],
)
def test_a_missing_package_is_named(tokenizer: str, module: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{module}.MeCab", None)
    with pytest.raises(MissingExtraError) as missing:
        signatures(tokenizer)
    assert f"bleu_tokenize={tokenizer} needs the package {package}" in str(missing.value)
    assert f"pip install '{package}'" in str(missing.value)


@pytest.mark.parametrize("failure", [OSError("no route"), SystemExit(1)])
def test_a_download_that_fails_is_an_error(failure: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise failure

    monkeypatch.setattr("sacrebleu.metrics.bleu.BLEU", fail)
    with pytest.raises(DataError, match="bleu_tokenize=flores200 downloads a model once, which failed"):
        signatures("flores200")


def test_tokenized_text_is_counted_and_sacrebleu_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    lines = ["a b c d ."] * 100
    assert translation_metrics(lines, lines)["bleu"] == pytest.approx(100)
    assert not caplog.records
    assert tokenized_lines(lines) == 100 and tokenized_lines(lines[1:]) == 0
