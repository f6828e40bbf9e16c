"""Translation metrics: BLEU (Papineni et al. 2002) and chrF (Popovic 2015), by sacrebleu (Post 2018)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from elman.errors import DataError, MissingExtraError, extra
from elman.evaluation.result import Metrics

BLEU_TOKENIZERS = ("auto", "13a", "intl", "char", "zh", "ja-mecab", "ko-mecab", "flores101", "flores200", "none")
"""How lines become the tokens whose n-grams BLEU counts; all but auto are those of sacrebleu."""

_PACKAGES = (("ja-mecab", "sacrebleu[ja]"), ("ko-mecab", "sacrebleu[ko]"), ("flores", "sentencepiece"))
_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_KANA = re.compile(r"[\u3040-\u30ff]")
# Thai, Lao, Tibetan, Myanmar and Khmer.
_OTHERS_WITHOUT_SPACES = re.compile(r"[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff]")
_LARGEST_SHARE_OF_SPACES = 0.1
_FEWEST_TOKENIZED = 100  # lines that end in " .", as sacrebleu has it


def translation_metrics(translations: Sequence[str], references: Sequence[str], tokenizer: str = "13a") -> Metrics:
    """Return BLEU (case counts) and chrF2 of translations, 0 to 100.

    Args:
        translations: one line each.
        references: the correct ones, in the same order.
        tokenizer: a name in `BLEU_TOKENIZERS` but auto.

    Raises:
        MissingExtraError: sacrebleu, or what the tokenizer needs, is not installed.
        DataError: the model of the tokenizer cannot be downloaded.
    """
    bleu, chrf = _metrics(tokenizer)
    return {
        "bleu": float(bleu.corpus_score(list(translations), [list(references)]).score),
        "chrf": float(chrf.corpus_score(list(translations), [list(references)]).score),
    }


def signatures(tokenizer: str = "13a") -> str:
    """Return the signatures of BLEU and chrF by sacrebleu, which define how they are computed.

    Raises:
        MissingExtraError, DataError: as `translation_metrics`.
    """
    bleu, chrf = _metrics(tokenizer)
    for metric in (bleu, chrf):
        metric.corpus_score(["a"], [["a"]])
    return f"BLEU {bleu.get_signature()}; chrF {chrf.get_signature()}"


def choose_tokenizer(references: Sequence[str]) -> tuple[str, str]:
    """Return the tokenizer for references, and why it is chosen: another one where words have no spaces between."""
    text = "".join(references)
    letters = sum(map(str.isalpha, text))
    han, kana, others = (len(script.findall(text)) for script in (_HAN, _KANA, _OTHERS_WITHOUT_SPACES))
    spaces = text.count(" ") / max(1, len(text))
    if not letters or 2 * (han + kana + others) < letters or spaces > _LARGEST_SHARE_OF_SPACES:
        return "13a", "the references have spaces between words"
    if han > 10 * (kana + others):
        return "zh", "the references are in Chinese characters without spaces"
    hint = "; ja-mecab counts words" if kana > others else ""
    return "char", f"the references have no spaces between words{hint}"


def tokenized_lines(translations: Sequence[str]) -> int:
    """Return how many translations look tokenized, as they end in " ."; 0 if they are too few to matter."""
    count = sum(text.endswith(" .") for text in translations)
    return count if count >= _FEWEST_TOKENIZED else 0


def _metrics(tokenizer: str) -> tuple[Any, Any]:
    with extra("translate", "evaluating translations"):
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF
    try:
        # With force sacrebleu prints no advice on standard error; `tokenized_lines` gives it.
        return BLEU(tokenize=tokenizer, force=True), CHRF()
    except (ImportError, RuntimeError) as error:
        package = next((package for name, package in _PACKAGES if tokenizer.startswith(name)), "sacrebleu")
        raise MissingExtraError(
            f"bleu_tokenize={tokenizer} needs the package {package}",
            should=f"an installed {package}",
            found=next((line for line in str(error).splitlines() if line), type(error).__name__),
            hint=f"pip install '{package}', or bleu_tokenize=char",
        ) from error
    except (OSError, SystemExit) as error:
        raise DataError(
            f"bleu_tokenize={tokenizer} downloads a model once, which failed",
            found=str(error)[:200],
            hint="connect to the internet, or bleu_tokenize=char",
        ) from error
