"""Similarity of texts by a trained model.

The model is in the folder of this program, which needs numpy and onnxruntime.

    python predict.py "a cat sleeps" "the cat is asleep"

It writes a line of JSON for each pair: two texts, texts with a tab between the two of a pair, or - for such lines on
standard input. With --embed FILE.npy it writes the vectors of the texts instead.
"""

import argparse
import json
import math
import re
import sys
import unicodedata
import zlib
from pathlib import Path

import numpy as np
import onnxruntime

EAST_ASIAN = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"  # a character of these is a word
WORD = re.compile(rf"[{EAST_ASIAN}]|[^\W{EAST_ASIAN}]+(?:['’][^\W{EAST_ASIAN}]+)*|[^\w\s]")


def ngrams(word):
    """Return the distinct character 3-grams and 4-grams of a word with marks at its ends."""
    marked = f"<{word}>"
    grams = [marked[i : i + n] for n in (3, 4) for i in range(len(marked) - n + 1)]
    return list(dict.fromkeys(grams)) or [marked]


class PairScorer:
    """The graphs and the words of a folder."""

    def __init__(self, folder):
        self.facts = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["texts"]
        content = json.loads((folder / "words.json").read_text(encoding="utf-8"))
        self.numbers, self.seen = {word: number for number, word in enumerate(content["words"])}, content["seen"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.add_session_config_entry("session.disable_quant_qdq", "1")  # int8 weights become float32 here
        self.graphs = {
            name: onnxruntime.InferenceSession(str(folder / f"{name}.onnx"), options, ["CPUExecutionProvider"])
            for name in ("whole", "encode")
        }

    def weight(self, word):
        """Return the inverse document frequency of a word, 0 to 1."""
        seen, texts = self.seen[self.numbers[word]] if word in self.numbers else 0, self.facts["texts"]
        return math.log((texts + 1) / (seen + 1)) / math.log(texts + 1)

    def feeds(self, texts):
        """Return what the graphs read of texts: each different word once, and where it stands."""
        split = [WORD.findall(unicodedata.normalize("NFKC", text).lower()) for text in texts]
        split = [words[: self.facts["max_words"]] for words in split]
        places = {}
        steps = [[places.setdefault(word, len(places)) for word in words] for words in split]
        words = list(places) or [""]
        grams = [ngrams(word) for word in words]
        pieces = np.full((len(words), max(map(len, grams))), -1, np.int64)
        spelling = np.zeros((len(words), len(words)), np.float32)
        for n, own in enumerate(grams):
            hashes = [zlib.crc32(gram.encode("utf-8", "replace")) for gram in own]
            pieces[n, : len(own)] = np.array(hashes) % max(1, self.facts["buckets"])
            common = [len(set(own) & set(other)) for other in grams]
            spelling[n] = [2 * count / (len(own) + len(other)) for count, other in zip(common, grams, strict=True)]
        place = np.zeros((max(1, *map(len, steps)), len(texts)), np.int64)
        for n, step in enumerate(steps):
            place[: len(step), n] = step
        return {
            "words": np.array([self.numbers.get(word, self.facts["unknown"]) for word in words], np.int64),
            "weights": np.array([self.weight(word) for word in words], np.float32),
            "pieces": pieces,
            "place": place,
            "lengths": np.array(list(map(len, steps)), np.int32),
            "spelling": spelling,
        }

    def run(self, name, texts):
        """Return the output of a graph for texts."""
        feeds = self.feeds(texts)
        return self.graphs[name].run(None, {each.name: feeds[each.name] for each in self.graphs[name].get_inputs()})[0]

    def score(self, first, second):
        """Return the similarity of two texts, on the scale of the training data."""
        return float(self.run("whole", [first, second])[0])

    def answer(self, first, second):
        """Return the answer to two texts."""
        score = self.score(first, second)
        answer = {"answer": "yes" if score >= 0.5 else "no"} if self.facts["yes_no"] else {}
        return {"first": first, "second": second, "score": score, **answer}


def pair_of(line):
    """Return the two texts of a line with a tab between them."""
    cells = line.strip().split("\t")
    if len(cells) < 2 or not all(cell.strip() for cell in cells[:2]):
        raise ValueError(f"should be two texts with a tab between them, is {line[:60]!r}")
    return cells[:2]


def lines():
    """Yield the lines of standard input that are not blank."""
    for number, line in enumerate(sys.stdin.buffer, 1):
        text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        if text:
            yield text


def main():
    """Answer the pairs, and return the exit code: 2 if an input is no pair."""
    parser = argparse.ArgumentParser(description="Score the similarity of texts.")
    parser.add_argument("texts", nargs="+", metavar="TEXT", help="two texts, or texts with a tab; - reads lines")
    parser.add_argument("--embed", metavar="FILE.npy", help="write the vectors of the texts instead")
    arguments = parser.parse_args()
    model, texts = PairScorer(Path(__file__).parent), arguments.texts
    try:
        inputs = [line for text in texts for line in (lines() if text == "-" else [text])]
        if arguments.embed:
            np.save(arguments.embed, np.concatenate([model.run("encode", [text]) for text in inputs]))
            return 0
        if len(texts) == 2 and not any("\t" in text or text == "-" for text in texts):
            print(json.dumps(model.answer(*texts)))
            return 0
        for line in inputs:
            print(json.dumps(model.answer(*pair_of(line))), flush=True)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
