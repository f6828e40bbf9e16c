"""Translation metrics: BLEU (Papineni et al. 2002) and chrF (Popovic 2015), by sacrebleu (Post 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from elman.errors import extra
from elman.evaluation.result import Metrics


def translation_metrics(translations: Sequence[str], references: Sequence[str]) -> Metrics:
    """Return BLEU (tokens by 13a, case counts) and chrF2 of translations, 0 to 100.

    Args:
        translations: one line each.
        references: the correct ones, in the same order.

    Raises:
        MissingExtraError: sacrebleu is not installed.
    """
    bleu, chrf = _metrics()
    return {
        "bleu": float(bleu.corpus_score(list(translations), [list(references)]).score),
        "chrf": float(chrf.corpus_score(list(translations), [list(references)]).score),
    }


def signatures() -> str:
    """Return the signatures of BLEU and chrF by sacrebleu, which define how they are computed."""
    bleu, chrf = _metrics()
    for metric in (bleu, chrf):
        metric.corpus_score(["a"], [["a"]])
    return f"BLEU {bleu.get_signature()}; chrF {chrf.get_signature()}"


def _metrics() -> tuple[Any, Any]:
    with extra("translate", "evaluating translations"):
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF
    return BLEU(), CHRF()
