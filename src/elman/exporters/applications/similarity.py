"""The export of a similarity model: pairs of texts to scores, and texts to vectors."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import onnx
import torch

from elman.exporters.applications.application import (
    NO_DATA,
    VALIDATION_INPUTS,
    Application,
    Comparison,
    finished,
    outputs,
    validation_data,
)
from elman.exporters.applications.blocks import (
    array,
    embedding,
    existing_steps,
    floats,
    last_output,
    recurrent,
    size,
    unsqueezed,
)
from elman.exporters.applications.comparison_blocks import (
    DISTANCES,
    Encoded,
    alignment,
    overlap_features,
    same_words,
    score,
    total,
    vector_features,
)
from elman.exporters.applications.pooling import POOLINGS
from elman.exporters.onnx.graph import GraphBuilder, value
from elman.exporters.parity import ParityRow
from elman.modules.word_embedding import WordEmbedding
from elman.predictors.similarity import SimilarityPredictor

TEXTS = [
    ("", ""), ("a", ""), ("one", "one"), ("one two three", "three two one"), ("Ä ö", "ä Ö!"), ("don't", "dont"),
    ("語 学", "学"), ("x" * 200, "x"), ("unknownword", "unknownwords"),
]  # fmt: skip
"""Pairs that every export is compared on."""


class _Pair(NamedTuple):
    first: str
    second: str
    score: float = float("nan")


def application(predictor: SimilarityPredictor, precision: str) -> Application:
    """Return the export of a similarity model."""
    lexicon, scale, data = predictor.collator.lexicon, predictor.scale, validation_data(predictor)
    kind = "probability of yes" if scale.yes_no else f"score from {scale.low:g} to {scale.high:g}"
    return Application(
        "similarity",
        {"whole": _graph(predictor, precision, pairs=True), "encode": _graph(predictor, precision, pairs=False)},
        {
            "words": "the number of each of W different words, as in words.json",
            "pieces": "hash buckets of the character n-grams of each word, -1 behind the last",
            "weights": "inverse document frequency of each word, 0 to 1",
            "place": "which of the W words stands at each step of a text; of pairs first all first texts",
            "lengths": "words of each text",
            "spelling": "Dice's coefficient of the character n-grams of two words",
            "y": kind + " of each pair",
            "vectors": "vector of each text",
        },
        lambda comparison: _compare(predictor, data, comparison),
        facts={
            "texts": {
                "max_words": predictor.collator.max_words,
                "buckets": predictor.collator.buckets,
                "yes_no": scale.yes_no,
                "unknown": lexicon.words.unknown,
                "texts": lexicon.texts,
            }
        },
        files={"words.json": {"words": lexicon.words.words, "seen": lexicon.seen.tolist()}},
        remarks=() if data is not None else (NO_DATA,),
    )


def _word_vectors(graph: GraphBuilder, module: WordEmbedding) -> str:
    """Return the vectors of the W words, (W, I)."""
    own = embedding(graph, module.own.weight, "words")
    if module.pieces is not None:
        exists = floats(graph, graph.add("GreaterOrEqual", "pieces", graph.constant(0)))
        exists = unsqueezed(graph, exists, 2)
        pieces = embedding(graph, module.pieces.weight, graph.add("Max", "pieces", graph.constant(0)))
        summed = total(graph, graph.add("Mul", pieces, exists), 1)
        own = graph.add("Add", own, graph.add("Div", summed, total(graph, exists, 1)))
    if module.given is None:
        return own
    return graph.add("Concat", own, embedding(graph, module.given, "words"), axis=1)


def _graph(predictor: SimilarityPredictor, precision: str, *, pairs: bool) -> onnx.ModelProto:
    graph, model = GraphBuilder(precision), predictor.model
    inputs = [value("words", ("W",), "int64")]
    inputs += [value("pieces", ("W", "P"), "int64")] if model.words.pieces is not None else []
    inputs += [value("place", ("T", "N"), "int64"), value("lengths", ("N",), "int32")]
    x_TBI = graph.add("Gather", _word_vectors(graph, model.words), "place", axis=0)
    layers: Any = model.encoder.recurrent
    y_TBF, states = recurrent(graph, layers, x_TBI, lengths="lengths")
    pooling, last = model.encoder.pooling, last_output(graph, states, layers.num_directions)
    vectors = POOLINGS[type(pooling)].whole(graph, pooling, y_TBF, "lengths", last)
    if not pairs:
        return finished(
            graph, "encode", inputs, outputs(graph, {"vectors": (vectors, ("N", model.encoder.output_size))})
        )
    first, second = _halves(graph, predictor, vectors, y_TBF, x_TBI)
    if model.distance is not None:
        unit = DISTANCES[type(model.distance)](graph, model.distance, first, second)
    else:
        assert model.grades is not None
        features = [vector_features(graph, first, second)]
        if model.alignment is not None:
            inputs += [value("weights", ("W",)), value("spelling", ("W", "W"))]
            similarity = _spelling(graph, first, second)
            same = same_words(graph, similarity)
            features.append(alignment(graph, model.alignment, first, second, similarity, same))
            features.append(overlap_features(graph, first, second, similarity, same))
        unit = score(graph, model.grades, graph.add("Concat", *features, axis=-1))
    scale = predictor.scale
    y = graph.add("Cast", unit, to=onnx.TensorProto.DOUBLE)
    y = graph.add("Mul", y, graph.constant(scale.high - scale.low, np.float64))
    graph.add("Add", y, graph.constant(scale.low, np.float64), output="y")
    return finished(graph, "whole", inputs, [value("y", ("B",), "float64")])


def _halves(graph: GraphBuilder, predictor: SimilarityPredictor, vectors: str, y_TBF: str, x_TBI: str) -> list[Encoded]:
    """Return the first and the second texts of the pairs."""
    exists_TB = floats(graph, existing_steps(graph, "place", "lengths"))
    texts = [vectors, *(graph.add("Transpose", each, perm=[1, 0, 2]) for each in (y_TBF, x_TBI))]
    exists_BT = graph.add("Transpose", exists_TB, perm=[1, 0])
    if predictor.model.alignment is not None:
        weight_TB = graph.add("Mul", graph.add("Gather", "weights", "place"), exists_TB)
        texts.append(graph.add("Transpose", weight_TB, perm=[1, 0]))
    else:
        texts.append(exists_BT)
    texts += [unsqueezed(graph, exists_BT, 2), unsqueezed(graph, floats(graph, "lengths"), 1)]
    count = graph.add("Div", size(graph, "lengths", 0), graph.constant([2]))
    bounds = [graph.constant([0]), count, graph.add("Mul", count, graph.constant([2]))]
    axis = graph.constant([0])
    return [
        Encoded(*(graph.add("Slice", each, bounds[half], bounds[half + 1], axis) for each in texts)) for half in (0, 1)
    ]


def _spelling(graph: GraphBuilder, first: Encoded, second: Encoded) -> str:
    """Return the spelling similarity of the words of each pair, (B, T, T); 0 beyond the lengths."""
    place_BT = graph.add("Transpose", "place", perm=[1, 0])
    count = graph.add("Div", size(graph, "lengths", 0), graph.constant([2]))
    axis = graph.constant([0])
    rows = graph.add("Slice", place_BT, graph.constant([0]), count, axis)
    columns = graph.add("Slice", place_BT, count, graph.add("Mul", count, graph.constant([2])), axis)
    rows, columns = unsqueezed(graph, rows, 2), unsqueezed(graph, columns, 1)
    zero, sides = graph.constant(0), (rows, columns)
    pair = [graph.add("Add", own, graph.add("Mul", other, zero)) for own, other in zip(sides, sides[::-1], strict=True)]
    indices = graph.add("Concat", *(unsqueezed(graph, each, 3) for each in pair), axis=3)
    similarity = graph.add("GatherND", "spelling", indices)
    both = graph.add("Mul", first.exists_BT1, graph.add("Transpose", second.exists_BT1, perm=[0, 2, 1]))
    return graph.add("Mul", similarity, both)


def _compare(predictor: SimilarityPredictor, data: Any, comparison: Comparison) -> list[ParityRow]:
    """Compare scores and vectors of validation pairs and odd ones, alone and in a batch, and those of the program."""
    whole, encode = (comparison.session(name) for name in ("whole", "encode"))
    program = comparison.program.PairScorer(comparison.folder)
    groups: dict[str, list[Any]] = {"odd pairs": [_Pair(*texts) for texts in TEXTS]}
    if data is not None:
        groups["validation pairs"] = [data[n] for n in range(min(len(data), VALIDATION_INPUTS))]
    rows = []
    for title, pairs in groups.items():
        batch = predictor.collator.pairs(pairs)
        with torch.no_grad():
            vectors = array(predictor.model.encode(batch.texts).vector_BF)
        texts = [*(pair.first for pair in pairs), *(pair.second for pair in pairs)]
        feeds = program.feeds(texts)
        rows.append(comparison.numbers("vectors of encode.onnx", title, vectors, encode.run(feeds)[0]))
        low, high = predictor.scale.low, predictor.scale.high
        scores = np.array(predictor.score(pairs))
        alone = [program.score(pair.first, pair.second) for pair in pairs]
        for name, actual in (("y of whole.onnx", whole.run(feeds)[0]), ("score of predict.py", np.array(alone))):
            rows.append(comparison.numbers(name, title, (scores - low) / (high - low), (actual - low) / (high - low)))
    return rows
