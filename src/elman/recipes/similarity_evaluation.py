"""How well a comparison of texts does on pairs, and the vectors that it has for texts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

from elman.data.batching import in_order
from elman.data.pairs.batches import PairCollator
from elman.data.pairs.dataset import PairDataset
from elman.data.pairs.score_scale import ScoreScale
from elman.errors import RunError
from elman.evaluation.baselines.word_overlap import shared_rank
from elman.evaluation.metrics.agreement import agreement, mean_reciprocal_rank
from elman.models.similarity import SimilarityModel
from elman.storage.run_directory import RunDirectory

TOGETHER = 64  # texts or pairs that are read side by side
MOST_RANKED = 1000  # pairs among whose second texts partners are looked for
ALIKE = 0.8  # of the scale, from which on two texts count as partners


def own_pairs(run: RunDirectory, name: str) -> PairDataset:
    """Return the pairs for training or for validation out of a run's folder.

    Raises:
        RunError: they are not there, or not those that the run began with.
    """
    if not (run.path / f"{name}.values.npy").exists():
        raise RunError(f"{run.path} came without its pairs", hint="name a file of pairs behind the run")
    pairs = PairDataset.open(run.path, name)
    if name == "training":
        run.check_data(pairs.fingerprint, "pairs")
    return pairs


def metrics_of(
    model: SimilarityModel, batcher: PairCollator, pairs: PairDataset, scale: ScoreScale
) -> dict[str, float | None]:
    """Return how well the model's scores agree with those of the pairs."""
    device = next(model.parameters()).device
    found_B = np.empty(len(pairs))
    with torch.no_grad():
        for chosen in in_order(pairs.lengths, batch_size=TOGETHER):
            batch = batcher.pairs([pairs[n] for n in chosen]).to(device)
            found_B[chosen] = scale.from_unit(model(batch)).cpu().numpy()
    return agreement(found_B, pairs.scores(), yes_no=scale.yes_no)


def ranks_of(model: SimilarityModel, batcher: PairCollator, pairs: PairDataset, scale: ScoreScale) -> dict[str, float]:
    """Return the mean reciprocal rank of partners by the model's vectors and by shared words; nothing without partners.

    Of the first `MOST_RANKED` pairs those with a score in the upper fifth of the scale are taken: the second text of
    each is looked for among the different second texts of all of them.
    """
    some = list(islice(pairs, MOST_RANKED))
    number_of = {text: n for n, text in enumerate(dict.fromkeys(pair.second for pair in some))}
    alike = [pair for pair in some if pair.score >= scale.low + ALIKE * (scale.high - scale.low)]
    if not alike:
        return {}
    firsts, seconds = [pair.first for pair in alike], list(number_of)
    partner_B = np.array([number_of[pair.second] for pair in alike])
    query_BF, rows_NF = (torch.from_numpy(vectors_of(model, batcher, texts)) for texts in (firsts, seconds))
    with torch.no_grad():
        close_BN = model.closeness(query_BF, rows_NF).numpy()
    return {
        "the model": mean_reciprocal_rank(close_BN, partner_B),
        "word overlap": shared_rank(firsts, seconds, partner_B),
    }


def vectors_of(model: SimilarityModel, batcher: PairCollator, texts: Sequence[str]) -> NDArray[np.float32]:
    """Return the vector of each text, (N, F), on the CPU."""
    device = next(model.parameters()).device
    found_NF = np.empty((len(texts), model.encoder.output_size), np.float32)
    with torch.no_grad():
        for chosen in in_order([len(text) for text in texts], batch_size=TOGETHER):
            batch = batcher.texts([texts[n] for n in chosen]).to(device)
            found_NF[chosen] = model.encode(batch).vector_BF.cpu().numpy()
    return found_NF
